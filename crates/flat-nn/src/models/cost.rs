//! Arithmetic of a forward pass.

use crate::{Arch, Model, ModelConfig};

/// Multiplications with additions that the convolutions and fully connected layers of one example's forward pass take, by
/// definition of these layers: what an algorithm such as Winograd's saves is not subtracted, and normalisation, activation
/// and pooling (a few percent) are left out. A gradient takes three times as many: the backward pass has two products
/// for each of the forward pass.
pub fn multiply_adds(model: &Model) -> u64 {
    let config = model.config();
    let weights = model.params().space().layout.entries().iter().filter(|e| e.shape.rank() > 1);
    weights.map(|e| e.len as u64 * positions(config, &e.name, e.shape.rank() == 4)).sum()
}

/// How many places of the image the weights of a layer are multiplied at.
fn positions(config: &ModelConfig, layer: &str, convolution: bool) -> u64 {
    let image = |side: &dyn Fn(usize) -> usize| (side(config.height) * side(config.width)) as u64;
    if !convolution {
        return 1;
    }
    if config.arch == Arch::LeNet {
        return match layer.starts_with("conv1") {
            true => image(&|n| n.saturating_sub(4)),
            false => image(&|n| (n.saturating_sub(4) / 2).saturating_sub(4)),
        };
    }
    // stage K of a residual network, as in layerK.0.conv1.weight, works on an image halved K - 1 times
    let stage = layer.strip_prefix("layer").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    image(&|n| (1..stage.unwrap_or(1)).fold(n, |n, _| n.div_ceil(2)))
}
