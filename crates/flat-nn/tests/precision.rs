//! The arithmetic of products, which is the process's: these tests share one process and take turns.

use candle_core::{DType, Device, Tensor, Var};
use flat_core::{Purpose, Streams};
use flat_nn::ops::{Conv2d, linear};
use flat_nn::{Bf16, Error, Precision, Result};
use std::sync::{Mutex, PoisonError};

static TURN: Mutex<()> = Mutex::new(());

/// Runs `f` in a precision, and goes back to f32.
fn within<R>(precision: Precision, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    precision.set(&Device::Cpu)?;
    let result = f();
    Precision::F32.set(&Device::Cpu)?;
    result
}

/// The same in bf16, once by each instruction set that this processor has; rounding is always among them.
fn by_each<R>(f: impl Fn() -> Result<R>) -> Result<Vec<(Bf16, R)>> {
    let run = |by: Bf16| {
        within(Precision::Bf16, || {
            Precision::multiply_bf16_by(by)?;
            let result = f();
            Precision::multiply_bf16_by(Bf16::best())?;
            Ok((by, result?))
        })
    };
    Bf16::ALL.into_iter().filter(|by| by.available()).map(run).collect()
}

fn normals(shape: &[usize], i: u64) -> Result<Tensor> {
    let x = Streams::new(9).at(Purpose::Test, i).normals(shape.iter().product());
    Ok(Tensor::from_vec(x, shape, &Device::Cpu)?.to_dtype(DType::F32)?)
}

/// candle's rounding to bf16, kept in f64.
fn rounded(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::BF16)?.to_dtype(DType::F64)?)
}

/// The largest difference in units of the larger of 1 and the numbers.
fn apart(a: &Tensor, b: &Tensor) -> Result<f64> {
    let host = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>();
    Ok(host(a)?.iter().zip(host(b)?).map(|(a, b)| (a - b).abs() / a.abs().max(1.0)).fold(0.0, f64::max))
}

/// A sum just beside the middle of two bf16 numbers may be rounded to the other one: one unit of 8 bits.
const ULP: f64 = 1.0 / 128.0;

#[test]
fn a_linear_layer_in_bf16_multiplies_rounded_operands_both_ways() -> Result<()> {
    let (x, w, bias) = (normals(&[7, 33], 0)?, normals(&[5, 33], 1)?, normals(&[5], 2)?);
    let (xv, wv) = (Var::from_tensor(&x)?, Var::from_tensor(&w)?);
    let g = normals(&[7, 5], 3)?;
    let found = by_each(|| {
        let y = linear(&xv, &wv, Some(&bias))?;
        let grads = (&y * &g)?.sum_all()?.backward()?;
        Ok((y, grads))
    })?;
    let (xr, wr, gr) = (rounded(&x)?, rounded(&w)?, rounded(&g)?);
    let exact = rounded(&xr.matmul(&wr.t()?)?)?.broadcast_add(&bias.to_dtype(DType::F64)?)?;
    let plain =
        x.to_dtype(DType::F64)?.matmul(&w.to_dtype(DType::F64)?.t()?)?.broadcast_add(&bias.to_dtype(DType::F64)?)?;
    let gradients = [(&xv, gr.matmul(&wr)?), (&wv, gr.t()?.matmul(&xr)?)];
    for (by, (y, grads)) in found {
        assert!(apart(&y, &exact)? <= ULP, "{by:?}");
        // the rounding is there: f32's own product is a hundred times as close to that of the numbers as given
        assert!(apart(&y, &plain)? > 1e-3, "{by:?}");
        for (var, exact) in &gradients {
            let Some(found) = grads.get(var.as_tensor()) else { panic!("no gradient") };
            assert!(apart(found, &rounded(exact)?)? <= ULP, "{by:?}");
        }
    }
    Ok(())
}

#[test]
fn a_convolution_in_bf16_is_that_of_rounded_operands_or_of_rounded_transforms() -> Result<()> {
    // a window that Winograd's algorithm takes, and one that it does not
    for (stride, kernel) in [(1, 3), (2, 3)] {
        let (x, w, bias) = (normals(&[2, 16, 9, 9], 4)?, normals(&[16, 16, kernel, kernel], 5)?, normals(&[16], 6)?);
        let conv = Conv2d { stride, padding: 1 };
        let found = by_each(|| Ok(conv.forward(&x, &w, Some(&bias))?))?;
        let bias = bias.to_dtype(DType::F64)?.reshape((1, 16, 1, 1))?;
        let exact = rounded(&conv.forward(&rounded(&x)?, &rounded(&w)?, None)?)?.broadcast_add(&bias)?;
        let plain = conv.forward(&x.to_dtype(DType::F64)?, &w.to_dtype(DType::F64)?, None)?.broadcast_add(&bias)?;
        for (by, y) in found {
            if by == Bf16::Winograd && stride == 1 {
                // its kernel is held to its rounding where it lives: some percent of a sum of 144 products of normals
                let error = apart(&y, &plain)?;
                assert!((1e-3..1.0).contains(&error), "{error}");
            } else {
                assert!(apart(&y, &exact)? <= ULP, "{by:?}, stride {stride}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_a_cpu_multiplies_bf16_by_is_said_for_bf16_alone() -> Result<()> {
    assert_eq!(Precision::F32.bf16(), None);
    for (by, said) in by_each(|| Ok(Precision::Bf16.bf16()))? {
        assert_eq!(said, Some(by));
    }
    Ok(())
}

#[test]
fn f64_is_never_rounded() -> Result<()> {
    let (x, w) = (normals(&[3, 4], 7)?.to_dtype(DType::F64)?, normals(&[2, 4], 8)?.to_dtype(DType::F64)?);
    let third = (&x / 3.0)?;
    let plain = linear(&third, &w, None)?;
    let again = within(Precision::Bf16, || Ok(linear(&third, &w, None)?))?;
    assert_eq!(plain.to_vec2::<f64>()?, again.to_vec2::<f64>()?);
    Ok(())
}

#[test]
fn tf32_on_a_cpu_is_refused_with_a_remedy() {
    let error = within(Precision::Tf32, || Ok(())).expect_err("a CPU has no tf32");
    assert!(matches!(error, Error::Precision { .. }));
    assert!(error.to_string().contains("use f32 or bf16"), "{error}");
}

#[test]
fn precisions_read_back_as_written() -> Result<()> {
    for p in Precision::ALL {
        assert_eq!(p.to_string().parse::<Precision>()?, *p);
    }
    assert!("f16".parse::<Precision>().is_err());
    Ok(())
}
