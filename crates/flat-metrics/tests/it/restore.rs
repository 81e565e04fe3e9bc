//! The parameters come back bit for bit, whatever happens.

use crate::double_backward;
use crate::mlp::{Mlp, SIZES};
use candle_core::{DType, bail};
use flat_core::{ParamVec, Purpose, Streams};
use flat_metrics::{ClosureObjective, DifferenceHessian, Error, LinearOperator, Progress, Result, TangentHessian};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

fn bits(mlp: &Mlp) -> Result<Vec<u64>> {
    Ok(mlp.params.read()?.to_f64()?.into_iter().map(f64::to_bits).collect())
}

fn direction(mlp: &Mlp) -> Result<ParamVec> {
    Ok(ParamVec::gaussian(mlp.params.space(), 1.0, &Streams::new(5).at(Purpose::Test, 0))?)
}

#[test]
fn theta_is_bit_equal_after_an_error_at_any_evaluation() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let mlp = Mlp::new(dtype)?;
        let (before, v) = (bits(&mlp)?, direction(&mlp)?);
        for fail_at in 0..2 * SIZES.len() {
            let calls = AtomicUsize::new(0);
            let objective = ClosureObjective::new(mlp.params.clone(), SIZES.to_vec(), |i| {
                if calls.fetch_add(1, Ordering::Relaxed) == fail_at {
                    bail!("the disk is gone");
                }
                mlp.loss(i)
            })?;
            let message = DifferenceHessian::unchecked(&objective).apply(&v).expect_err("it failed").to_string();
            assert!(message.contains("the disk is gone"), "{message}");
            assert_eq!(bits(&mlp)?, before, "evaluation {fail_at}");
        }
    }
    Ok(())
}

#[test]
fn theta_is_bit_equal_after_a_panic_and_the_panic_arrives() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let (before, v) = (bits(&mlp)?, direction(&mlp)?);
    let calls = AtomicUsize::new(0);
    let objective = ClosureObjective::new(mlp.params.clone(), SIZES.to_vec(), |i| {
        assert_ne!(calls.fetch_add(1, Ordering::Relaxed) % 5, 4, "the fifth evaluation");
        mlp.loss(i)
    })?;
    let caught = catch_unwind(AssertUnwindSafe(|| DifferenceHessian::unchecked(&objective).apply(&v)));
    assert!(caught.is_err());
    assert_eq!(bits(&mlp)?, before);

    // a panic on the tape thread reaches the caller, and the thread goes on working
    calls.store(2, Ordering::Relaxed);
    let mut double = double_backward(&objective)?;
    let caught = catch_unwind(AssertUnwindSafe(|| double.apply(&v)));
    let message = *caught.expect_err("the fifth evaluation").downcast::<String>().expect("a message");
    assert!(message.contains("the fifth evaluation"), "{message}");
    let good = mlp.objective()?;
    let gap = double_backward(&good)?.apply(&v)?.plus(-1.0, &TangentHessian::new(&good)?.apply(&v)?)?;
    assert!(gap.norm()? < 1e-12);
    assert_eq!(bits(&mlp)?, before);
    Ok(())
}

#[test]
fn theta_is_bit_equal_after_an_interruption_between_batches() -> Result<()> {
    let mlp = Mlp::new(DType::F64)?;
    let (before, v) = (bits(&mlp)?, direction(&mlp)?);
    let objective = mlp.objective()?;
    let (mut tangent, mut double, mut difference) =
        (TangentHessian::new(&objective)?, double_backward(&objective)?, DifferenceHessian::new(&objective)?);
    let operators: [(&mut dyn LinearOperator, usize); 3] = [(&mut tangent, 3), (&mut double, 3), (&mut difference, 6)];
    for (operator, pieces) in operators {
        let mut seen = Vec::new();
        let result = operator.product(&v, &mut |at: &Progress| {
            assert_eq!(at.batches, pieces);
            seen.push(at.batch);
            if at.batch == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(seen, [0, 1, 2]);
        assert_eq!(operator.matvecs(), 0, "an abandoned product does not count");
        assert_eq!(bits(&mlp)?, before);
    }
    Ok(())
}
