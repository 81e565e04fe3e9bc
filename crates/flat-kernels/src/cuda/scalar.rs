//! The numbers of a step as a program that one launch carries out; see `source/scalar.cu`.

use super::launch::Launch;

/// An operation on numbers of f64. `X` is an operand, `A` a number that lies on the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op<X, A> {
    /// A number that is known.
    Constant(f64),
    /// One that lies on the device.
    Read(A),
    /// `x + y`.
    Add(X, X),
    /// `x y`.
    Mul(X, X),
    /// The square root.
    Sqrt(X),
    /// `x / y`, and 0 where `y` is 0.
    Over(X, X),
    /// `1 / x`, and 0 unless `x` is at least the number.
    Inverse(X, f64),
    /// Whether `x > y`: 1 or 0, as all flags.
    Greater(X, X),
    /// The second where the first is not 0, else the third.
    Choose(X, X, X),
    /// Whether it is finite.
    Finite(X),
    /// Whether it is not 0.
    NonZero(X),
}

impl<X, A> Op<X, A> {
    /// The same operation of other operands.
    pub fn map<Y>(self, mut f: impl FnMut(X) -> Y) -> Op<Y, A> {
        match self {
            Self::Constant(x) => Op::Constant(x),
            Self::Read(at) => Op::Read(at),
            Self::Add(x, y) => Op::Add(f(x), f(y)),
            Self::Mul(x, y) => Op::Mul(f(x), f(y)),
            Self::Sqrt(x) => Op::Sqrt(f(x)),
            Self::Over(x, y) => Op::Over(f(x), f(y)),
            Self::Inverse(x, least) => Op::Inverse(f(x), least),
            Self::Greater(x, y) => Op::Greater(f(x), f(y)),
            Self::Choose(flag, x, y) => Op::Choose(f(flag), f(x), f(y)),
            Self::Finite(x) => Op::Finite(f(x)),
            Self::NonZero(x) => Op::NonZero(f(x)),
        }
    }

    /// The same operation with what is read elsewhere.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn read<B, E>(self, f: impl FnOnce(A) -> Result<B, E>) -> Result<Op<X, B>, E> {
        Ok(match self {
            Self::Constant(x) => Op::Constant(x),
            Self::Read(at) => Op::Read(f(at)?),
            Self::Add(x, y) => Op::Add(x, y),
            Self::Mul(x, y) => Op::Mul(x, y),
            Self::Sqrt(x) => Op::Sqrt(x),
            Self::Over(x, y) => Op::Over(x, y),
            Self::Inverse(x, least) => Op::Inverse(x, least),
            Self::Greater(x, y) => Op::Greater(x, y),
            Self::Choose(flag, x, y) => Op::Choose(flag, x, y),
            Self::Finite(x) => Op::Finite(x),
            Self::NonZero(x) => Op::NonZero(x),
        })
    }
}

/// The address of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A double.
    F64(u64),
    /// A float.
    F32(u64),
    /// A byte.
    U8(u64),
}

/// The words of a program: its nodes, the places of the numbers that are wanted, and that of a flag. A node's operands are
/// places of earlier ones.
pub fn words(nodes: &[Op<usize, Place>], wanted: &[usize], flag: Option<usize>) -> Vec<u64> {
    let node = |op: &Op<usize, Place>| -> [u64; 4] {
        match op.map(|x| x as u64) {
            Op::Constant(x) => [0, x.to_bits(), 0, 0],
            Op::Read(Place::F64(at)) => [1, at, 0, 0],
            Op::Read(Place::F32(at)) => [2, at, 0, 0],
            Op::Read(Place::U8(at)) => [3, at, 0, 0],
            Op::Add(x, y) => [4, x, y, 0],
            Op::Mul(x, y) => [5, x, y, 0],
            Op::Sqrt(x) => [6, x, 0, 0],
            Op::Over(x, y) => [7, x, y, 0],
            Op::Inverse(x, least) => [8, x, least.to_bits(), 0],
            Op::Greater(x, y) => [9, x, y, 0],
            Op::Choose(flag, x, y) => [10, flag, x, y],
            Op::Finite(x) => [11, x, 0, 0],
            Op::NonZero(x) => [12, x, 0, 0],
        }
    };
    nodes.iter().flat_map(node).chain(wanted.iter().chain(&flag).map(|x| *x as u64)).collect()
}

/// Carries out the program at `program` of so many nodes. `values` is room for a double a node, `row` for one a number that is
/// wanted, `flag` for a byte; 0 for none.
pub fn scalars(program: u64, nodes: usize, values: u64, wanted: usize, row: u64, flag: u64) -> Launch {
    Launch {
        kernel: "scalars".into(),
        grid: [1, 1],
        args: vec![program, nodes as u64, values, wanted as u64, row, flag],
    }
}
