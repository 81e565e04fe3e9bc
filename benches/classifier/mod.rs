//! What the benches of whole models run on: a classifier of MNIST's shape and a batch of noise.

use candle_core::{DType, Device, Tensor};
use flat::core::{Purpose, Streams};
use flat::nn::{Arch, Model, ModelConfig, networks};

/// The model with its initial weights.
pub fn model(arch: Arch) -> flat::nn::Result<Model> {
    let config = ModelConfig {
        arch,
        in_channels: 1,
        height: 28,
        width: 28,
        classes: 10,
        hidden: if arch == networks::MLP { vec![256] } else { vec![] },
        ..ModelConfig::default()
    };
    Model::new(&config, DType::F32, &Device::Cpu, &Streams::new(0))
}

/// Images and labels of `n` examples.
pub fn batch(n: usize) -> candle_core::Result<(Tensor, Tensor)> {
    let pixels = Streams::new(0).at(Purpose::Test, 0).normals(n * 28 * 28);
    let images = Tensor::from_vec(pixels, (n, 1, 28, 28), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::from_vec((0..n as u32).map(|i| i % 10).collect::<Vec<_>>(), n, &Device::Cpu)?;
    Ok((images, labels))
}
