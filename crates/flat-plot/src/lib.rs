//! Plots as SVG, which needs no font file and no system library.
//!
//! One engine draws all: scales with their ticks, axes, bands, lines, marks. It names what it draws by classes: `grid`,
//! `axis`, `band`, `line`, `whisker`, `mark`, and `s0`, `s1`, ... for colours. A plot in a file brings a style of its
//! own ([`curves`], [`panels()`], [`density`], [`line()`], [`surface`], [`bars`]); one within a page leaves the classes to the page's
//! style ([`Inline`], [`scatter`]).

#![forbid(unsafe_code)]

mod bars;
mod contour;
mod curve;
mod curves;
mod density;
mod file;
mod frame;
mod grid;
mod inline;
mod line;
mod panels;
mod scale;
mod scatter;
mod surface;
mod trace;

pub use bars::{Bar, bars};
pub use curve::{Curve, Point};
pub use curves::{Axis, Chart, Series, curves};
pub use density::{Density, density};
pub use file::Heading;
pub use grid::Grid;
pub use inline::{Inline, Track};
pub use line::{Line, line};
pub use panels::{Panel, panels};
pub use scatter::{Ranged, Spot, scatter};
pub use surface::surface;
pub use trace::swatch;
