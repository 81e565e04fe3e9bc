//! Schedule-free bases against literal values of the authors' package; the script is tests/reference/schedule_free.py.

use crate::functions::{bits, logistic, vars};
use crate::projection::{First, bowl, rule, step};
use crate::pytorch::function;
use flat_optim::{
    Base, GradientRule, Optimizer, Phases, Plain, Projection, Query, Result, Sam, ScheduleConfig, ScheduleFree,
    ScheduleFreeAdamW, ScheduleShape, Sgd, Wsam,
};

/// Twenty steps on the script's function; the tolerance is that of some hundred roundings of numbers near 1.
fn check(
    name: &str,
    base: impl Into<Box<dyn Base>>,
    rule: impl Into<Box<dyn GradientRule>>,
    warmup_steps: u64,
    [trained, model]: [[f64; 3]; 2],
) -> Result<()> {
    let (params, mut loss) = function()?;
    let schedule = ScheduleConfig { warmup_steps, shape: ScheduleShape::Constant };
    let mut optimizer = Optimizer::builder(&params).rule(rule).base(base).lr_schedule(schedule).build()?;
    for _ in 0..20 {
        optimizer.step(&mut loss)?;
    }
    let here = params.read()?.to_f64()?;
    let shown = optimizer.with_averaged(|| Ok::<_, flat_optim::Error>(params.read()?.to_f64()?))?;
    for (x, expected) in here.iter().chain(&shown).zip(trained.into_iter().chain(model)) {
        assert!((x - expected).abs() < 1e-13, "{name}: {x} against {expected}");
    }
    assert_eq!(params.read()?.to_f64()?, here, "{name}");
    Ok(())
}

fn sgd() -> ScheduleFree {
    ScheduleFree::new(0.3)
}

fn adamw() -> ScheduleFreeAdamW {
    ScheduleFreeAdamW::new(0.1)
}

#[test]
fn schedule_free_sgd_is_the_authors() -> Result<()> {
    check(
        "defaults",
        sgd(),
        Plain,
        0,
        [
            [0.410122367394523, -0.4880109229805252, 0.0834543808300397],
            [0.40773357832846113, -0.46996353217158554, 0.08342743849082225],
        ],
    )?;
    check(
        "options",
        sgd().beta(0.8).weight_decay(0.3).power(1.5),
        Plain,
        0,
        [
            [0.35706064525571046, -0.46819621301348613, 0.07526860833991826],
            [0.3558357098813321, -0.46849436044196113, 0.07527603318044393],
        ],
    )?;
    check(
        "warm-up",
        sgd(),
        Plain,
        5,
        [
            [0.4140956103830904, -0.488851405371407, 0.0872299324016039],
            [0.41338279340232964, -0.47780192101213925, 0.08779496176950712],
        ],
    )?;
    check(
        "sam",
        sgd(),
        Sam::new(0.2),
        0,
        [
            [0.4434649653877212, -0.5435811866055412, 0.09315571738295131],
            [0.44488647487633404, -0.5439312784530234, 0.0839324889870916],
        ],
    )
}

#[test]
fn schedule_free_adamw_is_the_authors() -> Result<()> {
    check(
        "defaults",
        adamw(),
        Plain,
        0,
        [
            [0.39767801330289554, -1.0014478051818019, 0.05234718157751978],
            [0.41173435309621487, -1.0715312310649625, 0.05019114637599345],
        ],
    )?;
    check(
        "options",
        adamw().beta(0.8).beta2(0.95).eps(0.1).weight_decay(0.5).power(1.5),
        Plain,
        0,
        [
            [0.3777319496076049, -0.40216601543903385, 0.07930418031941072],
            [0.3725702234596155, -0.431099857201682, 0.07718131383447624],
        ],
    )?;
    check(
        "warm-up",
        adamw(),
        Plain,
        5,
        [
            [0.4306210940872506, -1.0903719025312961, 0.05418983814360534],
            [0.44746042437130307, -1.148373910687884, 0.05838105628568496],
        ],
    )?;
    check(
        "sam",
        adamw(),
        Sam::new(0.2),
        0,
        [
            [0.39568256209760255, -0.9682180368799019, 0.06022968480778936],
            [0.4085783854297141, -1.0434280641246194, 0.054905784805339884],
        ],
    )
}

