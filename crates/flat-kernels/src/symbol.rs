//! Symbolic execution of a recurrence. The expression that the CPU's loop is compiled from also writes the CUDA
//! kernel.

use crate::cuda::vector::Recurrence;
use crate::{Number, Update};
use std::array::from_fn;
use std::cell::RefCell;
use std::fmt::Write;
use std::ops::{Add, Div, Mul, Sub};
use std::rc::Rc;

/// The statements of a kernel so far, and the constants they use.
#[derive(Default)]
struct Program {
    body: String,
    constants: Vec<f64>,
    temporaries: usize,
}

/// A [`Number`] that writes down what is done to it.
#[derive(Clone)]
struct Symbol {
    name: Rc<str>,
    program: Rc<RefCell<Program>>,
}

impl Symbol {
    fn named(name: String, program: &Rc<RefCell<Program>>) -> Self {
        Self { name: name.into(), program: program.clone() }
    }

    /// A new number with the value of an expression.
    fn is(program: &Rc<RefCell<Program>>, expression: std::fmt::Arguments<'_>) -> Self {
        let mut p = program.borrow_mut();
        let name = format!("v{}", p.temporaries);
        p.temporaries += 1;
        // writing to a String cannot fail
        let _ = writeln!(p.body, "    const T {name} = {expression};");
        Self::named(name, program)
    }

    /// A constant of this parameter, rounded to the element type first, as on the host.
    fn constant(&self, a: f64) -> String {
        let mut p = self.program.borrow_mut();
        p.constants.push(a);
        format!("T(c[{}])", p.constants.len() - 1)
    }
}

macro_rules! operators {
    ($($trait:ident $name:ident $op:literal),+) => {
        $(impl $trait for Symbol {
            type Output = Self;
            fn $name(self, other: Self) -> Self {
                Self::is(&self.program, format_args!("{} {} {}", self.name, $op, other.name))
            }
        })+
    };
    (f64: $($trait:ident $name:ident $op:literal),+) => {
        $(impl $trait<f64> for Symbol {
            type Output = Self;
            fn $name(self, a: f64) -> Self {
                let a = self.constant(a);
                Self::is(&self.program, format_args!("{} {} {a}", self.name, $op))
            }
        })+
    };
}
operators!(Add add "+", Sub sub "-", Mul mul "*", Div div "/");
operators!(f64: Add add "+", Mul mul "*", Div div "/");

impl Number for Symbol {
    fn sqrt(self) -> Self {
        Self::is(&self.program, format_args!("sqrt({})", self.name))
    }
    fn abs(self) -> Self {
        Self::is(&self.program, format_args!("{0} < T(0) ? -{0} : {0}", self.name))
    }
}

/// The kernel that carries out a recurrence on a CUDA device, and the constants of this one. Two recurrences that differ in
/// their constants alone share a kernel, so that one launch serves parameters with different ones.
///
/// ```
/// use flat_kernels::{Number, Update, recurrence};
///
/// struct Decay(f64);
/// impl Update<0, 0> for Decay {
///     fn update<E: Number>(&self, w: E, _: [E; 0], _: [E; 0]) -> (E, [E; 0]) {
///         (w * self.0, [])
///     }
/// }
/// let (kernel, constants) = recurrence(&Decay(0.9));
/// assert_eq!(constants, [0.9]);
/// assert_eq!(kernel, recurrence(&Decay(0.8)).0);
/// assert!(kernel.body.contains("w * T(c[0])"));
/// ```
pub fn recurrence<const M: usize, const N: usize>(update: &impl Update<M, N>) -> (Recurrence, Vec<f64>) {
    let program = Rc::new(RefCell::new(Program::default()));
    let inputs: [Symbol; M] = from_fn(|k| Symbol::named(format!("x{k}"), &program));
    let state: [Symbol; N] = from_fn(|k| Symbol::named(format!("s{k}"), &program));
    let (w, state) = update.update(Symbol::named("w".into(), &program), inputs, state);
    let mut p = program.take();
    let _ = writeln!(p.body, "    const T w_new = {};", w.name);
    for (k, s) in state.iter().enumerate() {
        let _ = writeln!(p.body, "    const T s{k}_new = {};", s.name);
    }
    (Recurrence { inputs: M, state: N, constants: p.constants.len(), body: p.body }, p.constants)
}
