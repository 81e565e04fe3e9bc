//! Launches of softmax and cross entropy for `n` rows of `k` logits; see `source/softmax.cu`.

use super::launch::{BLOCK, Launch, Real};

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

/// A loss of logits and labels: the targets at the label and elsewhere, and how the distance to them is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Softmax cross entropy with targets that sum to one.
    CrossEntropy {
        /// At the label.
        on: f64,
        /// Elsewhere.
        off: f64,
    },
    /// Mean over the logits of the squared distance to the one-hot label.
    SquaredError,
}

/// Logits that a thread goes over by itself.
const FEW: usize = 64;

/// Parts that the losses are summed in: runs of rows, or rows of many logits.
fn parts(n: usize, k: usize) -> usize {
    if k <= FEW { n.div_ceil(BLOCK as usize) } else { n }
}

/// Doubles of room that the mean loss takes; none where one block finds it.
pub fn partial(n: usize, k: usize) -> usize {
    if parts(n, k) == 1 { 0 } else { 2 * parts(n, k) }
}

/// The mean loss of `n` rows of `k` logits `z`, the right answers, and the gradient `dz` of the mean loss. `out` is two
/// doubles: the loss, and the number of rows whose largest logit is the label's. `room` is [`partial`] doubles. Labels are `u32`.
/// For at least one row.
pub fn mean_loss(
    real: Real,
    (n, k): (usize, usize),
    kind: Kind,
    [z, labels]: [u64; 2],
    dz: u64,
    room: u64,
    out: u64,
) -> Vec<Launch> {
    let (on, off, kind) = match kind {
        Kind::CrossEntropy { on, off } => (on, off, 0),
        Kind::SquaredError => (1.0, 0.0, 1),
    };
    let (sizes, parts) = ([n as u64, k as u64, on.to_bits(), off.to_bits(), kind], parts(n, k));
    let to = if parts == 1 { out } else { room };
    let operands = [&[z, labels, dz, to][..], &sizes].concat();
    let first = match k <= FEW {
        true => {
            let divisor = if parts == 1 { n as u64 } else { 1 };
            Launch::new("loss_rows", real, [parts as u32, 1], &[&operands[..], &[divisor]].concat())
        }
        false => Launch::new("loss_row", real, [n as u32, 1], &operands),
    };
    if parts == 1 {
        // of one row of many logits the loss is the mean
        return vec![first];
    }
    let args = vec![room, out, parts as u64, n as u64];
    vec![first, Launch { kernel: "loss_total".into(), grid: [1, 1], args }]
}
