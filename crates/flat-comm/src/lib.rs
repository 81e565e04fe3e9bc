//! Several processes of one run.
//!
//! An engine, a [`Communicator`], carries bytes between ranks: [`Alone`] is one process, [`Threads`] are ranks within one,
//! [`mpi::Mpi`] is any MPI; with the feature `nccl`, vectors on CUDA devices go by NCCL beside it. [`Ranks`] is what the parts of a run see: sums of vectors, numbers of all ranks, words of the first. The
//! order of a sum is a [`Tree`] over the parts of a batch and not the ranks', so that one process and any number of ranks find the
//! same bits. [`here`] has the ranks of the thread that asks. [`Neighbours`] are agents of a network on ranks, which mix their
//! vectors by the weights of a [`Mixing`] over a [`Graph`].
//!
//! ```
//! use flat_comm::{Ranks, Threads};
//!
//! let found = Threads::run(3, |engine| {
//!     let ranks = Ranks::new(engine);
//!     let own: Vec<f64> = ranks.own(4).map(|part| part as f64).collect();
//!     ranks.gather(4, 1, &own)
//! });
//! assert!(found.iter().all(|all| matches!(all, Ok(all) if *all == [0.0, 1.0, 2.0, 3.0])));
//! ```

mod alone;
mod communicator;
mod cores;
pub mod cost;
mod error;
mod graph;
mod growing;
pub mod launcher;
#[cfg(unix)]
pub mod mpi;
#[cfg(all(unix, feature = "nccl"))]
pub mod nccl;
mod on_device;
mod place;
mod ranks;
mod threads;
mod tree;
pub mod watchdog;

pub use alone::Alone;
pub use communicator::{Communicator, Incoming, Outgoing};
pub use cores::threads_of_a_rank;
pub use error::{Error, Result};
pub use flat_core::Lent;
pub use graph::{Graph, MOST_AGENTS, Mixing, Neighbours};
pub use growing::Growing;
pub use on_device::OnDevice;
pub use place::{here, with};
pub use ranks::{Ranks, SumOrder};
pub use threads::Threads;
pub use tree::Tree;
