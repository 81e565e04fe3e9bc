//! The three Hessian products agree on the networks of `flat-nn`.

use crate::double_backward;
use candle_core::{DType, Device, Tensor};
use flat_core::{Purpose, Streams};
use flat_metrics::{
    DifferenceHessian, Error, Hutchinson, ModelObjective, Objective, Result, Silent, Stencil, TangentHessian,
    TraceConfig, check_symmetry, dense_of, disagreement, gradient,
};
use flat_nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, networks};

pub const LOSS: Loss = Loss::CrossEntropy { label_smoothing: 0.0 };

pub fn model(arch: Arch, size: usize, activation: Activation, dtype: DType) -> Result<Model> {
    let config = ModelConfig {
        arch,
        in_channels: if arch == networks::RESNET20 { 3 } else { 1 },
        height: size,
        width: size,
        classes: 3,
        hidden: if arch == networks::MLP { vec![6] } else { vec![] },
        activation,
        ..ModelConfig::default()
    };
    Ok(Model::new(&config, dtype, &Device::Cpu, &Streams::new(21))?)
}

/// Batches of 4 and 3 random images.
pub fn batches(model: &Model) -> Result<Vec<(Tensor, Tensor)>> {
    let c = model.config().expect("a built-in network");
    [4usize, 3]
        .iter()
        .enumerate()
        .map(|(k, &n)| {
            let mut s = Streams::new(22).at(Purpose::Test, k as u64);
            let shape = (n, c.in_channels, c.height, c.width);
            let pixels = s.normals(n * c.in_channels * c.height * c.width);
            let images = Tensor::from_vec(pixels, shape, &Device::Cpu)?.to_dtype(model.params().space().dtype)?;
            let labels: Vec<u32> = (0..n).map(|_| s.below(c.classes) as u32).collect();
            Ok((images, Tensor::from_vec(labels, n, &Device::Cpu)?))
        })
        .collect()
}

fn bits(model: &Model) -> Result<Vec<u64>> {
    Ok(model.params().read()?.to_f64()?.into_iter().map(f64::to_bits).collect())
}

/// Tangent against double backward, and, where the loss is smooth, against differences.
fn agree(model: &Model, mode: Mode, smooth: bool) -> Result<()> {
    let before = bits(model)?;
    let objective = ModelObjective::new(model, LOSS, mode, batches(model)?)?;
    let (mut tangent, mut double) = (TangentHessian::new(&objective)?, double_backward(&objective)?);
    let s = Streams::new(1);
    // two exact methods: rounding of sums of some thousand terms, magnified by the depth
    let gap = disagreement(&mut tangent, &mut double, &s, 2)?;
    assert!(gap < 1e-11, "tangent against double backward: {gap:.1e}");
    assert!(check_symmetry(&mut tangent, &s, 1e-10)? < 1e-10);
    if smooth {
        let mut fine = DifferenceHessian::new(&objective)?.with_stencil(Stencil::Four);
        let gap = disagreement(&mut fine, &mut tangent, &s, 1)?;
        // rounding of the gradient over the step, 2e-16 / 2e-5, and room for the depth
        assert!(gap < 1e-9, "differences: {gap:.1e}");
    }
    assert_eq!(bits(model)?, before);
    Ok(())
}

#[test]
fn the_dense_hessian_of_an_mlp_is_the_same_by_all_methods() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
    let tangent = dense_of(&mut TangentHessian::new(&objective)?)?;
    let double = dense_of(&mut double_backward(&objective)?)?;
    let four = dense_of(&mut DifferenceHessian::new(&objective)?.with_stencil(Stencil::Four))?;
    assert_eq!(tangent.dim(), 9 * 6 + 6 + 6 * 3 + 3);
    assert!(double.distance(&tangent)? < 1e-13, "{:.1e}", double.distance(&tangent)?);
    assert!(four.distance(&tangent)? < 1e-10, "{:.1e}", four.distance(&tangent)?);
    assert!(tangent.asymmetry() < 1e-13 * tangent.frobenius());
    Ok(())
}

