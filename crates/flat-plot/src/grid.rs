//! The values of a map.

/// A value at every point of a grid.
#[derive(Debug, Clone, Copy)]
pub struct Grid<'a> {
    /// Coordinates along the first axis, which varies fastest in `values`.
    pub x: &'a [f64],
    /// Coordinates along the second.
    pub y: &'a [f64],
    /// The values; those that are not finite stay white.
    pub values: &'a [f64],
    /// What they are.
    pub name: &'a str,
    /// Names of the axes.
    pub labels: &'a [String; 2],
    /// Colours by the logarithm, where the values allow.
    pub logarithmic: bool,
    /// Ends of the scale, so that several maps share one; those of the values where there are none.
    pub range: Option<[f64; 2]>,
}
