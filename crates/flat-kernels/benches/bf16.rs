//! Products in bf16 by every instruction set of this processor, in TFLOP/s.
//!
//! `RAYON_NUM_THREADS=1 cargo bench -p flat-kernels --bench bf16 [-- NAME... SET...]`. A number is the best of rounds that visit all
//! sets in turns; `f32` is the kernel of `--precision f32`. Operations are those of the direct algorithm. Times are the
//! process's own on its processors, which other programs disturb less than the clock; with one thread both are the same.
#![allow(clippy::disallowed_macros, missing_docs)] // what it prints is for whoever runs it

use candle_core::Shape;
use flat_kernels::cpu::bf16::Bf16;
use flat_kernels::cpu::matrix::{multiply, rows, transposed};
use flat_kernels::cpu::{conv, winograd::Winograd};
use flat_kernels::{Geometry, Pass};

/// As in the command line tool.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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

/// Numbers between -1 and 1.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Processor time of this process so far, of all its threads.
fn processor_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `now` alone.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// A name, and what to time.
type Way<'a> = (&'static str, Box<dyn FnMut() + 'a>);

/// A row: the rate of every way, visited in turns.
fn row(name: &str, flops: f64, mut ways: Vec<Way<'_>>) {
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for ((_, way), times) in ways.iter_mut().zip(&mut times) {
            let start = processor_seconds();
            way();
            // the first round warms up
            if round > 0 {
                times.push(processor_seconds() - start);
            }
        }
    }
    print!("{name:<28}");
    for ((way, _), times) in ways.iter().zip(times) {
        let best = times.into_iter().fold(f64::INFINITY, f64::min);
        print!("  {way} {:>7.3} ms {:>6.3}", 1e3 * best, flops / best * 1e-12);
    }
    println!();
}

fn available() -> impl Iterator<Item = Bf16> {
    Bf16::ALL.into_iter().filter(|by| *by != Bf16::Rounding && by.available())
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    // words that name a set choose among sets
    let is_set = |word: &str| word == "f32" || Bf16::ALL.into_iter().any(|by| by.name() == word);
    let (sets, wanted): (Vec<String>, Vec<String>) = wanted.into_iter().partition(|word| is_set(word));
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    for (name, n, m, k) in [("product-2048", 2048, 2048, 2048), ("linear-128x1024x1024", 128, 1024, 1024)] {
        if !is_wanted(name) {
            continue;
        }
        let (a, b) = (numbers(n * k, 0), numbers(m * k, 1));
        let mut ways: Vec<Way<'_>> =
            vec![("f32", Box::new(|| drop(multiply((n, m, k), rows(&a[..], k), transposed(&b[..], k), None))))];
        for by in available() {
            let (a, b) = (&a, &b);
            let run = move || drop(by.multiply((n, m, k), rows(&a[..], k), transposed(&b[..], k)));
            ways.push((by.name(), Box::new(run)));
        }
        ways.retain(|(way, _)| sets.is_empty() || sets.iter().any(|set| set == way));
        row(name, 2.0 * (n * m * k) as f64, ways);
    }
    for (name, [n, c, h, w], o, kernel, stride) in CONVOLUTIONS {
        let padding = if name.starts_with("lenet") { 0 } else { kernel / 2 };
        let weight: Shape = (o, c, kernel, kernel).into();
        let g = Geometry::new(&(n, c, h, w).into(), &weight, stride, padding).expect("windows fit");
        let x = numbers(g.x_shape().elem_count(), 0);
        let weight = numbers(weight.elem_count(), 1);
        let gy = numbers(g.y_shape().elem_count(), 2);
        let flops = 2.0 * (g.y_shape().elem_count() * c * kernel * kernel) as f64;
        for (pass, a, b) in [(Pass::Forward, &x, &weight), (Pass::GradInput, &gy, &weight), (Pass::GradWeight, &x, &gy)]
        {
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
            let mut ways: Vec<Way<'_>> = vec![("f32", Box::new(plain))];
            for by in available() {
                let g = &g;
                ways.push((by.name(), Box::new(move || drop(by.convolve(pass, g, a, b)))));
            }
            ways.retain(|(way, _)| sets.is_empty() || sets.iter().any(|set| set == way));
            row(&name, flops, ways);
        }
    }
}