#[test]
fn a_small_convolutional_network_has_one_hessian() -> Result<()> {
    agree(&model(networks::LENET, 16, Activation::Gelu, DType::F64)?, Mode::Eval, true)?;
    agree(&model(networks::LENET, 16, Activation::Relu, DType::F64)?, Mode::Eval, false)
}

#[test]
fn a_residual_network_has_one_hessian_in_each_batch_norm_mode() -> Result<()> {
    for mode in [Mode::BatchStats, Mode::Eval] {
        agree(&model(networks::RESNET20, 8, Activation::Tanh, DType::F64)?, mode, true)?;
        agree(&model(networks::RESNET20, 8, Activation::Relu, DType::F64)?, mode, false)?;
    }
    Ok(())
}

#[test]
fn the_batch_norm_mode_changes_the_hessian_and_is_reported() -> Result<()> {
    let model = model(networks::RESNET20, 8, Activation::Tanh, DType::F64)?;
    let buffers = |m: &Model| -> Result<Vec<f64>> {
        let mut all = Vec::new();
        for var in m.buffers().values() {
            all.extend(var.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        }
        Ok(all)
    };
    let before = buffers(&model)?;
    let (eval, batch) = (
        ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?,
        ModelObjective::new(&model, LOSS, Mode::BatchStats, batches(&model)?)?,
    );
    let (mut a, mut b) = (TangentHessian::new(&eval)?, TangentHessian::new(&batch)?);
    assert!(disagreement(&mut a, &mut b, &Streams::new(0), 1)? > 0.1);
    let estimator = Hutchinson::new(TraceConfig::fixed(2))?;
    assert_eq!(estimator.run(&mut a, &Streams::new(0), &mut Silent)?.provenance.bn_mode.as_deref(), Some("eval"));
    assert_eq!(estimator.run(&mut b, &Streams::new(0), &mut Silent)?.provenance.bn_mode.as_deref(), Some("batch"));
    assert_eq!(buffers(&model)?, before, "the running statistics stay");
    Ok(())
}

#[test]
fn training_mode_is_refused() -> Result<()> {
    let model = model(networks::RESNET20, 8, Activation::Relu, DType::F32)?;
    let message = ModelObjective::new(&model, LOSS, Mode::Train, batches(&model)?).expect_err("it moves buffers");
    assert!(message.to_string().contains("running statistics"), "{message}");
    Ok(())
}

#[test]
fn the_loss_of_all_batches_is_the_mean_over_examples_and_streaming_is_the_same() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let held = batches(&model)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, held.clone())?;
    let (x, y): (Vec<Tensor>, Vec<Tensor>) = held.iter().cloned().unzip();
    let whole = ModelObjective::new(&model, LOSS, Mode::Eval, vec![(Tensor::cat(&x, 0)?, Tensor::cat(&y, 0)?)])?;
    let streamed = ModelObjective::streamed(&model, LOSS, Mode::Eval, vec![4, 3], |i| Ok(held[i].clone()))?;
    let ((a, ga), (b, gb), (c, gc)) = (gradient(&objective)?, gradient(&whole)?, gradient(&streamed)?);
    // rounding of a mean of seven
    assert!((a - b).abs() < 1e-14 && ga.plus(-1.0, &gb)?.norm()? < 1e-14);
    assert_eq!((a, ga.to_f64()?), (c, gc.to_f64()?));
    assert_eq!((objective.examples(), objective.weight(0)), (7, 4.0 / 7.0));
    let wrong = ModelObjective::streamed(&model, LOSS, Mode::Eval, vec![4, 4], |i| Ok(held[i].clone()))?;
    assert!(matches!(wrong.loss(1), Err(Error::BadObjective(_))));
    Ok(())
}
