//! Every layer, to first and second order.

use crate::check::{Function, check, head, normal, variables};
use candle_core::{DType, Device, Tensor, Var};
use flat_nn::ops::{Conv2d, Pool2d};
use flat_nn::{Activation, Result, Value};

/// Smooth layers: the error of the difference quotient, 1e-12 relative to the gradient and more relative to the product.
const SMOOTH: f64 = 1e-9;

/// A layer as a scalar function.
macro_rules! layer {
    ($name:ident { $($field:ident: $t:ty),* }, |$self:ident, $inputs:ident, $V:ident| $body:expr) => {
        struct $name { $($field: $t),* }
        impl Function for $name {
            fn eval<$V: Value>(&self, $inputs: &[$V]) -> Result<$V> {
                let $self = self;
                head(&$body?)
            }
        }
    };
}

layer!(Conv { conv: Conv2d }, |s, i, V| i[0].conv2d(&i[1], i.get(2), s.conv));
layer!(ConvOf { x: Tensor }, |s, i, V| V::conv2d_of(&s.x, &i[0], Some(&i[1]), Conv2d { stride: 1, padding: 1 }));
layer!(Linear {}, |_s, i, V| i[0].linear(&i[1], i.get(2)));
layer!(LinearOf { x: Tensor }, |s, i, V| V::linear_of(&s.x, &i[0], Some(&i[1])));
layer!(MaxPool { pool: Pool2d }, |s, i, V| i[0].max_pool(s.pool));
layer!(MeanPool {}, |_s, i, V| i[0].mean_pool(Pool2d::tiles(2)));
layer!(GlobalMean {}, |_s, i, V| i[0].global_mean());
layer!(Activate { activation: Activation }, |s, i, V| i[0].activate(s.activation));
layer!(AddActivate { activation: Activation }, |s, i, V| i[0].add_activate(&i[1], s.activation));
layer!(BatchNorm { then: Option<Activation> }, |s, i, V| i[0].batch_norm(&i[1], &i[2], 1e-5, s.then).map(|r| r.0));
layer!(BatchNormAdd { then: Option<Activation> }, |s, i, V| {
    i[0].batch_norm_add(&i[1], &i[2], 1e-5, Some(&i[3]), s.then).map(|r| r.0)
});
layer!(FixedNormAdd { mean: Tensor, inv_std: Tensor, then: Option<Activation> }, |s, i, V| {
    i[0].fixed_norm_add(&i[1], &i[2], (&s.mean, &s.inv_std), Some(&i[3]), s.then)
});
layer!(GroupNormAdd { then: Option<Activation> }, |s, i, V| {
    i[0].group_norm_add(2, &i[1], &i[2], 1e-5, i.get(3), s.then)
});
layer!(FixedNorm { mean: Tensor, inv_std: Tensor }, |s, i, V| i[0].fixed_norm(&i[1], &i[2], &s.mean, &s.inv_std));

#[test]
fn convolution_has_right_derivatives_for_any_stride_padding_and_kernel() {
    for (x, w, stride, padding) in [
        ([2, 2, 5, 6], [3, 2, 3, 3], 1, 1),
        ([3, 1, 7, 5], [2, 1, 3, 2], 2, 1),
        ([1, 3, 4, 4], [2, 3, 1, 1], 1, 0),
        ([2, 2, 5, 5], [3, 2, 1, 1], 2, 0),
        ([2, 1, 6, 6], [2, 1, 5, 5], 1, 0),
        ([2, 1, 3, 4], [1, 1, 4, 3], 3, 2),
    ] {
        let f = Conv { conv: Conv2d { stride, padding } };
        check(&format!("conv {x:?} {w:?} {stride} {padding}"), &f, &variables(&[&x, &w, &[w[0]]]), SMOOTH);
        check(&format!("conv without bias {x:?} {w:?}"), &f, &variables(&[&x, &w]), SMOOTH);
    }
}

