//! The numbers of a step as programs.

use crate::host::{at, at_mut, compiler, run};
use flat_kernels::cuda::launch::SCALAR;
use flat_kernels::cuda::scalar::{Op, Place, scalars, words};

/// What a program leaves: every node, and the flag of the last.
fn values(nodes: &[Op<usize, Place>]) -> (Vec<f64>, bool) {
    let all: Vec<usize> = (0..nodes.len()).collect();
    let program = words(nodes, &all, Some(nodes.len() - 1));
    let (mut room, mut row, mut flag) = (vec![f64::NAN; nodes.len()], vec![f64::NAN; nodes.len()], [9u8]);
    let launch =
        scalars(at(&program), nodes.len(), at_mut(&mut room), nodes.len(), at_mut(&mut row), at_mut(&mut flag));
    // SAFETY: a program of nodes before their users; room for all.
    unsafe { run(&SCALAR, &[launch]) };
    assert!(flag[0] <= 1);
    (row, flag[0] == 1)
}

#[test]
fn every_operation_on_numbers_is_that_of_the_host() {
    if !compiler() {
        return;
    }
    let (x, y, flag) = ([2.25f64], [0.5f32], [1u8]);
    let nodes = [
        Op::Read(Place::F64(at(&x))),
        Op::Read(Place::F32(at(&y))),
        Op::Read(Place::U8(at(&flag))),
        Op::Constant(0.0),
        Op::Constant(f64::NAN),
        Op::Add(0, 1),
        Op::Mul(0, 1),
        Op::Sqrt(0),
        Op::Over(0, 1),
        Op::Over(0, 3),
        Op::Inverse(1, 0.5),
        Op::Inverse(1, 0.6),
        Op::Inverse(4, 0.0),
        Op::Greater(0, 1),
        Op::Greater(1, 0),
        Op::Greater(4, 0),
        Op::Choose(2, 0, 1),
        Op::Choose(3, 0, 1),
        Op::Finite(0),
        Op::Finite(4),
        Op::NonZero(4),
        Op::NonZero(3),
    ];
    let (found, flag) = values(&nodes);
    assert_eq!(found[..4], [2.25, 0.5, 1.0, 0.0]);
    assert!(found[4].is_nan());
    assert_eq!(found[5..10], [2.75, 1.125, 1.5, 4.5, 0.0]);
    // an inverse is 0 for what is too small or no number
    assert_eq!(found[10..13], [2.0, 0.0, 0.0]);
    assert_eq!(found[13..], [1.0, 0.0, 0.0, 2.25, 0.5, 1.0, 0.0, 1.0, 0.0]);
    assert!(!flag);
    assert!(values(&[Op::Constant(f64::NAN), Op::NonZero(0)]).1);
    assert!(values(&[Op::Constant(f64::INFINITY), Op::Finite(0), Op::Constant(1.0), Op::Greater(2, 1)]).1);
}
