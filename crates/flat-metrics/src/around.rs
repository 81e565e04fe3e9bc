//! The loss around the parameters: sharpness, slices, the limit of the gradient flow and what is certified of it.

mod ascent;
mod ball;
mod certificate;
mod drift;
mod flow;
mod linear;
mod range;
mod sharpness;
mod slice;
mod surface;

pub use ball::Geometry;
pub use certificate::{Certificate, CertificateConfig, Judgement, Reason, SpectrumReport, Verdict};
pub use drift::{Known, Slope};
pub use flow::{FlowConfig, FlowReport};
pub use sharpness::{Noise, Rise, Sharpness};
pub use slice::{Axis, filter_normalized, slice};