#[test]
fn convolution_and_linear_layers_of_constants_have_right_derivatives() {
    check("conv of images", &ConvOf { x: normal(&[3, 2, 4, 5], 1) }, &variables(&[&[3, 2, 3, 3], &[3]]), SMOOTH);
    check("linear of images", &LinearOf { x: normal(&[5, 7], 1) }, &variables(&[&[4, 7], &[4]]), SMOOTH);
}

#[test]
fn linear_layers_have_right_derivatives() {
    check("linear", &Linear {}, &variables(&[&[5, 7], &[4, 7], &[4]]), SMOOTH);
    check("linear without bias", &Linear {}, &variables(&[&[3, 70], &[130, 70]]), SMOOTH);
}

#[test]
fn pooling_has_right_derivatives_overlapping_or_not() {
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (2, 1, 0), (3, 3, 0)] {
        let f = MaxPool { pool: Pool2d { kernel, stride, padding } };
        check(&format!("max pool {kernel} {stride} {padding}"), &f, &variables(&[&[2, 2, 5, 7]]), SMOOTH);
    }
    check("mean pool", &MeanPool {}, &variables(&[&[2, 3, 4, 7]]), SMOOTH);
    check("global mean", &GlobalMean {}, &variables(&[&[2, 3, 4, 5]]), SMOOTH);
}

#[test]
fn activations_have_right_derivatives() {
    for &activation in Activation::ALL {
        check(&format!("{activation}"), &Activate { activation }, &variables(&[&[4, 9]]), SMOOTH);
        check(&format!("add {activation}"), &AddActivate { activation }, &variables(&[&[4, 9], &[4, 9]]), SMOOTH);
    }
}

#[test]
fn normalisation_has_right_derivatives() {
    let shapes: [&[usize]; 3] = [&[3, 4, 2, 3], &[4], &[4]];
    for then in [None, Some(Activation::Relu), Some(Activation::Tanh), Some(Activation::Gelu)] {
        check(&format!("batch norm then {then:?}"), &BatchNorm { then }, &variables(&shapes), SMOOTH);
    }
    check("batch norm of vectors", &BatchNorm { then: None }, &variables(&[&[6, 4], &[4], &[4]]), SMOOTH);
    check("group norm", &GroupNormAdd { then: None }, &variables(&shapes), SMOOTH);
    let f = FixedNorm { mean: normal(&[4], 1), inv_std: normal(&[4], 2).sqr().expect("positive") };
    check("fixed norm", &f, &variables(&shapes), SMOOTH);
}

#[test]
fn normalisation_with_a_residual_has_right_derivatives() {
    let shapes: [&[usize]; 4] = [&[3, 4, 2, 3], &[4], &[4], &[3, 4, 2, 3]];
    let (mean, inv_std) = (normal(&[4], 1), normal(&[4], 2).sqr().expect("positive"));
    for then in [None, Some(Activation::Relu), Some(Activation::Tanh)] {
        check(&format!("batch norm, residual, {then:?}"), &BatchNormAdd { then }, &variables(&shapes), SMOOTH);
        check(&format!("group norm, residual, {then:?}"), &GroupNormAdd { then }, &variables(&shapes), SMOOTH);
        let f = FixedNormAdd { mean: mean.clone(), inv_std: inv_std.clone(), then };
        check(&format!("fixed norm, residual, {then:?}"), &f, &variables(&shapes), SMOOTH);
    }
}

/// `relu(gain (x - mean) / sqrt(var + eps) + bias + skip)` by candle's own operations, for values and derivatives of the
/// first order.
fn by_definition(x: &Tensor, gain: &Tensor, bias: &Tensor, skip: &Tensor) -> candle_core::Result<Tensor> {
    let wide = |t: &Tensor| t.reshape((1, t.elem_count(), 1, 1));
    let mean = x.mean_keepdim((0, 2, 3))?;
    let centred = x.broadcast_sub(&mean)?;
    let var = centred.sqr()?.mean_keepdim((0, 2, 3))?;
    let normal = centred.broadcast_div(&(var + 1e-5)?.sqrt()?)?;
    (normal.broadcast_mul(&wide(gain)?)?.broadcast_add(&wide(bias)?)? + skip)?.relu()
}

