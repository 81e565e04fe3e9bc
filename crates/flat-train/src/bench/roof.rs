//! A cell beneath its roof: what arithmetic and memory allow (Williams, Waterman & Patterson 2009, "Roofline").

use flat_run::value::table::Table;
use serde::{Deserialize, Serialize};

/// What bounds a step from above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The rate of products.
    Arithmetic,
    /// The rate of copying.
    Memory,
}

/// The roof over a cell and how near the cell comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Roof {
    /// Bytes that a step's gradients read and write, every operand and result of a pass once.
    pub bytes_per_step: f64,
    /// Floating point operations a byte.
    pub intensity: f64,
    /// GFLOP/s that the device allows at this intensity.
    pub gflops: f64,
    /// By what.
    pub bound: Bound,
    /// What the cell reaches of them; above 1 where an algorithm needs fewer operations, or a cache serves.
    pub fraction: f64,
}

impl Roof {
    /// For a cell that does `flops` with `bytes` at `reached` GFLOP/s, on a device of so many GFLOP/s and GB/s.
    pub fn over([flops, bytes]: [f64; 2], reached: f64, [peak, bandwidth]: [f64; 2]) -> Self {
        let intensity = flops / bytes;
        let (gflops, bound) = match bandwidth * intensity {
            by_memory if by_memory < peak => (by_memory, Bound::Memory),
            _ => (peak, Bound::Arithmetic),
        };
        Self { bytes_per_step: bytes, intensity, gflops, bound, fraction: reached / gflops }
    }

    /// The roofs of named cells that do so many operations a step, as a table.
    pub fn table<'a>(rows: impl Iterator<Item = (String, f64, &'a Self)>) -> String {
        let mut table =
            Table::new(1, ["cell", "GFLOP/step", "GB/step", "FLOP/byte", "roof GFLOP/s", "bound by", "of roof"]);
        for (cell, flops, roof) in rows {
            let bound = match roof.bound {
                Bound::Arithmetic => "arithmetic",
                Bound::Memory => "memory",
            };
            table.row(vec![
                cell,
                format!("{:.2}", 1e-9 * flops),
                format!("{:.3}", 1e-9 * roof.bytes_per_step),
                format!("{:.1}", roof.intensity),
                format!("{:.0}", roof.gflops),
                bound.into(),
                format!("{:.0} %", 100.0 * roof.fraction),
            ]);
        }
        table.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_both_rates_is_the_roof() {
        let roof = Roof::over([4e9, 1e9], 30.0, [100.0, 20.0]);
        assert_eq!((roof.intensity, roof.gflops, roof.bound, roof.fraction), (4.0, 80.0, Bound::Memory, 0.375));
        let roof = Roof::over([40e9, 1e9], 50.0, [100.0, 20.0]);
        assert_eq!((roof.gflops, roof.bound, roof.fraction), (100.0, Bound::Arithmetic, 0.5));
    }
}
