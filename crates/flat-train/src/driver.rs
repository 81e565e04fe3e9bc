//! Errors of CUDA's driver in the middle of a run, and what to do about them.

use flat_core::Error as Core;
use flat_data::Error as Data;
use flat_kernels::gpu;
use flat_metrics::Error as Metrics;
use flat_nn::Error as Nn;
use flat_optim::Error as Optim;
use std::error::Error;

/// candle's error, if that is what one of our crates hands on as its own.
fn candle<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a candle_core::Error> {
    let core = |e: &'a Core| if let Core::Candle(e) = e { Some(e) } else { None };
    let nn = |e: &'a Nn| match e {
        Nn::Candle(e) => Some(e),
        Nn::Core(e) => core(e),
        _ => None,
    };
    cause
        .downcast_ref::<candle_core::Error>()
        .or_else(|| cause.downcast_ref().and_then(core))
        .or_else(|| cause.downcast_ref().and_then(nn))
        .or_else(|| match cause.downcast_ref::<Optim>()? {
            Optim::Candle(e) => Some(e),
            Optim::Core(e) => core(e),
            _ => None,
        })
        .or_else(|| match cause.downcast_ref::<Metrics>()? {
            Metrics::Candle(e) => Some(e),
            Metrics::Core(e) => core(e),
            Metrics::Nn(e) => nn(e),
            _ => None,
        })
        .or_else(|| if let Data::Candle(e) = cause.downcast_ref::<Data>()? { Some(e) } else { None })
}

/// What to do about an error, where the driver made it.
pub(crate) fn remedy(error: &anyhow::Error) -> Option<String> {
    error.chain().filter_map(candle).find_map(gpu::remedy)
}
