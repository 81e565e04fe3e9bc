//! Schedules that go by gradient evaluations.

use crate::conformance::{builder, rule};
use crate::functions::{bits, logistic};
use flat_optim::{
    AeSam, Gate, GradientRule, LookSam, Optimizer, Params, Result, Rsp, RuleKind, Sam, ScheduleConfig, ScheduleShape,
    Sgd,
};

const STEPS: u64 = 60;

fn optimizer(params: &Params, rule: impl Into<Box<dyn GradientRule>>, paced: bool) -> Result<Optimizer> {
    let lr = ScheduleConfig { warmup_steps: 0, shape: ScheduleShape::Cosine { total_steps: STEPS, min: 0.0 } };
    let builder = Optimizer::builder(params).rule(rule).base(Sgd::new(0.5).momentum(0.9)).lr_schedule(lr);
    builder.steps(STEPS).paced_by_evals(paced).build()
}

#[test]
fn a_step_that_costs_twice_moves_the_schedules_on_by_two() -> Result<()> {
    let rules: [Box<dyn GradientRule>; 2] =
        [AeSam::new(0.05).into(), Rsp::new(0.05).gate(Gate::default().eps0(0.1)).into()];
    for rule in rules {
        let mut p = logistic(20)?;
        let mut o = optimizer(&p.params, rule, true)?;
        let (mut spent, mut steps) = (0.0, [0, 0]);
        while spent + o.next_evals(20) <= STEPS as f64 {
            let report = o.step(p.objective.as_mut())?;
            let lr = 0.25 * (1.0 + (std::f64::consts::PI * spent / STEPS as f64).cos());
            assert!((report.lr - lr).abs() < 1e-12, "{} after {spent} evaluations", report.lr); // rounding of a cosine
            spent += report.evals;
            steps[usize::from(report.perturbed)] += 1;
        }
        assert!(steps[0] > 3 && steps[1] > 3 && o.evals() == spent && spent > STEPS as f64 - 2.0, "{steps:?} {spent}");
    }
    Ok(())
}

#[test]
fn the_switch_of_aesam_is_at_its_end_when_the_evaluations_are_spent() -> Result<()> {
    // with bounds of +-100 deviations no step is long in the first half of the schedule, and each is in the second
    let mut p = logistic(20)?;
    let mut o = optimizer(&p.params, AeSam::new(0.05).start(100.0).end(-100.0), true)?;
    let (mut spent, mut perturbed) = (0.0, Vec::new());
    while spent + o.next_evals(20) <= STEPS as f64 {
        let report = o.step(p.objective.as_mut())?;
        perturbed.push((spent, report.perturbed));
        spent += report.evals;
    }
    let half = STEPS as f64 / 2.0;
    assert!(perturbed.iter().filter(|(at, _)| (3.0..half - 3.0).contains(at)).all(|(_, long)| !long), "{perturbed:?}");
    assert!(perturbed.iter().filter(|(at, _)| *at > half + 3.0).all(|(_, long)| *long), "{perturbed:?}");
    Ok(())
}

#[test]
fn a_rule_whose_cost_is_known_beforehand_is_paced_by_its_steps() -> Result<()> {
    let run = |rule: Box<dyn GradientRule>, paced| {
        let mut p = logistic(20)?;
        let mut o = optimizer(&p.params, rule, paced)?;
        for _ in 0..20 {
            o.step(p.objective.as_mut())?;
        }
        bits(&p.params)
    };
    assert_eq!(run(Sam::new(0.05).into(), true)?, run(Sam::new(0.05).into(), false)?);
    // the mean of a cycle of 2, 1 and 1 evaluations
    assert_eq!(run(LookSam::new(0.05).k(3).into(), true)?, run(LookSam::new(0.05).k(3).into(), false)?);
    Ok(())
}

#[test]
fn a_resumed_run_keeps_its_pace_bit_for_bit() -> Result<()> {
    let mut whole = logistic(20)?;
    let mut o = optimizer(&whole.params, AeSam::new(0.05), true)?;
    for _ in 0..9 {
        o.step(whole.objective.as_mut())?;
    }
    let mut resumed = logistic(20)?;
    resumed.params.write(&whole.params.read()?)?;
    let mut q = optimizer(&resumed.params, AeSam::new(0.05), true)?;
    q.load_state(&o.state()?)?;
    for _ in 0..9 {
        let (a, b) = (o.step(whole.objective.as_mut())?, q.step(resumed.objective.as_mut())?);
        assert_eq!(a, b);
    }
    assert_eq!(bits(&whole.params)?, bits(&resumed.params)?);
    Ok(())
}

#[test]
fn no_step_of_a_rule_whose_cost_varies_costs_less_than_its_cheapest_or_more_than_announced() -> Result<()> {
    let mut varying = Vec::new();
    for kind in RuleKind::all() {
        let built = rule(kind);
        let [least, mean, most] = [built.least_evals(20), built.mean_evals(20), built.evals_per_step(20)];
        assert!(least <= mean, "{kind}");
        if least < mean {
            let mut p = logistic(20)?;
            let mut o = builder(&p.params).rule(built).build()?;
            for _ in 0..30 {
                let evals = o.step(p.objective.as_mut())?.evals;
                assert!((least - 1e-12..=most + 1e-12).contains(&evals), "{kind}: {evals}"); // a sum of fractions
            }
            varying.push(kind.name());
        }
    }
    // a gate that is sometimes shut, and a switch
    assert_eq!(varying, ["rsp", "sap", "aesam"]);
    Ok(())
}
