//! Convolution against a naive loop, and for any number of threads.

use crate::check::normal;
use candle_core::{DType, Tensor, Var};
use flat_nn::Result;
use flat_nn::ops::Conv2d;

/// Output and gradients of `<g, conv(x, w)>` by loops over everything.
fn naive(x: &Tensor, w: &Tensor, g: &Tensor, conv: Conv2d) -> Result<[Vec<f64>; 3]> {
    let ((n, c, h, wd), (o, _, kh, kw), (_, _, oh, ow)) = (x.dims4()?, w.dims4()?, g.dims4()?);
    let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f64>();
    let (x, w, g) = (flat(x)?, flat(w)?, flat(g)?);
    let (mut y, mut gx, mut gw) = (vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    for b in 0..n {
        for f in 0..o {
            for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                let at = ((b * o + f) * oh + i) * ow + j;
                for ch in 0..c {
                    for (p, q) in (0..kh).flat_map(|p| (0..kw).map(move |q| (p, q))) {
                        let (r, s) = (i * conv.stride + p, j * conv.stride + q);
                        if r < conv.padding || s < conv.padding || r - conv.padding >= h || s - conv.padding >= wd {
                            continue;
                        }
                        let from = ((b * c + ch) * h + r - conv.padding) * wd + s - conv.padding;
                        let k = ((f * c + ch) * kh + p) * kw + q;
                        y[at] += x[from] * w[k];
                        gx[from] += g[at] * w[k];
                        gw[k] += g[at] * x[from];
                    }
                }
            }
        }
    }
    Ok([y, gx, gw])
}

fn ours(x: &Tensor, w: &Tensor, g: Option<&Tensor>, conv: Conv2d) -> Result<(Tensor, Tensor, Tensor)> {
    let (x, w) = (Var::from_tensor(x)?, Var::from_tensor(w)?);
    let y = conv.forward(&x, &w, None)?;
    let g = match g {
        Some(g) => g.clone(),
        None => y.ones_like()?,
    };
    let grads = (&y * g)?.sum_all()?.backward()?;
    let grad = |v: &Var| grads.get(v.as_tensor()).cloned().expect("gradient");
    Ok((y.detach(), grad(&x), grad(&w)))
}

#[test]
fn convolution_matches_a_naive_loop_over_shapes_strides_and_paddings() -> Result<()> {
    for (case, (n, c, h, wd, o, kh, kw, stride, padding)) in [
        (1, 1, 1, 1, 1, 1, 1, 1, 0),
        (3, 2, 7, 5, 4, 3, 3, 1, 1),
        (5, 3, 8, 9, 2, 3, 3, 2, 1),
        (2, 4, 9, 6, 3, 2, 4, 3, 2),
        (7, 1, 12, 12, 6, 5, 5, 1, 0),
        (2, 6, 4, 4, 5, 1, 1, 1, 0),
        (3, 3, 5, 7, 2, 1, 1, 2, 0),
        (33, 2, 4, 4, 3, 3, 3, 1, 1),
        (1, 2, 20, 20, 3, 3, 3, 1, 1),
        (2, 1, 2, 2, 1, 5, 5, 1, 3),
        (2, 2, 3, 3, 2, 2, 2, 5, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let conv = Conv2d { stride, padding };
        let (x, w) = (normal(&[n, c, h, wd], 1), normal(&[o, c, kh, kw], 2));
        let y = conv.forward(&x, &w, None)?;
        let g = normal(y.dims(), 3);
        let (y, gx, gw) = ours(&x, &w, Some(&g), conv)?;
        for (what, (got, expected)) in ["y", "gx", "gw"].iter().zip([y, gx, gw].iter().zip(naive(&x, &w, &g, conv)?)) {
            let scale = expected.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            for (a, b) in got.flatten_all()?.to_vec1::<f64>()?.iter().zip(&expected) {
                // sums of up to a few hundred products
                assert!((a - b).abs() <= 1e-13 * scale, "case {case} {what}: {a} against {b}");
            }
        }
    }
    Ok(())
}

#[test]
fn convolution_in_f32_matches_a_naive_loop_in_f64() -> Result<()> {
    // shapes that tiles fit and do not fit, channels that fill panels and do not, several chunks of images, and shapes
    // that fall back to the direct sum
    for (case, (n, c, h, wd, o, k, padding)) in [
        (3, 16, 8, 8, 16, 3, 1),
        (2, 9, 7, 10, 21, 3, 1),
        (3, 33, 6, 5, 8, 3, 0),
        (4, 8, 4, 4, 40, 3, 2),
        (44, 64, 16, 16, 64, 3, 1),
        (2, 32, 14, 14, 17, 5, 2),
        (3, 8, 9, 7, 16, 5, 0),
        (1, 16, 8, 8, 16, 5, 4),
        (1, 16, 4, 4, 16, 3, 1),
        (5, 3, 8, 8, 16, 3, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let conv = Conv2d { stride: 1, padding };
        let single = |t: Tensor| t.to_dtype(DType::F32);
        let (x, w) = (single(normal(&[n, c, h, wd], 1))?, single(normal(&[o, c, k, k], 2))?);
        let y = conv.forward(&x, &w, None)?;
        let g = single(normal(y.dims(), 3))?;
        let (y, gx, gw) = ours(&x, &w, Some(&g), conv)?;
        let double = |t: &Tensor| t.to_dtype(DType::F64);
        let expected = naive(&double(&x)?, &double(&w)?, &double(&g)?, conv)?;
        for (what, (got, expected)) in ["y", "gx", "gw"].iter().zip([y, gx, gw].iter().zip(expected)) {
            let scale = expected.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            let got = double(got)?.flatten_all()?.to_vec1::<f64>()?;
            let worst = got.iter().zip(&expected).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()));
            // the transforms amplify rounding about thirtyfold: seen 3e-6 to 6e-6 of the largest entry
            assert!(worst <= 2e-5 * scale, "case {case} {what}: off by {worst} of {scale}");
        }
    }
    Ok(())
}

