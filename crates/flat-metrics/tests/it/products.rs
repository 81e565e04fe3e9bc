//! Products of several directions at once are those of one after the other, and so are the estimates that are made of them.

use crate::models::{LOSS, batches, model};
use candle_core::DType;
use flat_comm::{Ranks, Threads};
use flat_core::{ParamVec, Purpose, Space, Streams};
use flat_metrics::{
    Block, DensityConfig, Diagonal, DifferenceHessian, GaussNewton, HutchPlusPlus, Hutchinson, LinearOperator,
    ModelObjective, ModelingError, Observer, Product, Progress, Provenance, Result, Silent, SpectralDensity, Stop,
    TangentHessian, TraceConfig, XTrace, exact_trace,
};
use flat_nn::{Activation, Mode, networks};
use std::ops::ControlFlow;

/// The operator, which is asked for one product at a time.
struct OneByOne<'a>(&'a mut dyn LinearOperator);

impl LinearOperator for OneByOne<'_> {
    fn space(&self) -> &Space {
        self.0.space()
    }
    fn product(&mut self, v: &ParamVec, observer: &mut dyn Observer) -> Result<Product> {
        self.0.product(v, observer)
    }
    fn matvecs(&self) -> u64 {
        self.0.matvecs()
    }
    fn provenance(&self) -> Provenance {
        self.0.provenance()
    }
}

fn probes(space: &Space, n: u64) -> Result<Vec<ParamVec>> {
    let draw = |k| ParamVec::gaussian(space, 1.0, &Streams::new(4).at(Purpose::Probe, k));
    (0..n).map(|k| Ok(draw(k)?)).collect()
}

#[test]
fn several_products_at_once_have_the_bits_of_each_and_count_as_many() -> Result<()> {
    for (arch, dtype, mode) in [
        (networks::MLP, DType::F64, Mode::Eval),
        (networks::LENET, DType::F32, Mode::Eval),
        (networks::RESNET20, DType::F32, Mode::BatchStats),
    ] {
        let model = model(arch, 16, Activation::Relu, dtype)?;
        let objective = ModelObjective::new(&model, LOSS, mode, batches(&model)?)?;
        let (mut hessian, mut whole) = (TangentHessian::new(&objective)?, TangentHessian::new(&objective)?);
        let mut operators: Vec<Box<dyn LinearOperator>> = vec![
            Box::new(TangentHessian::new(&objective)?),
            Box::new(DifferenceHessian::new(&objective)?),
            Box::new(GaussNewton::new(&objective)?),
            Box::new(ModelingError::new(&objective)?),
            Box::new(Block::new(&mut whole, |name| name.ends_with("weight"))?),
        ];
        for operator in &mut operators {
            let all = probes(operator.space(), 3)?;
            let together = operator.products(&Ranks::default(), &all.iter().collect::<Vec<_>>(), &mut Silent)?;
            assert_eq!((together.len(), operator.matvecs()), (3, 3));
            for (v, found) in all.iter().zip(&together) {
                let alone = operator.product(v, &mut Silent)?;
                let name = operator.provenance().operator;
                assert!(alone.product.norm()? > 0.0);
                assert_eq!(alone.product.to_f64()?, found.product.to_f64()?, "{arch} {name:?}");
                assert_eq!(alone.batches, found.batches, "{arch} {name:?}");
            }
        }
        let foreign = probes(operators[4].space(), 1)?;
        assert!(hessian.apply_block(&[&foreign[0]]).is_err(), "a vector of another space");
        assert!(hessian.apply_block(&[])?.is_empty());
    }
    Ok(())
}

#[test]
fn estimates_do_not_depend_on_the_products_that_are_taken_at_once() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
    let s = Streams::new(9);
    let measured = |operator: &mut dyn LinearOperator| -> Result<Vec<String>> {
        let layers = Hutchinson::new(TraceConfig::fixed(7))?.run(operator, &s, &mut Silent)?;
        let sketch = HutchPlusPlus::new(TraceConfig::fixed(13))?.run(operator, &s, &mut Silent)?;
        let leave_out = XTrace::new(TraceConfig::fixed(14))?.run(operator, &s, &mut Silent)?;
        let config = DensityConfig { probes: 6, steps: 9, ..DensityConfig::default() };
        let density = SpectralDensity::new(config)?.run(operator, &s, &mut Silent)?;
        let diagonal = Diagonal::new(TraceConfig::fixed(6))?.run(operator, &s, &mut Silent)?;
        let exact = exact_trace(operator, &mut Silent)?;
        let matvecs = [layers.effort.matvecs, sketch.effort.matvecs, leave_out.effort.matvecs, density.effort.matvecs];
        Ok(vec![
            format!("{:?} {:?}", layers.trace, layers.per_layer),
            format!("{:?} {:?}", sketch.trace, sketch.per_layer),
            format!("{:?} {:?}", leave_out.trace, leave_out.per_layer),
            format!("{:?} {:?}", density.moments, density.quadratures),
            format!("{:?} {:?}", diagonal.trace, diagonal.effort.matvecs),
            format!("{:?}", *exact),
            format!("{matvecs:?}"),
        ])
    };
    let mut hessian = TangentHessian::new(&objective)?;
    assert!(hessian.products_at_once() > 1, "nothing is compared");
    let together = measured(&mut hessian)?;
    assert_eq!(together, measured(&mut OneByOne(&mut TangentHessian::new(&objective)?))?);
    for found in Threads::run(3, |engine| {
        flat_comm::with(Ranks::new(engine), || {
            let model = self::model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
            let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
            measured(&mut TangentHessian::new(&objective)?)
        })
    }) {
        assert_eq!(found?, together, "on three ranks");
    }
    Ok(())
}

#[test]
fn who_stops_between_products_that_were_taken_at_once_gets_all_of_them() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
    let (s, mut hessian) = (Streams::new(9), TangentHessian::new(&objective)?);
    let block = hessian.products_at_once() as u64;
    let mut stop = |p: &Progress| if p.done >= 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let trace = Hutchinson::new(TraceConfig::fixed(50))?.run(&mut hessian, &s, &mut stop)?;
    assert_eq!((trace.trace.probes, trace.effort.matvecs, trace.stop), (block, block, Stop::Interrupted));
    let diagonal = Diagonal::new(TraceConfig::fixed(50))?.run(&mut hessian, &s, &mut stop)?;
    assert_eq!((diagonal.trace.probes, diagonal.effort.matvecs, diagonal.stop), (block, block, Stop::Interrupted));
    Ok(())
}
