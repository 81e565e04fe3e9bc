//! Products in bf16 by every instruction set of this processor, in TFLOP/s.
//!
//! `cargo bench -p flat-minima --bench bf16 [-- NAME]`. A number is the median of rounds that visit all sets in turns; `f32` is
//! the kernel of `--precision f32`. Operations are those of the direct algorithm. Timings on a busy machine compare only
//! within a row.
#![allow(clippy::disallowed_macros, missing_docs)] // what it prints is for whoever runs it

use candle_core::Shape;
use flat::core::{Purpose, Streams};
use flat_kernels::cpu::bf16::Bf16;
use flat_kernels::cpu::matrix::{multiply, rows, transposed};
use flat_kernels::cpu::{conv, winograd::Winograd};
use flat_kernels::{Geometry, Pass};
use std::time::Instant;

/// Input `(n, c, h, w)`, output channels, side of windows, stride.
type Case = (&'static str, [usize; 4], usize, usize, usize);

const CONVOLUTIONS: [Case; 11] = [
    ("resnet18-stem", [128, 3, 32, 32], 64, 3, 1),
    ("resnet18-64x32", [128, 64, 32, 32], 64, 3, 1),
    ("resnet18-down64", [128, 64, 32, 32], 128, 3, 2),
    ("resnet18-128x16", [128, 128, 16, 16], 128, 3, 1),
    ("resnet18-256x8", [128, 256, 8, 8], 256, 3, 1),
    ("resnet18-512x4", [128, 512, 4, 4], 512, 3, 1),
    ("resnet20-16x32", [128, 16, 32, 32], 16, 3, 1),
    ("resnet20-32x16", [128, 32, 16, 16], 32, 3, 1),
    ("resnet20-64x8", [128, 64, 8, 8], 64, 3, 1),
    ("lenet-conv1", [128, 1, 28, 28], 32, 5, 1),
    ("lenet-conv2", [128, 32, 12, 12], 64, 5, 1),
];

const ROUNDS: usize = 9;

fn normals(len: usize, i: u64) -> Vec<f32> {
    Streams::new(0).at(Purpose::Test, i).normals(len).into_iter().map(|x| x as f32).collect()
}

/// A row: the rate of every way, visited in turns.
fn row(name: &str, flops: f64, mut ways: Vec<(&'static str, Box<dyn FnMut() + '_>)>) {
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for ((_, way), times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            way();
            // the first round warms up
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    print!("{name:<28}");
    for ((way, _), mut times) in ways.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        print!("  {way} {:>7.3} ms {:>6.3}", 1e3 * median, flops / median * 1e-12);
    }
    println!();
}

fn sets() -> impl Iterator<Item = Bf16> {
    [Bf16::Avx512, Bf16::Amx].into_iter().filter(|by| by.available())
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    for (name, n, m, k) in [("product-2048", 2048, 2048, 2048), ("linear-128x1024x1024", 128, 1024, 1024)] {
        if !is_wanted(name) {
            continue;
        }
        let (a, b) = (normals(n * k, 0), normals(m * k, 1));
        let mut ways: Vec<(&'static str, Box<dyn FnMut() + '_>)> = vec![(
            "f32",
            Box::new(|| drop(multiply((n, m, k), rows(&a[..], k), transposed(&b[..], k), None))),
        )];
        for by in sets() {
            let (a, b) = (&a, &b);
            let run = move || drop(by.multiply((n, m, k), rows(&a[..], k), transposed(&b[..], k)));
            ways.push((by.name(), Box::new(run)));
        }
        row(name, 2.0 * (n * m * k) as f64, ways);
    }
    for (name, [n, c, h, w], o, kernel, stride) in CONVOLUTIONS {
        let padding = if name.starts_with("lenet") { 0 } else { kernel / 2 };
        let weight: Shape = (o, c, kernel, kernel).into();
        let g = Geometry::new(&(n, c, h, w).into(), &weight, stride, padding).expect("windows fit");
        let x = normals(g.x_shape().elem_count(), 0);
        let weight = normals(weight.elem_count(), 1);
        let gy = normals(g.y_shape().elem_count(), 2);
        let flops = 2.0 * (g.y_shape().elem_count() * c * kernel * kernel) as f64;
        for (pass, a, b) in [(Pass::Forward, &x, &weight), (Pass::GradInput, &gy, &weight), (Pass::GradWeight, &x, &gy)] {
            let name = format!("{name} {pass:?}");
            if !is_wanted(&name) {
                continue;
            }
            let plain = || {
                drop(match (pass, Winograd::of(&g)) {
                    (Pass::Forward, Some(fast)) => fast.forward(&g, a, b, None),
                    (Pass::GradInput, Some(fast)) => fast.grad_input(&g, a, b),
                    (Pass::GradWeight, Some(fast)) => fast.grad_weight(&g, a, b),
                    (Pass::Forward, None) => conv::forward(&g, a, b, None),
                    (Pass::GradInput, None) => conv::grad_input(&g, a, b),
                    (Pass::GradWeight, None) => conv::grad_weight(&g, a, b),
                });
            };
            let mut ways: Vec<(&'static str, Box<dyn FnMut() + '_>)> = vec![("f32", Box::new(plain))];
            for by in sets() {
                let g = &g;
                ways.push((by.name(), Box::new(move || drop(by.convolve(pass, g, a, b)))));
            }
            row(&name, flops, ways);
        }
    }
}