#[test]
fn normalisation_is_right_for_channels_of_any_size() -> Result<()> {
    // runs shorter than a block and put together, of about a block, and longer; few and many
    for shape in [[300, 2, 2, 3], [130, 3, 4, 4], [3, 2, 16, 17], [2, 2, 32, 32], [2, 3, 41, 40]] {
        let var = |i: u64, shape: &[usize]| candle_core::Var::from_tensor(&normal(shape, i));
        let (x, skip) = (var(1, &shape)?, var(2, &shape)?);
        let (gain, bias) = (var(3, &[shape[1]])?, var(4, &[shape[1]])?);
        let weight = normal(&shape, 5);
        let ours = x.as_tensor().batch_norm_add(&gain, &bias, 1e-5, Some(skip.as_tensor()), Some(Activation::Relu))?.0;
        let theirs = by_definition(&x, &gain, &bias, &skip)?;
        let grads = |y: &Tensor| (y * &weight)?.sum_all()?.backward();
        let (a, b) = (grads(&ours)?, grads(&theirs)?);
        let far = |a: &Tensor, b: &Tensor| -> candle_core::Result<f64> {
            (a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()
        };
        // sums of up to 4,000 terms of order one in f64, in another order
        assert!(far(&ours, &theirs)? < 1e-11, "{shape:?}: value");
        for (name, v) in [("x", &x), ("skip", &skip), ("gain", &gain), ("bias", &bias)] {
            let (a, b) = (a.get(v.as_tensor()).expect("gradient"), b.get(v.as_tensor()).expect("gradient"));
            assert!(far(a, b)? < 1e-10, "{shape:?}: gradient of {name}");
        }
    }
    Ok(())
}

#[test]
fn the_variance_of_images_of_different_brightness_keeps_its_digits() -> Result<()> {
    // one dark image first: deviations from its mean would square to 1e6 in f32
    let dark = Tensor::zeros((1, 2, 32, 32), DType::F64, &Device::Cpu)?;
    let light = (normal(&[7, 2, 32, 32], 3) + 1000.0)?;
    let x = Tensor::cat(&[&dark, &light], 0)?.to_dtype(DType::F32)?;
    let ones = Tensor::ones(2, DType::F32, &Device::Cpu)?;
    let (_, moments) = x.batch_norm(&ones, &ones.zeros_like()?, 1e-5, None)?;
    let [means, vars] = moments.to_host()?;
    let rows = x.to_dtype(DType::F64)?.transpose(0, 1)?.flatten_from(1)?.to_vec2::<f64>()?;
    for (c, row) in rows.iter().enumerate() {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
        // f32 sums of 32 terms, their rounding averaged over 8,192 elements
        assert!((means[c] - mean).abs() < 1e-7 * mean, "{} against {mean}", means[c]);
        assert!((vars[c] - var).abs() < 1e-7 * var, "{} against {var}", vars[c]);
    }
    Ok(())
}

#[test]
fn relu_has_derivative_zero_at_zero_and_keeps_nan() -> Result<()> {
    let x = candle_core::Var::new(&[-1.0f32, 0.0, 2.0, f32::NAN], &Device::Cpu)?;
    let y = x.activate(Activation::Relu)?;
    let g = y.sum_all()?.backward()?;
    assert_eq!(g.get(x.as_tensor()).expect("gradient").to_vec1::<f32>()?[..3], [0.0, 0.0, 1.0]);
    let y: Vec<f32> = y.to_vec1()?;
    assert_eq!(y[..3], [0.0, 0.0, 2.0]);
    assert!(y[3].is_nan());
    Ok(())
}

#[test]
fn gelu_is_the_exact_one() -> Result<()> {
    // x Phi(x) with Phi from tables: Phi(1) = 0.841344746068543, Phi(-0.5) = 0.308537538725987
    let x = Tensor::new(&[1.0f64, -0.5, 0.0], &Device::Cpu)?;
    let y: Vec<f64> = x.activate(Activation::Gelu)?.to_vec1()?;
    for (y, expected) in y.iter().zip([0.841344746068543, -0.154268769362993, 0.0]) {
        assert!((y - expected).abs() < 1e-14, "{y} against {expected}");
    }
    Ok(())
}

#[test]
fn batch_norm_gives_mean_bias_and_deviation_gain() -> Result<()> {
    // 40 + normal: a one-pass variance would lose digits in f32
    let x = (normal(&[16, 3, 5, 5], 3) + 40.0)?.to_dtype(DType::F32)?;
    let (gain, bias) =
        (Tensor::new(&[2.0f32, 1.0, 0.5], &Device::Cpu)?, Tensor::new(&[1.0f32, 0.0, -1.0], &Device::Cpu)?);
    let (y, moments) = x.batch_norm(&gain, &bias, 1e-5, None)?;
    assert_eq!(moments.count, 400);
    let rows = y.to_dtype(DType::F64)?.transpose(0, 1)?.flatten_from(1)?.to_vec2::<f64>()?;
    for (row, (gain, bias)) in rows.iter().zip([(2.0, 1.0), (1.0, 0.0), (0.5, -1.0)]) {
        let mean = row.iter().sum::<f64>() / 400.0;
        let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 400.0;
        // 40 in f32 carries an error of 2e-6; eps shrinks the deviation by 5e-6
        assert!((mean - bias).abs() < 1e-5 && (var.sqrt() - gain).abs() < 2e-5, "{mean} {var}");
    }
    Ok(())
}

#[test]
fn linear_in_f32_matches_loops_in_f64_for_any_shape() -> Result<()> {
    // edges of blocks of 8 rows and 16 or 32 columns, and depths beyond one block
    for (n, k, m) in [(1, 1, 1), (3, 5, 10), (8, 16, 32), (9, 17, 33), (130, 600, 70), (16, 1030, 8), (7, 3, 100)] {
        let single = |t: Tensor| t.to_dtype(DType::F32);
        let (x, w) = (Var::from_tensor(&single(normal(&[n, k], 1))?)?, Var::from_tensor(&single(normal(&[m, k], 2))?)?);
        let (b, g) = (Var::from_tensor(&single(normal(&[m], 3))?)?, single(normal(&[n, m], 4))?);
        let y = flat_nn::ops::linear(&x, &w, Some(&b))?;
        let grads = (&y * &g)?.sum_all()?.backward()?;
        let grad = |v: &Var| grads.get(v.as_tensor()).cloned().expect("gradient");
        let rows = |t: &Tensor| t.to_dtype(DType::F64)?.to_vec2::<f64>();
        let (xs, ws, gs) = (rows(&x)?, rows(&w)?, rows(&g)?);
        let bs = b.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let sum = |count: usize, f: &dyn Fn(usize) -> f64| (0..count).map(f).sum::<f64>();
        let expect = [
            (rows(&y)?, (0..n).map(|i| (0..m).map(|j| bs[j] + sum(k, &|l| xs[i][l] * ws[j][l])).collect()).collect()),
            (rows(&grad(&x))?, (0..n).map(|i| (0..k).map(|l| sum(m, &|j| gs[i][j] * ws[j][l])).collect()).collect()),
            (rows(&grad(&w))?, (0..m).map(|j| (0..k).map(|l| sum(n, &|i| gs[i][j] * xs[i][l])).collect()).collect()),
        ];
        for (what, ((got, expected), terms)) in expect.into_iter().zip([k, m, n]).enumerate() {
            let expected: Vec<Vec<f64>> = expected;
            for (a, b) in got.iter().flatten().zip(expected.iter().flatten()) {
                // about eight roundings of the sum of the products' sizes, as they come one after the other
                assert!((a - b).abs() < 5e-7 * (1 + terms) as f64, "{n} {k} {m}, result {what}: {a} against {b}");
            }
        }
    }
    Ok(())
}
