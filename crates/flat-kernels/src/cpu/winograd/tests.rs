//! Every way that a convolution is cut, against the convolution by matrices of windows in f64.

use super::Winograd;
use super::plan::Plan;
use crate::Geometry;
use crate::cpu::conv;

fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

#[test]
fn passes_by_blocks_of_channels_are_those_of_the_definition() {
    // neither number of channels is a multiple of a block, the last panel of each is not full
    let (n, c, o) = (16, 523, 537);
    let g = Geometry::new(&(n, c, 4, 4).into(), &(o, c, 3, 3).into(), 1, 1).expect("sizes that fit");
    let plan = Plan::new::<4>(&g);
    assert!(
        plan.blocks(&plan.outputs, &plan.inputs).count() > 1 && plan.blocks(&plan.inputs, &plan.outputs).count() > 1
    );
    let (x, w, gy) = (numbers(n * c * 16, 1), numbers(o * c * 9, 2), numbers(n * o * 16, 3));
    let [x64, w64, gy64] = [&x, &w, &gy].map(|v| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
    let by = Winograd::of(&g).expect("a layer for it");
    for (what, got, expected) in [
        ("forward", by.forward(&g, &x, &w, None), conv::forward(&g, &x64, &w64, None)),
        ("the input's gradient", by.grad_input(&g, &gy, &w), conv::grad_input(&g, &gy64, &w64)),
        ("the weight's gradient", by.grad_weight(&g, &x, &gy), conv::grad_weight(&g, &x64, &gy64)),
    ] {
        let size = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        let off = got.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
        // the algorithm's error in f32, as the module says; a block in a wrong place is off by its whole size
        assert!(got.len() == expected.len() && off < 1e-5 * size, "{what}: {:e}", off / size);
    }
}

#[test]
fn images_of_a_threads_own_give_the_definitions_results_with_the_bits_of_any_number_of_threads() {
    // neither number of channels fills its panels, the last chunk and the last part of the chunks are short
    let (n, c, o, side) = (45, 19, 35, 16);
    let g = Geometry::new(&(n, c, side, side).into(), &(o, c, 3, 3).into(), 1, 1).expect("sizes that fit");
    for plan in [Plan::new::<4>(&g), Plan::along::<4>(&g)] {
        assert!(plan.parts() > 1 && plan.summed() > 1, "threads have no chunks of their own");
    }
    let pixels = side * side;
    let of = |seed| [numbers(n * c * pixels, seed), numbers(o * c * 9, seed + 1), numbers(n * o * pixels, seed + 2)];
    let (here, first, second) = (of(1), of(4), of(7));
    let by = Winograd::of(&g).expect("a layer for it");
    let all = || {
        let [x, w, gy] = here.each_ref().map(Vec::as_slice);
        let dots: Vec<[&[f32]; 3]> = [&first, &second].map(|of| of.each_ref().map(Vec::as_slice)).to_vec();
        let pairs: Vec<[&[f32]; 2]> = dots.iter().map(|[x, w, _]| [*x, *w]).collect();
        let mut found = vec![by.forward(&g, x, w, None), by.grad_input(&g, gy, w), by.grad_weight(&g, x, gy)];
        found.extend(by.gradients(&g, [x, w, gy]));
        found.extend(by.forward_along(&g, [x, w], &pairs, &[]));
        let (dx, along) = by.gradients_along(&g, [x, w, gy], &dots);
        found.push(dx);
        found.extend(along.into_iter().flatten());
        found
    };
    let by_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(all)
    };
    let found = by_threads(1);
    for threads in [2, 3, 12] {
        assert!(found == by_threads(threads), "{threads} threads");
    }
    let wide = |v: &Vec<f32>| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    let ([x, w, gy], dots) = (here.each_ref().map(wide), [&first, &second].map(|of| of.each_ref().map(wide)));
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    // with the size of what is rounded: of two summands, which may cancel, that of both
    let one = |v: &Vec<f64>| (v.clone(), norm(v));
    let sum =
        |a: Vec<f64>, b: Vec<f64>| (a.iter().zip(&b).map(|(a, b)| a + b).collect::<Vec<_>>(), norm(&a) + norm(&b));
    let (y, dx, dw) = (conv::forward(&g, &x, &w, None), conv::grad_input(&g, &gy, &w), conv::grad_weight(&g, &x, &gy));
    let mut expected = [&y, &dx, &dw, &dx, &dw, &y].map(one).to_vec();
    for [x_dot, w_dot, _] in &dots {
        expected.push(sum(conv::forward(&g, x_dot, &w, None), conv::forward(&g, &x, w_dot, None)));
    }
    expected.push(one(&dx));
    for [x_dot, w_dot, gy_dot] in &dots {
        expected.push(sum(conv::grad_input(&g, gy_dot, &w), conv::grad_input(&g, &gy, w_dot)));
        expected.push(sum(conv::grad_weight(&g, &x, gy_dot), conv::grad_weight(&g, x_dot, &gy)));
    }
    assert_eq!(found.len(), expected.len());
    for (i, (got, (expected, size))) in found.iter().zip(&expected).enumerate() {
        let off = got.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt();
        assert!(got.len() == expected.len() && off < 1e-5 * size, "result {i}: {:e}", off / size);
    }
}
