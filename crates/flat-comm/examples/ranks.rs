//! Ranks over MPI: their sums against those of threads, the speed of an exchange, and what becomes of a rank that fails.
//!
//! ```text
//! mpirun -n 2 ranks check                     sums, numbers and words of all ranks, against one process
//! mpirun -n 2 ranks speed 11000000            a sum in the tree's order and the engine's own, in turns
//! mpirun -n 2 ranks fail panic|error|stand    rank 1 fails after 3 sums; the others wait for it
//! ```
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

use flat_comm::launcher::Launcher;
use flat_comm::mpi::Mpi;
use flat_comm::{Growing, Ranks, SumOrder, Tree};
use flat_core::{Layout, ParamVec, Purpose, Space, Streams};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(launcher) = Launcher::of_environment() else {
        return Err("nobody launched several processes: mpirun -n 2 ranks check".into());
    };
    let limit = std::env::var("LIMIT").ok().and_then(|s| s.parse().ok()).unwrap_or(60.0);
    let mpi = Mpi::begin(&launcher, Duration::from_secs_f64(limit))?;
    let ranks = Ranks::new(mpi.clone());
    match args[..] {
        ["check"] => check(&ranks)?,
        ["speed", len] => speed(&ranks, len.parse()?)?,
        ["fail", how] => fail(&ranks, how)?,
        _ => return Err("check, speed LENGTH, or fail panic|error|stand".into()),
    }
    Ok(mpi.finish()?)
}

fn space(len: usize) -> Outcome<Space> {
    let layout = Layout::new([("x".into(), len.into())])?;
    Ok(Space { layout: Arc::new(layout), dtype: candle_core::DType::F32, device: candle_core::Device::Cpu })
}

fn summed(ranks: &Ranks, parts: usize, space: &Space) -> Outcome<Vec<f64>> {
    let tree = Tree::over(parts);
    let own = ranks.own(parts);
    let mut growing = Growing::from(tree, own.start);
    for part in own {
        let x = ParamVec::gaussian(space, 1.0, &Streams::new(3).at(Purpose::Test, part as u64))?;
        growing.push(x, |a, b| a.add_scaled(1.0, &b))?;
    }
    #[expect(clippy::disallowed_methods)]
    Ok(ranks.sum(tree, growing.nodes().collect(), || ParamVec::zeros(space))?.to_f64()?)
}

fn check(ranks: &Ranks) -> Outcome<()> {
    for (parts, len) in [(8, 100_000), (8, 3), (4, 1_000_003), (1, 10)] {
        let space = space(len)?;
        if summed(ranks, parts, &space)? != summed(&Ranks::default(), parts, &space)? {
            return Err(format!("the sum of {parts} parts of {len} numbers has other bits than in one process").into());
        }
    }
    let word = if ranks.is_first() { b"runs/one".to_vec() } else { Vec::new() };
    if ranks.tell(word)? != b"runs/one" {
        return Err("another word".into());
    }
    ranks.agree("a seed", 3)?;
    if ranks.is_first() {
        println!("{}: {} ranks, all sums have the bits of one process", ranks.engine().name(), ranks.size());
    }
    Ok(())
}

/// Shortest times: other programs make times longer, never shorter.
fn speed(ranks: &Ranks, len: usize) -> Outcome<()> {
    let (space, tree) = (space(len)?, Tree::over(ranks.size()));
    let fast = ranks.clone().adding(SumOrder::Engine);
    let mut best = [f64::INFINITY; 2];
    let mut x = ParamVec::gaussian(&space, 1.0, &Streams::new(3).at(Purpose::Test, ranks.rank() as u64))?;
    for _ in 0..30 {
        for (ranks, best) in [ranks, &fast].into_iter().zip(&mut best) {
            ranks.any(false)?;
            x.scale(0.5)?;
            let mut growing = Growing::from(tree, ranks.rank());
            growing.push(x, |a, b| a.add_scaled(1.0, &b))?;
            let begun = Instant::now();
            x = ranks.sum(tree, growing.nodes().collect(), || ParamVec::zeros(&space))?;
            *best = best.min(begun.elapsed().as_secs_f64());
        }
    }
    if ranks.is_first() {
        println!(
            "{} ranks, {len} f32: tree {:.3} ms, engine {:.3} ms, ratio {:.2}",
            ranks.size(),
            1e3 * best[0],
            1e3 * best[1],
            best[0] / best[1]
        );
    }
    Ok(())
}

fn fail(ranks: &Ranks, how: &str) -> Outcome<()> {
    let space = space(1000)?;
    for step in 0..5 {
        flat_comm::watchdog::note_step(step);
        summed(ranks, ranks.size(), &space)?;
        if ranks.rank() == 1 && step == 3 {
            match how {
                "panic" => panic!("as asked"),
                "error" => return Err("as asked".into()),
                "stand" => std::thread::sleep(Duration::from_secs(3600)),
                other => return Err(format!("fail {other}: panic, error or stand").into()),
            }
        }
    }
    Ok(())
}
