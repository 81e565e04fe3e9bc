//! The switch that makes candle keep the graph of a backward pass, for a second one.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, Var};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Copies a number; records whether the gradient that it is handed carries a graph.
struct Watch(Arc<AtomicBool>);

impl CustomOp1 for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }
    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        self.0.store(g.track_op(), Ordering::Relaxed);
        // a gradient with a graph, for the next one to see
        Ok(Some((x * g)?))
    }
}

/// Whether backward passes on this thread keep the graph of their own operations, for a second backward pass.
///
/// candle decides that once a thread, at the thread's first backward pass, and does not tell: two operations in a row
/// find out. Must be called from within a backward pass, so that the decision has been made.
pub(crate) fn keeps_graph() -> Result<bool> {
    thread_local! {
        static KEEPS: Cell<Option<bool>> = const { Cell::new(None) };
    }
    if let Some(known) = KEEPS.get() {
        return Ok(known);
    }
    let seen = Arc::new(AtomicBool::new(false));
    let x = Var::from_tensor(&Tensor::new(&[1f32], &Device::Cpu)?)?;
    // the last one's backward pass runs first; the first one's sees what became of its gradient
    x.apply_op1(Watch(seen.clone()))?.apply_op1(Watch(Arc::default()))?.backward()?;
    let keeps = seen.load(Ordering::Relaxed);
    KEEPS.set(Some(keeps));
    Ok(keeps)
}

/// A gradient for candle to add up: without its graph, unless a second backward pass will need it. A graph would keep the
/// operands of the gradient in memory until the sum is used.
pub(crate) fn released(gradient: Tensor) -> Result<Tensor> {
    Ok(if keeps_graph()? { gradient } else { gradient.detach() })
}
