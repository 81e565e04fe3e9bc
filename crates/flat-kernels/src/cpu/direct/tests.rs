//! The direct sum against matrices of windows in f64, for sizes that fill nothing evenly.

use super::Direct;
use crate::cpu::conv;
use crate::{Geometry, Pass};

fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

#[test]
fn passes_are_those_of_the_definition_with_the_bits_of_any_number_of_threads() {
    // images whose sides differ, borders as wide as the window, strides beyond it, channels that fill no panel; a depth of
    // more than one product, and more images than a part has
    for (n, c, o, (h, w), k, stride, padding) in [
        (37, 19, 35, (9, 12), 3, 2, 1),
        (5, 8, 8, (7, 7), 1, 2, 0),
        (3, 16, 32, (16, 16), 3, 2, 1),
        (2, 40, 17, (8, 5), 5, 1, 2),
        (4, 9, 20, (11, 10), 2, 3, 0),
        (3, 65, 70, (6, 6), 3, 2, 3),
    ] {
        let g = Geometry::new(&(n, c, h, w).into(), &(o, c, k, k).into(), stride, padding).expect("sizes that fit");
        let by = Direct::of(&g).expect("a layer for it");
        let (x, weight, gy) = (numbers(n * c * h * w, 1), numbers(o * c * k * k, 2), numbers(n * o * g.oh * g.ow, 3));
        let bias = numbers(o, 4);
        let all = || {
            [
                by.convolve(Pass::Forward, &x, &weight, Some(&bias)),
                by.convolve(Pass::GradInput, &gy, &weight, None),
                by.convolve(Pass::GradWeight, &x, &gy, None),
            ]
        };
        let by_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(all)
        };
        let found = by_threads(1);
        for threads in [2, 5] {
            assert!(found == by_threads(threads), "{threads} threads");
        }
        let [x, weight, gy, bias] =
            [&x, &weight, &gy, &bias].map(|v| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let expected = [
            conv::forward(&g, &x, &weight, Some(&bias)),
            conv::grad_input(&g, &gy, &weight),
            conv::grad_weight(&g, &x, &gy),
        ];
        for (pass, (got, expected)) in found.iter().zip(&expected).enumerate() {
            let size = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
            let off = got.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
            // sums of thousands of products in f32
            assert!(got.len() == expected.len() && off < 1e-6 * size, "{g:?}, pass {pass}: {:e}", off / size);
        }
    }
}

#[test]
fn few_channels_and_single_pixels_are_left_to_others() {
    let of = |c: usize, o: usize, k: usize, stride: usize| {
        Direct::of(&Geometry::new(&(2, c, 8, 8).into(), &(o, c, k, k).into(), stride, 0).expect("sizes that fit"))
    };
    assert!(of(7, 16, 3, 2).is_none() && of(16, 7, 3, 2).is_none() && of(16, 16, 1, 1).is_none());
    assert!(of(16, 16, 1, 2).is_some());
}
