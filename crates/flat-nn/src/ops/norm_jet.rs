//! The Taylor coefficients of a normalisation layer, by one kernel on a CPU.

use super::batch_norm::{Normed, Source, norm};
use super::channel::{as_channels, channel_dot, channel_scale, channel_shift, channel_sum};
use super::{activation::plus, mask};
use crate::jet::{Jet, Line};
use candle_core::{Result, Tensor, bail};
use flat_kernels::cpu::norm::{self as kernel, Coefficients, Layer, Mask};
use flat_kernels::host::with_slices;
use flat_kernels::{Float, Split, dispatch};

const OP: &str = "norm-jet";

/// The layer along a line, with the residual and relu where they are given, and what its value was made with.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn norm_jet(
    x: &Jet,
    of: [&Jet; 2],
    source: &Source,
    skip: Option<&Jet>,
    relu: bool,
) -> Result<(Jet, Normed)> {
    let normed = norm(&x.value, &of[0].value, &of[1].value, source, skip.map(|s| &s.value), relu)?;
    let straight = of.iter().all(|p| p.is_straight());
    let batch = matches!(source, Source::Batch(_));
    let line = |i: usize| {
        let skip = skip.map(|s| &s.along[i]);
        let [first, second] = if x.value.device().is_cpu() && straight {
            dispatch!(OP, x.value.dtype(), T => by_kernel::<T>(x, of, i, skip, relu, batch, &normed))?
        } else {
            finished(portable(x, of, i, source)?, skip, relu, &normed)?
        };
        Ok(Line { first, second: Some(second) })
    };
    let along = (0..x.along.len()).map(line).collect::<Result<_>>()?;
    Ok((Jet { value: normed.y.clone(), along }, normed))
}

/// The coefficients with the residual's added, then masked where relu gave zero.
fn finished(mut of: [Tensor; 2], skip: Option<&Line>, relu: bool, normed: &Normed) -> Result<[Tensor; 2]> {
    if let Some(skip) = skip {
        of[0] = plus(&of[0], &skip.first)?;
        if let Some(second) = &skip.second {
            of[1] = plus(&of[1], second)?;
        }
    }
    Ok(if relu { [mask(&of[0], &normed.y)?, mask(&of[1], &normed.y)?] } else { of })
}

fn contiguous<const N: usize>(mut tensors: [Tensor; N]) -> Result<[Tensor; N]> {
    for t in &mut tensors {
        *t = t.contiguous()?;
    }
    Ok(tensors)
}

fn by_kernel<T: Float>(
    x: &Jet,
    [gain, bias]: [&Jet; 2],
    i: usize,
    skip: Option<&Line>,
    relu: bool,
    batch: bool,
    normed: &Normed,
) -> Result<[Tensor; 2]> {
    let Some(stats) = normed.found.get() else { bail!("{OP}: the value comes first") };
    let straight = skip.filter(|s| s.second.is_none()).map(|s| s.first.zeros_like()).transpose()?;
    let of_skip = |s: &Line| s.second.clone().or(straight.clone());
    let all = [
        Some(x.value.clone()),
        Some(x.along[i].first.clone()),
        x.along[i].second.clone(),
        skip.filter(|_| relu).map(|_| normed.y.clone()),
        skip.map(|s| s.first.clone()),
        skip.and_then(of_skip),
    ];
    let given = all.each_ref().map(Option::is_some);
    // an operand in the place of each that is missing, which nobody reads
    let operands = contiguous(all.map(|t| t.unwrap_or_else(|| x.value.clone())))?;
    let of_channels =
        contiguous([&gain.value, &bias.value, &gain.along[i].first, &bias.along[i].first].map(Tensor::clone))?;
    let split = Split::of(x.value.shape())?;
    let [first, second] = with_slices(OP, of_channels.each_ref(), |[gain, bias, gain_dot, bias_dot]| {
        with_slices(OP, operands.each_ref(), |slices: [&[T]; 6]| {
            let channels = [gain.len(), bias.len(), gain_dot.len(), bias_dot.len()];
            if channels != [split.channels; 4] || slices.iter().any(|s| s.len() != split.elements()) {
                bail!("{OP}: coefficients that do not fit their values");
            }
            let at = |i: usize| given[i].then(|| slices[i]);
            let layer = Layer { split, x: slices[0], gain, bias, batch };
            let skip = at(4).zip(at(5)).map(|(one, two)| [one, two]);
            let along = Coefficients { first: slices[1], second: at(2), gain: gain_dot, bias: bias_dot, skip };
            Ok(kernel::jet(layer, Mask::of(relu, at(3)), along, stats))
        })
    })???;
    Ok([T::tensor(first, x.value.shape())?, T::tensor(second, x.value.shape())?])
}

