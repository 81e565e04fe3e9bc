//! Networks that others' checkpoints are of: shortcuts without weights (option A), PyTorch's MNIST example.

use crate::models::{build, check_model, config};
use candle_core::{DType, Device, Tensor};
use flat_core::{Purpose, Streams};
use flat_nn::{Activation, Mode, Model, ModelConfig, Norm, Result, networks};

#[test]
fn their_products_with_the_hessian_are_exact() -> Result<()> {
    let example = ModelConfig { activation: Activation::Tanh, ..config(networks::MNIST_EXAMPLE, 2, 8) };
    check_model(&example, Mode::Eval, 1e-7)?;
    let padded = ModelConfig { activation: Activation::Tanh, channels: Some(4), ..config(networks::RESNET20_A, 2, 8) };
    check_model(&padded, Mode::BatchStats, 1e-7)?;
    check_model(&ModelConfig { norm: Norm::Group, ..padded }, Mode::Eval, 1e-7)
}

/// Images of noise.
fn images(channels: usize, side: usize) -> Result<Tensor> {
    let noise = Streams::new(3).at(Purpose::Probe, 0).normals(2 * channels * side * side);
    Ok(Tensor::from_vec(noise, (2, channels, side, side), &Device::Cpu)?)
}

fn logits(model: &Model, x: &Tensor) -> Result<Vec<f64>> {
    Ok(model.logits_no_grad(x, Mode::Eval)?.flatten_all()?.to_vec1()?)
}

#[test]
fn a_shortcut_without_weights_takes_every_other_pixel_and_puts_zeros_on_either_side() -> Result<()> {
    let of = |arch| build(&ModelConfig { channels: Some(4), ..config(arch, 3, 16) }, DType::F64);
    let (padded, plain) = (of(networks::RESNET20_A)?, of(networks::RESNET20)?);
    // the 1x1 convolutions of the other kind, and their normalisation, made to do the same
    let mut state = padded.state()?;
    for (name, tensor) in plain.state()? {
        if state.contains_key(&name) {
            continue;
        }
        let made = match (name.rsplit('.').next(), tensor.dims()) {
            (Some("weight"), &[out, input, ..]) => {
                let at = |o: usize, i: usize| if o == i + (out - input) / 2 { 1.0 } else { 0.0 };
                let weight: Vec<f64> = (0..out * input).map(|k| at(k / input, k % input)).collect();
                Tensor::from_vec(weight, tensor.dims(), &Device::Cpu)?
            }
            // divided by the root of the variance, 1, and 1e-5
            (Some("weight"), _) => (tensor.ones_like()? * (1.0f64 + 1e-5).sqrt())?,
            (Some("running_var"), _) => tensor.ones_like()?,
            _ => tensor.zeros_like()?,
        };
        state.insert(name, made);
    }
    plain.set_state(&state)?;
    let x = images(3, 16)?;
    for (a, b) in logits(&padded, &x)?.into_iter().zip(logits(&plain, &x)?) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} {b}");
    }
    Ok(())
}

#[test]
fn every_network_of_the_table_is_found_by_its_own_tensors() -> Result<()> {
    for arch in flat_nn::Arch::all() {
        let narrow = arch.takes("channels").then_some(4);
        let of = ModelConfig { channels: narrow, ..config(arch, 3, 32) };
        let model = build(&of, DType::F32)?;
        let theirs = model.state()?.into_iter().map(|(name, tensor)| (format!("net.module.{name}"), tensor)).collect();
        let found = ModelConfig::detect(&theirs, Some([3, 32, 32]))?;
        assert_eq!((&found.config, found.prefix.as_str()), (&of, "net.module."), "{arch}");
    }
    Ok(())
}
