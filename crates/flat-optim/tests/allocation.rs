//! A step in the steady state allocates no vector: the buffers of one step serve the next. A saved state has each vector once.
//!
//! A binary of its own, because it counts what the whole process allocates.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use flat_core::setting::Values;
use flat_optim::{BaseKind, Batch, Need, Objective, Optimizer, Params, Query, Result, Rows, RuleKind, Sample};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Parameters.
const D: usize = 300_000;
/// What counts as large: half a vector.
const LARGE: usize = D * 4 / 2;

static LARGE_ONES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(size: usize) {
    if size >= LARGE {
        LARGE_ONES.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the same gradient at every point, so that nothing but the optimizer is measured.
struct Kept(GradStore);

impl Objective for Kept {
    fn rows(&self) -> usize {
        8
    }
    fn loss(&mut self, _: Query) -> Result<Tensor> {
        Ok(Tensor::zeros((), DType::F32, &Device::Cpu)?)
    }
    fn loss_and_grad(&mut self, params: &Params, _: Query) -> Result<Sample> {
        Sample::new(1.0, params.gradient(&self.0)?)
    }
    fn offers(&self, _: Need) -> bool {
        true
    }
    fn losses_and_grad(&mut self, params: &Params, query: Query) -> Result<(Sample, Tensor)> {
        Ok((self.loss_and_grad(params, query)?, self.losses(query)?))
    }
    fn losses(&mut self, query: Query) -> Result<Tensor> {
        Ok(Tensor::zeros(query.rows.range(8)?.len(), DType::F32, &Device::Cpu)?)
    }
    fn chosen_loss_and_grad(&mut self, params: &Params, _: &[u32], update_stats: bool) -> Result<Sample> {
        self.loss_and_grad(params, Query { rows: Rows::All, update_stats })
    }
    fn switch(&mut self, _: Batch) -> Result<usize> {
        Ok(8)
    }
}

#[test]
fn after_two_steps_no_rule_allocates_a_vector_and_saving_allocates_each_once() -> Result<()> {
    for base in BaseKind::all() {
        // a rule that asks for a momentum is refused over a base without one
        // and a projection works on copies of theta
        let fits =
            |rule: &RuleKind| !(rule.asks_for(Need::Subspace) || rule.asks_for(Need::Momentum) && base.averages());
        for rule in RuleKind::all().filter(fits) {
            let w = Var::zeros(D - 3, DType::F32, &Device::Cpu)?;
            let b = Var::zeros(3, DType::F32, &Device::Cpu)?;
            let params = Params::new([("w".to_string(), w.clone()), ("b".to_string(), b.clone())])?;
            let loss = (w.affine(1.0, 1.0)?.sum_all()? + b.sum_all()?)?;
            let mut objective = Kept(loss.backward()?);
            let (rule_of, base_of) = (rule.build(&Values::default())?, base.build(&Values::default())?);
            let mut optimizer =
                Optimizer::builder(&params).steps(9).examples(8).rule(rule_of).base(base_of).ema(0.9).build()?;
            optimizer.step(&mut objective)?;
            optimizer.step(&mut objective)?;
            let before = LARGE_ONES.load(Ordering::Relaxed);
            for _ in 0..3 {
                optimizer.step(&mut objective)?;
            }
            let large = LARGE_ONES.load(Ordering::Relaxed) - before;
            assert_eq!(large, 0, "{rule} over {base}");
            let before = LARGE_ONES.load(Ordering::Relaxed);
            let saved = optimizer.state()?;
            let large = LARGE_ONES.load(Ordering::Relaxed) - before;
            let vectors = saved.keys().filter(|name| name.ends_with(".w")).count();
            assert!(vectors > 0 && large <= vectors, "{rule} over {base}: {large} for {vectors} vectors");
        }
    }
    assert!(LARGE_ONES.load(Ordering::Relaxed) > 20, "the count works: vectors were allocated at first");
    Ok(())
}
