//! N + M steps equal N steps, save, load into a fresh optimizer, M steps, bit for bit.

use crate::conformance::{base, bases_of, builder, rule};
use crate::functions::{Problem, bits, logistic, vars};
use candle_core::{Device, Tensor};
use flat_optim::{BaseKind, Optimizer, Plain, Query, Result, RuleKind, ScheduleConfig, ScheduleShape, Sgd};
use std::collections::BTreeMap;

fn optimizer(p: &Problem, r: RuleKind, b: BaseKind) -> Result<Optimizer> {
    let shape = ScheduleShape::Cosine { total_steps: 20, min: 0.0 };
    builder(&p.params)
        .rule(rule(r))
        .base(base(b, 0.2))
        .lr_schedule(ScheduleConfig { warmup_steps: 2, shape })
        .ema(0.9)
        .clip(0.2)
        .seed(9)
        .build()
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() -> Result<()> {
    for r in RuleKind::all() {
        for b in bases_of(r) {
            let mut whole = logistic(20)?;
            let mut o = optimizer(&whole, r, b)?;
            for _ in 0..7 {
                o.step(whole.objective.as_mut())?;
            }
            let (theta, saved) = (whole.params.read()?, o.state()?);
            for _ in 0..6 {
                o.step(whole.objective.as_mut())?;
            }

            let mut resumed = logistic(20)?;
            resumed.params.write(&theta)?;
            let mut q = optimizer(&resumed, r, b)?;
            q.load_state(&saved)?;
            assert_eq!(q.steps(), 7);
            for _ in 0..6 {
                q.step(resumed.objective.as_mut())?;
            }
            assert_eq!(bits(&whole.params)?, bits(&resumed.params)?, "{r} over {b}");
            assert_same(&o.state()?, &q.state()?)?;
            assert_eq!(o.evals().to_bits(), q.evals().to_bits());
        }
    }
    Ok(())
}

fn assert_same(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> Result<()> {
    assert!(a.keys().eq(b.keys()));
    for (name, t) in a {
        let bytes = |t: &Tensor| {
            Ok::<_, flat_optim::Error>(t.flatten_all()?.to_dtype(candle_core::DType::F64)?.to_vec1::<f64>()?)
        };
        assert_eq!(bytes(t)?, bytes(&b[name])?, "{name}");
    }
    Ok(())
}

#[test]
fn a_saved_state_is_a_copy() -> Result<()> {
    let mut p = logistic(20)?;
    let mut o = optimizer(&p, "rsp".parse()?, "sgd".parse()?)?;
    o.step(p.objective.as_mut())?;
    let saved = o.state()?;
    let read = || Ok::<_, flat_optim::Error>(saved["base.momentum.weight"].to_vec1::<f64>()?);
    let before = read()?;
    o.step(p.objective.as_mut())?;
    assert_eq!(read()?, before);
    o.load_state(&saved)?;
    o.step(p.objective.as_mut())?;
    assert_eq!(read()?, before, "loading does not tie the optimizer to the saved tensors either");
    Ok(())
}

#[test]
fn a_one_parameter_state_is_a_copy_too() -> Result<()> {
    let (params, v) = vars(&[("x", &[1.0, 2.0])])?;
    let mut f = |_: Query| v[0].sqr()?.sum_all();
    let mut o = Optimizer::new(&params, Plain, Sgd::new(0.01).momentum(0.9))?;
    o.step(&mut f)?;
    let saved = o.state()?;
    let before = saved["base.momentum.x"].to_vec1::<f64>()?;
    o.load_state(&saved)?;
    o.step(&mut f)?;
    assert_eq!(saved["base.momentum.x"].to_vec1::<f64>()?, before);
    Ok(())
}

#[test]
fn a_state_that_does_not_fit_is_refused_by_name_and_changes_nothing() -> Result<()> {
    let mut p = logistic(20)?;
    let mut o = optimizer(&p, "sam".parse()?, "sgd".parse()?)?;
    for _ in 0..3 {
        o.step(p.objective.as_mut())?;
    }
    let good = o.state()?;
    let change = |f: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut state = good.clone();
        state.insert("progress.step".into(), Tensor::new(99i64, &Device::Cpu).expect("scalar"));
        f(&mut state);
        state
    };
    let pair = Tensor::new(&[0.0f64, 0.0], &Device::Cpu)?;
    let single = Tensor::new(&[0.0f32], &Device::Cpu)?;
    let negative = Tensor::new(-1i64, &Device::Cpu)?;
    let cases = [
        (change(&|s| drop(s.remove("base.momentum.bias"))), "`base.momentum.bias` is missing"),
        (change(&|s| drop(s.insert("base.mean.bias".into(), pair.clone()))), "`base.mean.bias` is unexpected"),
        (change(&|s| drop(s.insert("ema.average.bias".into(), pair.clone()))), "has shape [2] instead of [1]"),
        (change(&|s| drop(s.insert("ema.average.bias".into(), single.clone()))), "is F32 instead of F64"),
        (change(&|s| drop(s.insert("progress.step".into(), negative.clone()))), "`progress.step` is -1"),
    ];
    for (state, problem) in cases {
        let text = o.load_state(&state).expect_err(problem).to_string();
        assert!(text.contains(problem), "{text}");
        assert_same(&o.state()?, &good)?;
    }
    let text = o.load_state(&BTreeMap::new()).expect_err("all is missing").to_string();
    assert!(text.contains("and ") && text.contains(" more problems"), "{text}");

    let mut other = optimizer(&p, "sam".parse()?, "adamw".parse()?)?;
    assert!(other.load_state(&good).is_err(), "the state of another base");
    Ok(())
}

#[test]
fn bases_without_buffers_save_counters_only() -> Result<()> {
    let p = logistic(20)?;
    let mut o = Optimizer::new(&p.params, Plain, Sgd::new(0.01).momentum(0.0))?;
    let names: Vec<String> = o.state()?.into_keys().collect();
    let expected =
        ["base.updates", "progress.consecutive_skips", "progress.evals", "progress.skipped", "progress.step"];
    assert_eq!(names, expected);
    Ok(())
}
