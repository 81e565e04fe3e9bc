//! In a process of one thread the tape thread starts without unsafe code, and double backward works.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

use candle_core::{Device, Tensor, Var};
use flat_core::{ParamVec, Params};
use flat_metrics::{ClosureObjective, DoubleBackwardHessian, DoubleBackwardThread, LinearOperator, Result};

fn main() -> Result<()> {
    assert!(std::env::var_os("CANDLE_GRAD_DO_NOT_DETACH").is_none(), "run this test without the switch");
    DoubleBackwardThread::start()?;
    assert!(std::env::var_os("CANDLE_GRAD_DO_NOT_DETACH").is_none(), "the environment is as it was");

    let x = Var::from_tensor(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu)?)?;
    let params = Params::new([("x".to_string(), x.clone())])?;
    let objective = ClosureObjective::new(params, vec![1], move |_| (x.sqr()? * x.as_tensor())?.sum_all())?;
    let mut hessian = DoubleBackwardHessian::new(&objective)?;
    let v = ParamVec::from_f64(hessian.space(), vec![1.0, 1.0])?;
    // x^3 has the second derivative 6 x
    assert_eq!(hessian.apply(&v)?.to_f64()?, [6.0, 12.0]);
    println!("test double_backward_starts_safely_in_a_process_of_one_thread ... ok");
    Ok(())
}
