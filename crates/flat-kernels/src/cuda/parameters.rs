//! Arithmetic on vectors and variables of a CUDA device: one launch for all parameters, whatever their number.
//!
//! Tables of addresses and constants are sent along with each call; the host never waits for the device, except where a
//! number is asked for.

use crate::cuda::device::{New, run, touch};
use crate::cuda::launch::{VECTOR, chunks};
use crate::cuda::vector::{self, Table};
use crate::{Float, Update, recurrence};
use candle_core::{CudaDevice, DType, Device, Result, Tensor, bail};

/// The CUDA device of a tensor.
fn device(of: &Tensor) -> Result<CudaDevice> {
    match of.device() {
        Device::Cuda(device) => Ok(device.clone()),
        _ => bail!("expected a tensor on a CUDA device"),
    }
}

/// The elements of contiguous tensors will change, or have changed: their addresses.
fn touch_all<'a, T: Float>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<u64>> {
    tensors.into_iter().map(touch::<T>).collect()
}

/// An [`Update`] of variables and flat vectors of one device.
///
/// # Errors
/// Tensors of another device or element type; the driver's.
pub fn update<T: Float, const M: usize, const N: usize, U: Update<M, N>>(
    vars: &[&Tensor],
    inputs: [&Tensor; M],
    state: [&Tensor; N],
    of: impl Fn(usize) -> U,
) -> Result<()> {
    let Some(first) = vars.first() else { return Ok(()) };
    let device = device(first)?;
    let steps: Vec<_> = (0..vars.len()).map(|i| recurrence(&of(i))).collect();
    let vectors: Vec<&Tensor> = inputs.into_iter().chain(state).collect();
    let (places, addresses) = (touch_all::<T>(vars.iter().copied())?, touch_all::<T>(vectors.iter().copied())?);
    let mut kernels = Vec::new();
    for (kernel, _) in &steps {
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
        }
    }
    for kernel in kernels {
        // parameters of another kernel are left out
        let of_this = |i: usize| &steps[i].0 == kernel;
        let table =
            Table::new(vars.iter().enumerate().map(|(i, v)| (v.elem_count(), if of_this(i) { places[i] } else { 0 })));
        let mut constants = vec![0.0; (vars.len() * kernel.constants).max(1)];
        for (i, (_, own)) in steps.iter().enumerate().filter(|(i, _)| of_this(*i)) {
            constants[i * kernel.constants..][..kernel.constants].copy_from_slice(own);
        }
        let (mut numbers, mut constants) = (New::of(&device, &table.numbers)?, New::of(&device, &constants)?);
        let launch = kernel.launch(T::REAL, &table, numbers.address(), constants.address(), &addresses);
        // SAFETY: the table names this device's variables with their lengths, the vectors are as long as all of them
        // together, and all outlive the call; memory is freed in the stream's order.
        unsafe { run(&device, &kernel.source(T::REAL), &[launch]) }?;
    }
    touch_all::<T>(vars.iter().copied().chain(vectors))?;
    Ok(())
}

/// `<x, y>`, on the device.
///
/// # Errors
/// Tensors of another device or element type; the driver's.
pub fn dot<T: Float>(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (device, n) = (device(x)?, x.elem_count());
    let out = Tensor::zeros(1, DType::F64, x.device())?;
    let mut partial = New::<f64>::new(&device, chunks(n))?;
    let operands = [touch::<T>(x)?, touch::<T>(y)?];
    let launches = vector::dot(T::REAL, n, operands[0], operands[1], partial.address(), touch::<f64>(&out)?);
    // SAFETY: both vectors hold n elements, and there is room for the partial sums.
    unsafe { run(&device, &VECTOR, &launches) }?;
    touch::<f64>(&out)?;
    Ok(out)
}

/// `<x, y>` over each parameter, on the host.
///
/// # Errors
/// Tensors of another device or element type; the driver's.
pub fn dot_entries<T: Float>(x: &Tensor, y: &Tensor, lengths: impl Iterator<Item = usize>) -> Result<Vec<f64>> {
    let device = device(x)?;
    let table = Table::new(lengths.map(|len| (len, 0)));
    let (mut offsets, mut out) = (New::of(&device, &table.numbers)?, New::<f64>::new(&device, table.entries)?);
    let launch =
        vector::dot_entries(T::REAL, table.entries, touch::<T>(x)?, touch::<T>(y)?, offsets.address(), out.address());
    // SAFETY: the offsets are those of both vectors.
    unsafe { run(&device, &VECTOR, &[launch]) }?;
    let mut found = out.to_host()?;
    found.truncate(table.entries);
    Ok(found)
}

/// Copies the parts to the flat vector `out`; the sum of their squares, on the device.
///
/// # Errors
/// Tensors of another device or element type; the driver's.
pub fn collect<T: Float>(parts: &[Tensor], out: &Tensor) -> Result<Tensor> {
    let (device, square) = (device(out)?, Tensor::zeros(1, DType::F64, out.device())?);
    let from = touch_all::<T>(parts)?;
    let table = Table::new(parts.iter().zip(from).map(|(p, at)| (p.elem_count(), at)));
    let mut numbers = New::of(&device, &table.numbers)?;
    let mut partial = New::<f64>::new(&device, chunks(table.elements))?;
    let launches =
        table.collect(T::REAL, numbers.address(), touch::<T>(out)?, partial.address(), touch::<f64>(&square)?);
    // SAFETY: the table names the parts with their lengths; `out` is as long as all of them.
    unsafe { run(&device, &VECTOR, &launches) }?;
    touch::<T>(out)?;
    touch::<f64>(&square)?;
    Ok(square)
}
