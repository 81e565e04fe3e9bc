//! Launches of random draws; see `source/draw.cu`. The numbers are those of the host's streams, to the bit.

use super::launch::{Launch, Real};

/// Numbers of a sub-stream, which a block draws; `DRAW` in the source.
pub const CHUNK: usize = 1 << 14;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Law {
    /// N(0, 1), as [`crate::cpu::normal::fill`] makes it of a sub-stream.
    Normal,
    /// -1 or 1 with equal probability.
    Sign,
    /// 1 with this probability, otherwise 0.
    Mask(f64),
}

/// `n` numbers at `out`, of the stream with this key.
pub fn draw(real: Real, law: Law, key: [u64; 4], n: usize, out: u64) -> Launch {
    let mut args = [&key[..], &[out, n as u64]].concat();
    let kernel = match law {
        Law::Normal => "draw_normals",
        Law::Sign => "draw_signs",
        Law::Mask(p) => {
            args.push(p.to_bits());
            "draw_masks"
        }
    };
    Launch::new(kernel, real, [n.div_ceil(CHUNK) as u32, 1], &args)
}
