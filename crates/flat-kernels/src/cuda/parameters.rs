//! Arithmetic on vectors and variables of a CUDA device: one launch for all parameters, whatever their number.
//!
//! Tables of addresses and constants are sent where they are not those of an earlier call; the host never waits for the
//! device, except where a number is asked for.

use crate::cuda::device::{New, address_of, run, tensor, touch};
use crate::cuda::draw::{Law, draw};
use crate::cuda::launch::{DRAW, SCALAR, VECTOR, chunks};
use crate::cuda::scalar::{self, Op, Place};
use crate::cuda::sent::{sent, sent_doubles};
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

/// What numbers on the device decide of an update.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decided<'a> {
    /// A u8: where it is 0, nothing is written.
    pub keep: Option<&'a Tensor>,
    /// Which input is multiplied by which f64, rounded to the element type.
    pub scaled: Option<(usize, &'a Tensor)>,
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
    decided: Decided<'_>,
) -> Result<()> {
    let Some(first) = vars.first() else { return Ok(()) };
    let device = device(first)?;
    let steps: Vec<_> = (0..vars.len()).map(|i| recurrence(&of(i))).collect();
    let vectors: Vec<&Tensor> = inputs.into_iter().chain(state).collect();
    let (places, addresses) = (touch_all::<T>(vars.iter().copied())?, touch_all::<T>(vectors.iter().copied())?);
    let one = |t: &Tensor| match t.elem_count() {
        1 => Ok(t.clone()),
        n => bail!("{n} numbers where one decides"),
    };
    let decided = vector::Decided {
        keep: decided.keep.map(|flag| address_of::<u8>(&one(flag)?)).transpose()?,
        scaled: match decided.scaled {
            Some((input, factor)) => (input, touch::<f64>(&one(factor)?)?),
            None => (0, 0),
        },
    };
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
        let (numbers, constants) = (sent(&device, &table.numbers)?, sent_doubles(&device, &constants)?);
        let launch = kernel.launch(T::REAL, &table, numbers.address(), constants.address(), decided, &addresses);
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
    let (mut out, mut partial) = (New::<f64>::new(&device, 1)?, New::<f64>::new(&device, chunks(n))?);
    let operands = [touch::<T>(x)?, touch::<T>(y)?];
    let launches = vector::dot(T::REAL, n, operands[0], operands[1], partial.address(), out.address());
    // SAFETY: both vectors hold n elements, and there is room for the partial sums.
    unsafe { run(&device, &VECTOR, &launches) }?;
    Ok(tensor(out, 1))
}

/// `<x, y>` over each parameter, on the host.
///
/// # Errors
/// Tensors of another device or element type; the driver's.
pub fn dot_entries<T: Float>(x: &Tensor, y: &Tensor, lengths: impl Iterator<Item = usize>) -> Result<Vec<f64>> {
    let device = device(x)?;
    let table = Table::new(lengths.map(|len| (len, 0)));
    let (offsets, mut out) = (sent(&device, &table.numbers)?, New::<f64>::new(&device, table.entries)?);
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
    let device = device(out)?;
    let mut square = New::<f64>::new(&device, 1)?;
    let from = touch_all::<T>(parts)?;
    let table = Table::new(parts.iter().zip(from).map(|(p, at)| (p.elem_count(), at)));
    let numbers = sent(&device, &table.numbers)?;
    let mut partial = New::<f64>::new(&device, chunks(table.elements))?;
    let launches = table.collect(T::REAL, numbers.address(), touch::<T>(out)?, partial.address(), square.address());
    // SAFETY: the table names the parts with their lengths; `out` is as long as all of them.
    unsafe { run(&device, &VECTOR, &launches) }?;
    touch::<T>(out)?;
    Ok(tensor(square, 1))
}

/// A vector whose elements are whatever was there.
///
/// # Errors
/// Another device; no memory.
pub fn uninitialised<T: Float>(len: usize, on: &Device) -> Result<Tensor> {
    match on {
        Device::Cuda(device) => Ok(tensor(New::<T>::new(device, len)?, len)),
        _ => bail!("expected a CUDA device"),
    }
}

/// Random numbers of the host's stream with this key, drawn on the device.
///
/// # Errors
/// Another device; no memory; the driver's.
pub fn drawn<T: Float>(law: Law, key: [u64; 4], len: usize, on: &Device) -> Result<Tensor> {
    let Device::Cuda(device) = on else { bail!("expected a CUDA device") };
    let mut out = New::<T>::new(device, len)?;
    // SAFETY: there is room for the numbers.
    unsafe { run(device, &DRAW, &[draw(T::REAL, law, key, len, out.address())]) }?;
    Ok(tensor(out, len))
}

/// Carries out a program of numbers: those that are wanted, f64, and the flag, a u8 of one element. Operands are places of
/// earlier nodes; what is read are tensors of one element, of f64, f32 or u8.
///
/// # Errors
/// Other tensors; the driver's.
pub fn scalars(
    on: &Device,
    nodes: &[Op<usize, Tensor>],
    wanted: &[usize],
    flag: Option<usize>,
) -> Result<(Tensor, Option<Tensor>)> {
    let Device::Cuda(device) = on else { bail!("expected a CUDA device") };
    let place = |t: &Tensor| {
        if t.elem_count() != 1 || !t.device().same_device(on) {
            bail!("a number is one element on its device, not {:?} on {:?}", t.shape(), t.device().location());
        }
        Ok(match t.dtype() {
            DType::F64 => Place::F64(address_of::<f64>(t)?),
            DType::F32 => Place::F32(address_of::<f32>(t)?),
            DType::U8 => Place::U8(address_of::<u8>(t)?),
            other => bail!("a number of {other:?}"),
        })
    };
    let nodes = nodes.iter().map(|op| op.clone().read(|t| place(&t))).collect::<Result<Vec<_>>>()?;
    let program = sent(device, &scalar::words(&nodes, wanted, flag))?;
    let (mut values, mut row) = (New::<f64>::new(device, nodes.len())?, New::<f64>::new(device, wanted.len())?);
    let mut set = flag.map(|_| New::<u8>::new(device, 1)).transpose()?;
    let to = set.as_mut().map_or(0, New::address);
    let launch = scalar::scalars(program.address(), nodes.len(), values.address(), wanted.len(), row.address(), to);
    // SAFETY: the program reads numbers that the caller holds, and earlier ones of its own; there is room for all.
    unsafe { run(device, &SCALAR, &[launch]) }?;
    Ok((tensor(row, wanted.len()), set.map(|set| tensor(set, 1))))
}
