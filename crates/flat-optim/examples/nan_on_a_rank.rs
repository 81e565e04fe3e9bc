//! A loss that is not finite on one rank alone, over MPI: all ranks skip that step, and go on with the weights of one process.
//!
//! ```text
//! mpirun -n 2 nan_on_a_rank
//! ```
#![allow(clippy::disallowed_macros, clippy::disallowed_methods)] // no step of a run: it says what it finds

use candle_core::{Device, Tensor, Var};
use flat_comm::launcher::Launcher;
use flat_comm::mpi::Mpi;
use flat_optim::{Optimizer, Params, Query, Ranked, Ranks, Sam, Sgd, Team, WithRows};
use std::cell::Cell;
use std::error::Error;
use std::time::Duration;

const ROWS: usize = 8;
const STEPS: usize = 6;
/// The step in which the last row, which the last rank holds, has a NaN for its loss.
const FAULTY: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let launcher = Launcher::of_environment().ok_or("nobody launched several processes: mpirun -n 2 nan_on_a_rank")?;
    let mpi = Mpi::begin(&launcher, Duration::from_secs(30))?;
    let ranks = Ranks::new(mpi.clone());
    let (weights, skipped) = trained(&Team::new(ranks.clone(), 4)?)?;
    let alone = trained(&Team::new(Ranks::default(), 4)?)?;
    if skipped != [FAULTY] || (weights, skipped) != alone {
        return Err(
            format!("rank {}: the weights or the steps skipped are not those of one process", ranks.rank()).into()
        );
    }
    if ranks.is_first() {
        println!("{}: {} ranks skip the step of a NaN on the last, and go on", ranks.engine().name(), ranks.size());
    }
    Ok(mpi.finish()?)
}

/// The weights of a linear model after some steps of SAM, and the steps that were skipped.
fn trained(team: &Team) -> flat_optim::Result<(Vec<f64>, Vec<usize>)> {
    let x: Vec<f64> = (0..3 * ROWS).map(|i| (1.7 * i as f64).sin()).collect();
    let x = Tensor::from_vec(x, (ROWS, 3), &Device::Cpu)?;
    let w = Var::from_tensor(&Tensor::new(&[[0.3f64], [-0.2], [0.1]], &Device::Cpu)?)?;
    let params = Params::new([("w".to_string(), w.clone())])?;
    let step = Cell::new(0);
    let mut loss = WithRows::new(ROWS, |query: Query| {
        let rows = query.rows.range(ROWS).map_err(candle_core::Error::wrap)?;
        let part = x.narrow(0, rows.start, rows.len())?;
        let scale = if step.get() == FAULTY && rows.contains(&(ROWS - 1)) { f64::NAN } else { 1.0 };
        (part.matmul(&w)? - 1.0)?.sqr()?.mean_all()? * scale
    });
    let mut optimizer = Optimizer::new(&params, Sam::new(0.05), Sgd::new(0.1))?;
    let mut skipped = Vec::new();
    for at in 0..STEPS {
        step.set(at);
        if optimizer.step(&mut Ranked::new(&mut loss, team))?.skipped.is_some() {
            skipped.push(at);
        }
    }
    Ok((params.read()?.to_f64()?, skipped))
}
