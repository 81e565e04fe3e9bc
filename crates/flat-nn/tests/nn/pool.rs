//! Max pooling: which element wins.

use candle_core::{Device, Tensor, Var};
use flat_nn::Result;
use flat_nn::ops::Pool2d;

fn gradient_of_sum(pool: Pool2d, rows: &[[f64; 4]; 2]) -> Result<(Vec<f64>, Vec<f64>)> {
    let x = Var::from_tensor(&Tensor::new(rows, &Device::Cpu)?.reshape((1, 1, 2, 4))?)?;
    let y = pool.max(&x)?;
    let grads = y.sum_all()?.backward()?;
    let g = grads.get(x.as_tensor()).expect("gradient");
    Ok((y.flatten_all()?.to_vec1()?, g.flatten_all()?.to_vec1()?))
}

#[test]
fn the_first_of_equal_maxima_wins() -> Result<()> {
    let (y, g) = gradient_of_sum(Pool2d::tiles(2), &[[1.0, 5.0, 0.0, 0.0], [5.0, 5.0, 0.0, 0.0]])?;
    assert_eq!(y, [5.0, 0.0]);
    assert_eq!(g, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn overlapping_windows_add_up_their_gradients() -> Result<()> {
    let pool = Pool2d { kernel: 2, stride: 1, padding: 0 };
    let (y, g) = gradient_of_sum(pool, &[[1.0, 9.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])?;
    assert_eq!(y, [9.0, 9.0, 8.0]);
    assert_eq!(g, [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    Ok(())
}

#[test]
fn padding_never_wins_and_nan_does() -> Result<()> {
    let pool = Pool2d { kernel: 3, stride: 2, padding: 1 };
    let (y, _) = gradient_of_sum(pool, &[[-1.0, -2.0, -3.0, -4.0], [-5.0, -6.0, -7.0, -8.0]])?;
    assert_eq!(y, [-1.0, -2.0]);
    let (y, g) = gradient_of_sum(Pool2d::tiles(2), &[[1.0, f64::NAN, 1.0, 2.0], [9.0, 9.0, 3.0, 4.0]])?;
    assert!(y[0].is_nan());
    assert_eq!(y[1], 4.0);
    assert_eq!(g[1], 1.0);
    Ok(())
}

#[test]
fn windows_that_do_not_fit_are_refused() -> Result<()> {
    let x = Tensor::zeros((1, 1, 2, 4), candle_core::DType::F32, &Device::Cpu)?;
    assert!(Pool2d::tiles(3).max(&x).is_err());
    assert!(Pool2d { kernel: 2, stride: 0, padding: 0 }.max(&x).is_err());
    assert!(Pool2d { kernel: 2, stride: 2, padding: 2 }.max(&x).is_err());
    Ok(())
}
