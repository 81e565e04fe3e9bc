//! Reproductions: each of the papers' results by one command, from scratch.
//!
//! A reproduction is a [`Study`]: a folder of cells, each computed once and kept, so that an interrupted study goes on where
//! it stopped; what the cells come to is a [`Page`] of text, tables and plots beside the numbers it was made of.

mod bad_minimum;
pub(crate) mod defaults;
pub(crate) mod escape;
mod images;
mod interval;
pub(crate) mod late_sam;
mod margin;
mod network;
mod page;
mod paired;
pub(crate) mod sam_vs_sgd;
mod scale;
mod study;
pub(crate) mod theory;
mod training;

pub use page::{Page, Table};
pub use scale::Scale;
pub use study::{Provenance, Study};