#[test]
fn two_steps_are_those_done_by_hand() -> Result<()> {
    // f = w^2 / 2 from 1, lr 1/2, beta 1/2. Step 1: z = 1/2, c = 1, x = y = 1/2. Step 2: z = 1/2 - 1/4 = 1/4, c = 1/2,
    // x = 3/8, y = (1/4 + 3/8) / 2 = 5/16.
    let (params, v) = vars(&[("w", &[1.0])])?;
    let mut f = |_: Query| v[0].sqr()?.sum_all()? * 0.5;
    let mut optimizer = Optimizer::new(&params, Plain, ScheduleFree::new(0.5).beta(0.5))?;
    assert!(optimizer.evaluation_point()?.is_none(), "before the first step the model is theta");
    for (y, x) in [(0.5, 0.5), (5.0 / 16.0, 3.0 / 8.0)] {
        optimizer.step(&mut f)?;
        let model = optimizer.evaluation_point()?.expect("the mean of the iterates").to_f64()?;
        assert_eq!((params.read()?.to_f64()?, model), (vec![y], vec![x]));
    }
    Ok(())
}

#[test]
fn without_interpolation_gradients_are_those_of_plain_sgd_and_the_model_is_their_mean() -> Result<()> {
    let (mut p, mut q) = (logistic(20)?, logistic(20)?);
    let mut free = Optimizer::new(&p.params, Plain, ScheduleFree::new(0.5).beta(0.0).weight_decay(0.01))?;
    let mut sgd = Optimizer::new(&q.params, Plain, Sgd::new(0.5).momentum(0.0).weight_decay(0.01))?;
    let mut sum = vec![0.0; 4];
    for _ in 0..10 {
        free.step(p.objective.as_mut())?;
        sgd.step(q.objective.as_mut())?;
        let theta = q.params.read()?.to_f64()?;
        sum.iter_mut().zip(theta).for_each(|(sum, x)| *sum += x);
    }
    let model = free.evaluation_point()?.expect("a mean").to_f64()?;
    let pairs = p.params.read()?.to_f64()?.into_iter().zip(q.params.read()?.to_f64()?);
    for (a, b) in pairs.chain(model.into_iter().zip(sum.into_iter().map(|sum| sum / 10.0))) {
        assert!((a - b).abs() < 1e-14, "{a} against {b}"); // rounding
    }
    Ok(())
}

#[test]
fn a_reset_starts_all_iterates_from_theta() -> Result<()> {
    for base in [|| sgd().into(), || adamw().into()] as [fn() -> Box<dyn Base>; 2] {
        let mut p = logistic(20)?;
        let phases = Phases::new([(0, Plain.into()), (4, Plain.into())]).resetting(true);
        let mut optimizer = Optimizer::builder(&p.params).rule(phases).base(base()).build()?;
        for _ in 0..4 {
            optimizer.step(p.objective.as_mut())?;
        }
        let theta = p.params.read()?;
        for _ in 0..3 {
            optimizer.step(p.objective.as_mut())?;
        }
        let mut q = logistic(20)?;
        q.params.write(&theta)?;
        let mut fresh = Optimizer::builder(&q.params).rule(Plain).base(base()).build()?;
        for _ in 0..3 {
            fresh.step(q.objective.as_mut())?;
        }
        assert_eq!(bits(&p.params)?, bits(&q.params)?);
    }
    Ok(())
}

#[test]
fn what_bypasses_the_base_moves_the_iterates_as_a_gradient_does() -> Result<()> {
    // schedule-free SGD has no moments, so that wsam's two forms are one there
    let run = |coupled| {
        let mut p = logistic(20)?;
        let rule = Wsam::new(0.05).gamma(0.7).coupled(coupled);
        let mut optimizer = Optimizer::new(&p.params, rule, ScheduleFree::new(0.5))?;
        for _ in 0..20 {
            optimizer.step(p.objective.as_mut())?;
        }
        let model = optimizer.evaluation_point()?.expect("a mean").to_f64()?;
        Ok::<_, flat_optim::Error>([p.params.read()?.to_f64()?, model].concat())
    };
    for (a, b) in run(true)?.iter().zip(run(false)?) {
        assert!((a - b).abs() < 1e-13, "{a} against {b}"); // rounding, over 20 steps
    }
    Ok(())
}

#[test]
fn projected_steps_keep_theta_and_the_model_in_the_subspace() -> Result<()> {
    for dominant in [true, false] {
        let (params, v) = bowl()?;
        let subspace = Box::new(First::default());
        let rule = rule(dominant, Projection::default());
        let base = ScheduleFree::new(0.1);
        let mut optimizer = Optimizer::builder(&params).rule(rule).base(base).subspace(subspace).build()?;
        for _ in 0..5 {
            step(&mut optimizer, &v)?;
        }
        let model = optimizer.evaluation_point()?.expect("a mean").to_f64()?;
        for x in [params.read()?.to_f64()?, model] {
            let (moved, kept) = if dominant { (x[0] - 1.0, x[1] - 2.0) } else { (x[1] - 2.0, x[0] - 1.0) };
            assert!(moved.abs() > 0.1 && kept.abs() < 1e-15, "{dominant}: {x:?}"); // rounding
        }
    }
    Ok(())
}
