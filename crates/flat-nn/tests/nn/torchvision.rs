//! Networks against torchvision's, by the numbers of `tests/reference/from_torchvision.py`.

use crate::models::config;
use candle_core::{DType, Device, Tensor};
use flat_core::{ParamVec, Streams};
use flat_nn::{Arch, Loss, Mode, Model, ModelConfig, Result};

/// Uniform in -1..1, as the script has it.
fn noise(n: usize, k: usize) -> Vec<f64> {
    let mix = |i: usize| {
        let x = (i as u64 * 2_654_435_761) % (1 << 32);
        let x = ((x ^ (x >> 16)) * 73_244_475) % (1 << 32);
        (x ^ (x >> 16)) as f64 / f64::from(1u32 << 31) - 1.0
    };
    (0..n).map(|i| mix(i + 7919 * k)).collect()
}

/// The model with the script's weights.
fn model(config: &ModelConfig) -> Result<Model> {
    let model = Model::new(config, DType::F64, &Device::Cpu, &Streams::new(0))?;
    for (k, (entry, var)) in model.params().layout().entries().iter().zip(model.params().vars()).enumerate() {
        let dims = entry.shape.dims();
        let a = if dims.len() > 1 { (6.0 / dims[1..].iter().product::<usize>() as f64).sqrt() } else { 0.1 };
        let shift = if dims.len() == 1 && entry.name.ends_with("weight") { 1.0 } else { 0.0 };
        let values: Vec<f64> = noise(entry.len, k).into_iter().map(|u| a * u + shift).collect();
        var.set(&Tensor::from_vec(values, dims, &Device::Cpu)?)?;
    }
    Ok(model)
}

/// Checks every line of a file that the script printed.
fn against(lines: &str) -> Result<()> {
    let names = ["logit", "loss", "mse", "|g|", "<g, v>", "|Hv|", "<v, Hv>", "eval loss"];
    for line in lines.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<f64>().expect("a number");
        let (arch, width, side) = (words[0].parse::<Arch>().expect("a network"), number(2), number(3) as usize);
        let channels = arch.takes("channels").then_some(width as usize);
        let config = ModelConfig { stem: words[1].parse()?, channels, ..config(arch, 3, side) };
        let model = model(&config)?;
        let x = Tensor::from_vec(noise(12 * side * side, 1000), (4, 3, side, side), &Device::Cpu)?;
        let y = Tensor::new(&[0u32, 3, 9, 3], &Device::Cpu)?;
        let params = model.params();
        assert_eq!(params.layout().len() as f64, number(4), "{line}: parameters");
        let smooth = Loss::CrossEntropy { label_smoothing: 0.1 };
        let v = (0..params.layout().len()).map(|i| (0.3 * i as f64).cos()).collect();
        let v = ParamVec::from_f64(params.space(), v)?;
        let pass = model.pullback(&x, Mode::Train)?;
        let scalar = |t: &Tensor| t.to_scalar::<f64>();
        let (logit, mse) = (scalar(&pass.logits().get(1)?.get(2)?)?, scalar(&Loss::Mse.mean(pass.logits(), &y)?)?);
        let loss = smooth.mean(pass.logits(), &y)?;
        let g = pass.gradient(&loss)?;
        let hv = model.hessian_product(smooth, &x, &y, &v, Mode::BatchStats)?;
        let form = model.hessian_forms(smooth, &x, &y, std::slice::from_ref(&v), Mode::BatchStats)?[0];
        let eval = model.logits_no_grad(&x, Mode::Eval)?;
        let eval = scalar(&Loss::CrossEntropy { label_smoothing: 0.0 }.mean(&eval, &y)?)?;
        let got = [logit, scalar(&loss)?, mse, g.norm()?, g.dot(&v)?, hv.norm()?, hv.dot(&v)?, eval];
        let sizes = [0.0, 0.0, 0.0, 0.0, g.norm()? * v.norm()?, 0.0, hv.norm()? * v.norm()?, 0.0];
        for (i, (got, name)) in got.iter().zip(names).enumerate() {
            let expected = number(5 + i);
            // rounding of f64, grown through fifty layers; products by the size of their vectors, which they cancel
            let off = (got - expected).abs() / expected.abs().max(1e-3 * sizes[i]);
            assert!(off < 1e-8, "{} {} {name}: {got} against {expected}", words[0], words[1]);
        }
        let off = (form - hv.dot(&v)?).abs() / sizes[6];
        assert!(off < 1e-11, "{}: the form is off by {off:e} of the product's size", words[0]);
    }
    Ok(())
}

#[test]
fn residual_networks_and_vgg_are_those_of_torchvision_to_second_order() -> Result<()> {
    against(include_str!("../reference/torchvision.txt"))
}

#[test]
fn a_vision_transformer_is_that_of_timm_to_second_order() -> Result<()> {
    against(include_str!("../reference/timm.txt"))
}
