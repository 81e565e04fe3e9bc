//! Launches of softmax and cross entropy for `n` rows of `k` logits; see `source/softmax.cu`.

use super::launch::{Launch, Real};

/// `p`: probabilities of `z`.
pub fn softmax(real: Real, n: usize, k: usize, z: u64, p: u64) -> Launch {
    Launch::new("softmax", real, [n as u32, 1], &[z, p, k as u64])
}

/// A loss a row of logits `z` and targets `t` that sum to one.
pub fn cross_entropy(real: Real, n: usize, k: usize, z: u64, t: u64, loss: u64) -> Launch {
    Launch::new("cross_entropy", real, [n as u32, 1], &[z, t, loss, k as u64])
}

/// `dz = (softmax(z) - t) g`, with a `g` a row.
pub fn cross_entropy_gradient(real: Real, n: usize, k: usize, z: u64, t: u64, g: u64, dz: u64) -> Launch {
    Launch::new("cross_entropy_gradient", real, [n as u32, 1], &[z, t, g, dz, k as u64])
}