#[test]
fn results_are_the_same_bits_for_any_number_of_threads() -> Result<()> {
    for (x, w, stride, padding) in [
        ([37, 3, 12, 12], [8, 3, 3, 3], 1, 1),
        ([5, 16, 32, 32], [16, 16, 3, 3], 2, 1),
        ([21, 8, 5, 5], [4, 8, 1, 1], 1, 0),
        ([45, 64, 16, 16], [64, 64, 3, 3], 1, 1),
        ([3, 16, 14, 14], [24, 16, 5, 5], 1, 2),
    ] {
        let (x, w) = (normal(&x, 1).to_dtype(DType::F32)?, normal(&w, 2).to_dtype(DType::F32)?);
        let run = |threads: usize| -> Result<Vec<Vec<f32>>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| {
                let (y, gx, gw) = ours(&x, &w, None, Conv2d { stride, padding })?;
                [y, gx, gw].iter().map(|t| Ok(t.flatten_all()?.to_vec1()?)).collect()
            })
        };
        let one = run(1)?;
        for threads in [2, 3, 7] {
            assert!(run(threads)? == one, "{threads} threads differ from one");
        }
    }
    Ok(())
}

#[test]
fn windows_larger_than_the_input_and_wrong_channels_are_refused() -> Result<()> {
    let x = normal(&[1, 2, 3, 3], 1);
    let conv = Conv2d { stride: 1, padding: 0 };
    assert!(conv.forward(&x, &normal(&[1, 2, 4, 4], 2), None).is_err());
    assert!(conv.forward(&x, &normal(&[1, 3, 2, 2], 2), None).is_err());
    assert!(conv.forward(&x, &normal(&[2, 2, 2, 2], 2), Some(&normal(&[3], 1))).is_err());
    assert!(Conv2d { stride: 0, padding: 0 }.forward(&x, &normal(&[1, 2, 2, 2], 2), None).is_err());
    Ok(())
}

#[test]
fn no_gradient_reaches_images() -> Result<()> {
    let (x, w) = (normal(&[2, 1, 5, 5], 1), Var::from_tensor(&normal(&[1, 1, 3, 3], 2))?);
    let y = Conv2d { stride: 1, padding: 0 }.forward(&x, &w, None)?;
    let grads = y.sum_all()?.backward()?;
    assert!(grads.get(&x).is_none());
    assert!(grads.get(w.as_tensor()).is_some());
    Ok(())
}
