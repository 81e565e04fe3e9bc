//! Numbers, names and intervals as text.

pub(crate) mod csv;
pub(crate) mod epochs;
pub(crate) mod every;
pub(crate) mod exact;
pub(crate) mod number;
pub mod table;

pub use csv::csv;
pub use epochs::Epochs;
pub use every::Every;
pub use number::{percent, percentage, short, wilson};
