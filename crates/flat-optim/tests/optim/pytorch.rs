//! Literal values from PyTorch 2.15.0; the script is tests/reference/pytorch.py.

use crate::functions::vars;
use candle_core::{Device, Result as CResult, Tensor};
use flat_optim::{AdamW, Base, GradientRule, Optimizer, Params, Plain, Query, Result, Sam, Sgd};

/// The script's function at its start.
pub fn function() -> Result<(Params, impl FnMut(Query) -> CResult<Tensor>)> {
    let (params, v) = vars(&[("x", &[1.0, -2.0, 0.5])])?;
    let a = Tensor::new(&[1.0f64, 2.0, 3.0], &Device::Cpu)?;
    let b = Tensor::new(&[0.5f64, -1.0, 0.25], &Device::Cpu)?;
    let loss = move |_: Query| {
        let x = v[0].as_tensor();
        let (quadratic, linear) = ((a.mul(&x.sqr()?)?.sum_all()? * 0.5)?, b.mul(x)?.sum_all()?);
        (quadratic - linear)? + (x.sqr()?.mul(x)?.sum_all()? * 0.1)?
    };
    Ok((params, loss))
}

/// Four steps on the script's function; the tolerance is a few dozen roundings of numbers near 1.
fn check(
    name: &str,
    base: impl Into<Box<dyn Base>>,
    rule: impl Into<Box<dyn GradientRule>>,
    expected: [f64; 3],
) -> Result<()> {
    let (params, mut loss) = function()?;
    let mut optimizer = Optimizer::new(&params, rule, base)?;
    for _ in 0..4 {
        optimizer.step(&mut loss)?;
    }
    for (x, expected) in params.read()?.to_f64()?.iter().zip(expected) {
        assert!((x - expected).abs() < 1e-14, "{name}: {x} against {expected}");
    }
    Ok(())
}

fn sgd() -> Sgd {
    Sgd::new(0.1).momentum(0.0)
}

fn adamw() -> AdamW {
    AdamW::new(0.1)
}

#[test]
fn sgd_is_torch_optim_sgd() -> Result<()> {
    check("plain", sgd(), Plain, [0.7469986207146129, -1.3732909810042566, 0.17577378837982846])?;
    check(
        "weight decay",
        sgd().weight_decay(0.3),
        Plain,
        [0.6668336208039525, -1.2060604394180336, 0.15483926524326297],
    )?;
    check("momentum", sgd().momentum(0.9), Plain, [0.4321982499125347, -0.6051439120405148, -0.20164021629789242])?;
    check(
        "dampening",
        sgd().momentum(0.9).dampening(0.4),
        Plain,
        [0.5391335404319972, -0.8937262499819981, -0.12856270985140167],
    )?;
    check(
        "nesterov, weight decay",
        sgd().momentum(0.9).nesterov(true).weight_decay(0.3),
        Plain,
        [0.2107718553432407, -0.10518335152288859, -0.10337200683322949],
    )?;
    check(
        "momentum, dampening, weight decay",
        sgd().momentum(0.8).dampening(0.1).weight_decay(0.05),
        Plain,
        [0.4853023322189246, -0.7484158762548604, -0.12155783186621377],
    )
}

#[test]
fn adamw_is_torch_optim_adamw() -> Result<()> {
    check("default", adamw(), Plain, [0.6086185416328822, -1.5940999407013112, 0.11794451235636715])?;
    check("no decay", adamw().weight_decay(0.0), Plain, [0.6118166437660747, -1.601450363809134, 0.11918086204959728])?;
    check(
        "options",
        adamw().beta1(0.8).beta2(0.95).eps(0.1).weight_decay(0.5),
        Plain,
        [0.5148822141054328, -1.2840608395527293, 0.09587824074217229],
    )
}

#[test]
fn sam_is_the_pytorch_rule() -> Result<()> {
    let sam = || Sam::new(0.2);
    check("sgd", sgd(), sam(), [0.7144064051072025, -1.3179545215804322, 0.12833527585688137])?;
    check(
        "momentum, weight decay",
        sgd().momentum(0.9).weight_decay(0.3),
        sam(),
        [0.1972004061242709, -0.1398469949141828, -0.25338304228971925],
    )?;
    check("adamw", adamw(), sam(), [0.6078636021920203, -1.593615567979455, 0.11613071728978079])
}

#[test]
fn one_sam_step_is_the_one_done_by_hand() -> Result<()> {
    // f = x1^2 / 2 + 2 x2^2 at (3, 1): g = (3, 4), norm 5; at rho = 0.5 the ascent ends in (3.3, 1.4) with gradient
    // (3.3, 5.6); with lr 0.1 the step ends in (2.67, 0.44)
    let (params, v) = vars(&[("x1", &[3.0]), ("x2", &[1.0])])?;
    let mut f = |_: Query| (v[0].sqr()?.sum_all()? * 0.5)? + (v[1].sqr()?.sum_all()? * 2.0)?;
    let report = Optimizer::new(&params, Sam::new(0.5), sgd())?.step(&mut f)?;
    assert_eq!((report.loss, report.grad_norm), (6.5, 5.0));
    assert!((report.surrogate_norm - 3.3f64.hypot(5.6)).abs() < 1e-14); // rounding
    for (x, expected) in params.read()?.to_f64()?.iter().zip([2.67, 0.44]) {
        assert!((x - expected).abs() < 1e-15, "{x}"); // rounding
    }
    Ok(())
}