/// The first and second coefficients of `gain n + bias` with candle's operations. `n_0 = r_0 u_0` and so on, with the
/// coefficients `u_k` of what was centred.
fn portable(x: &Jet, [gain, bias]: [&Jet; 2], i: usize, source: &Source) -> Result<[Tensor; 2]> {
    let (line, gain_line, bias_line) = (&x.along[i], &gain.along[i], &bias.along[i]);
    let (rank, count) = (x.value.rank(), Split::of(x.value.shape())?.count() as f64);
    let mean = |a: &Tensor| -> Result<Tensor> { channel_sum(a)? / count };
    let centred = |a: &Tensor| -> Result<Tensor> { a.broadcast_sub(&as_channels(&mean(a)?, rank)?) };
    // [u0, u1, u2] and [r0, r1, r2]
    let (u, r) = match source {
        Source::Fixed(m, r) => {
            let (m, r) = (m.to_dtype(x.value.dtype())?, r.to_dtype(x.value.dtype())?);
            let u0 = channel_shift(&x.value, &m.neg()?)?;
            ([Some(u0), Some(line.first.clone()), line.second.clone()], [r.clone(), r.zeros_like()?, r.zeros_like()?])
        }
        Source::Batch(eps) => {
            let (u0, u1) = (centred(&x.value)?, centred(&line.first)?);
            let u2 = line.second.as_ref().map(centred).transpose()?;
            let product = |a: &Tensor, b: &Tensor| -> Result<Tensor> { channel_dot(a, b)? / count };
            let r0 = (product(&u0, &u0)? + *eps)?.sqrt()?.recip()?;
            let m01 = product(&u0, &u1)?;
            let mut half = (product(&u1, &u1)? * 0.5)?;
            if let Some(u2) = &u2 {
                half = (half + product(&u0, u2)?)?;
            }
            let cube = (r0.sqr()? * &r0)?;
            let r2 = ((((&cube * r0.sqr()?)? * m01.sqr()?)? * 1.5)? - (&cube * half)?)?;
            ([Some(u0), Some(u1), u2], [r0, (cube * m01)?.neg()?, r2])
        }
    };
    let zero = r[0].zeros_like()?;
    let g = [&gain.value, &gain_line.first, gain_line.second.as_ref().unwrap_or(&zero)];
    // the coefficients of gain r
    let factor = |k: usize| (0..=k).try_fold(zero.clone(), |sum, i| -> Result<Tensor> { sum + (g[i] * &r[k - i])? });
    let factors = [factor(0)?, factor(1)?, factor(2)?];
    let coefficient = |k: usize, shift: &Tensor| -> Result<Tensor> {
        let mut total = x.value.zeros_like()?;
        for (i, factor) in factors.iter().enumerate().take(k + 1) {
            if let Some(u) = &u[k - i] {
                total = plus(&total, &channel_scale(u, factor)?)?;
            }
        }
        channel_shift(&total, shift)
    };
    Ok([coefficient(1, &bias_line.first)?, coefficient(2, bias_line.second.as_ref().unwrap_or(&zero))?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::channel::channel_shift;
    use candle_core::{DType, Device};
    use flat_core::{Purpose, Streams};

    fn normals(shape: &[usize], i: u64, mean: f64) -> Result<Tensor> {
        let x = Streams::new(3).at(Purpose::Test, i).normals(shape.iter().product());
        Tensor::from_vec(x, shape, &Device::Cpu)? + mean
    }

    fn apart(a: &Tensor, b: &Tensor) -> Result<f64> {
        (a.to_dtype(DType::F64)? - b.to_dtype(DType::F64)?)?.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn the_kernel_gives_what_candles_operations_give() -> Result<()> {
        let (shape, channels) = ([4, 3, 5, 7], [3]);
        let jet = |i, shape: &[usize], second: bool| -> Result<Jet> {
            let second = second.then(|| normals(shape, i + 2, 0.5)).transpose()?;
            Ok(Jet { value: normals(shape, i, 1.0)?, along: vec![Line { first: normals(shape, i + 1, 2.0)?, second }] })
        };
        let of = [&jet(10, &channels, false)?, &jet(20, &channels, false)?];
        let constants = Source::Fixed(normals(&channels, 30, 0.0)?, normals(&channels, 31, 3.0)?.abs()?);
        for source in [Source::Batch(1e-5), constants] {
            for (bent, relu, skip) in (0..8).map(|k| (k & 1 > 0, k & 2 > 0, k & 4 > 0)) {
                let x = jet(0, &shape, bent)?;
                // a residual with a second coefficient and one without
                let skip = skip.then(|| jet(40, &shape, bent == relu)).transpose()?;
                let (y, normed) = norm_jet(&x, of, &source, skip.as_ref(), relu)?;
                let skip = skip.as_ref().map(|s| &s.along[0]);
                let [first, second] = finished(portable(&x, of, 0, &source)?, skip, relu, &normed)?;
                let Line { first: one, second: Some(two) } = &y.along[0] else { bail!("no second coefficient") };
                let second = apart(two, &second)?;
                // sums of 140 terms in f64
                assert!(apart(one, &first)? < 1e-12 && second < 1e-12, "{source:?} {bent} {relu}: {second:e}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_large_mean_of_the_first_coefficient_costs_no_digits_in_f32() -> Result<()> {
        let shape = [8, 2, 9, 9];
        let single = |x: &Tensor| x.to_dtype(DType::F32);
        let line = |value: Tensor, first: Tensor| Jet { value, along: vec![Line::straight(first)] };
        let ones = line(Tensor::ones(2, DType::F64, &Device::Cpu)?, Tensor::zeros(2, DType::F64, &Device::Cpu)?);
        let x = line(normals(&shape, 0, 0.0)?, normals(&shape, 1, 0.0)?);
        let far = channel_shift(&x.along[0].first, &Tensor::new(&[1000f64, -1000.0], &Device::Cpu)?)?;
        let far = line(single(&x.value)?, single(&far)?);
        let narrow = line(single(&ones.value)?, single(&ones.along[0].first)?);
        let (wide, _) = norm_jet(&x, [&ones, &ones], &Source::Batch(1e-5), None, false)?;
        let (y, _) = norm_jet(&far, [&narrow, &narrow], &Source::Batch(1e-5), None, false)?;
        let (Some(a), Some(b)) = (&wide.along[0].second, &y.along[0].second) else { bail!("no second coefficient") };
        // the shifted numbers are rounded by 3e-5, their squares' mean would be by 0.06
        assert!(apart(a, b)? < 5e-4, "{:e}", apart(a, b)?);
        Ok(())
    }
}
