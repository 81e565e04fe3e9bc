//! Compiling sources by nvrtc at first use, and launching on a candle device.
//!
//! nvrtc rather than nvcc at build time: a build then needs no more than candle's own, `cargo check` needs no toolkit, a
//! recurrence can be compiled that is only known when the program runs, and the code fits the device at hand. It costs
//! some tenths of a second a source, once a process.

use super::launch::{BLOCK, Launch, Source};
use crate::Float;
use candle_core::cuda::cudarc::driver::{
    CudaFunction, CudaSlice, DevicePtr, DevicePtrMut, DeviceRepr, LaunchConfig, PushKernelArg, SyncOnDrop,
};
use candle_core::cuda::cudarc::nvrtc::{CompileError, CompileOptions, compile_ptx_with_opts};
use candle_core::cuda::{CudaDType, CudaStorage, DeviceId, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, DType, Error, InplaceOp1, Layout, Result, Shape, Storage, Tensor, bail};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The PTX of a source, compiled once a process: for the lowest architecture that nvrtc knows, which the driver translates
/// for the device.
fn ptx(source: &Source) -> Result<Arc<str>> {
    static COMPILED: Mutex<Option<HashMap<String, Arc<str>>>> = Mutex::new(None);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = compiled.get_or_insert_default();
    if let Some(ptx) = compiled.get(&*source.name) {
        return Ok(ptx.clone());
    }
    // the roundings of the host's kernels
    let options = CompileOptions { fmad: Some(false), name: Some(format!("{}.cu", source.name)), ..Default::default() };
    let ptx = compile_ptx_with_opts(&source.text, options).map_err(|e| match e {
        CompileError::CompileError { log, .. } => {
            Error::Msg(format!("nvrtc rejects {}: {}", source.name, log.to_string_lossy()))
        }
        e => Error::Msg(format!("nvrtc cannot compile {}: {e}; install the CUDA toolkit's nvrtc library", source.name)),
    })?;
    let ptx: Arc<str> = ptx.to_src().into();
    compiled.insert(source.name.to_string(), ptx.clone());
    Ok(ptx)
}

/// The kernels that a thread has launched, by device, source and name: the driver looks up each once.
type Functions = HashMap<DeviceId, HashMap<String, HashMap<String, CudaFunction>>>;

/// What `f` does with a kernel.
fn with_kernel<R>(
    device: &CudaDevice,
    source: &Source,
    kernel: &str,
    f: impl FnOnce(&CudaFunction) -> Result<R>,
) -> Result<R> {
    thread_local! {
        static FUNCTIONS: RefCell<Functions> = RefCell::default();
    }
    FUNCTIONS.with(|functions| {
        let mut functions = functions.borrow_mut();
        let of_device = functions.entry(device.id()).or_default();
        if let Some(there) = of_device.get(&*source.name).and_then(|kernels| kernels.get(kernel)) {
            return f(there);
        }
        let function = device.get_or_load_custom_func(kernel, &source.name, &ptx(source)?)?.into_cuda_function();
        f(of_device.entry(source.name.to_string()).or_default().entry(kernel.to_string()).or_insert(function))
    })
}

/// Launches kernels of one source in order, on the device's stream.
///
/// # Safety
/// Every address among the arguments must be one of this device's that holds what the kernel expects there, and live until
/// the stream has come past the launches.
///
/// # Errors
/// nvrtc is missing; the driver's.
pub unsafe fn run(device: &CudaDevice, source: &Source, launches: &[Launch]) -> Result<()> {
    let stream = device.cuda_stream();
    for launch in launches.iter().filter(|l| l.grid.iter().all(|n| *n > 0)) {
        with_kernel(device, source, &launch.kernel, |function| {
            let mut builder = stream.launch_builder(function);
            for arg in &launch.args {
                builder.arg(arg);
            }
            let [x, y] = launch.grid;
            let config = LaunchConfig { grid_dim: (x, y, 1), block_dim: (BLOCK, 1, 1), shared_mem_bytes: 0 };
            // SAFETY: the caller answers for the addresses; the launch was made for this kernel's parameters.
            unsafe { builder.launch(config) }.w().map(|_| ())
        })?;
    }
    Ok(())
}

/// Memory of a device that is read for as long as this lives.
pub struct Read<'a> {
    /// The address of the first element.
    pub address: u64,
    _until: SyncOnDrop<'a>,
}

/// The elements of a contiguous operand, to be read by launches that follow.
///
/// # Errors
/// Another element type; an operand that is not contiguous, or too large to be counted in 32 bits.
pub fn read<'a, T: CudaDType + 'static>(op: &str, storage: &'a CudaStorage, layout: &Layout) -> Result<Read<'a>> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("{op}: the operands must be contiguous") };
    // half of the range: a thread steps beyond the end once
    if end - start > 1 << 31 {
        bail!("{op}: {} elements are too many for one kernel", end - start);
    }
    let slice = storage.as_cuda_slice::<T>()?;
    let (address, until) = slice.device_ptr(slice.stream());
    Ok(Read { address: address + (start * size_of::<T>()) as u64, _until: until })
}

/// New memory of a device, whose elements are whatever was there.
pub struct New<T> {
    slice: CudaSlice<T>,
    device: CudaDevice,
}

impl<T: DeviceRepr> New<T> {
    /// `len` elements.
    ///
    /// # Errors
    /// No memory.
    pub fn new(device: &CudaDevice, len: usize) -> Result<Self> {
        // SAFETY: whoever reads it launches the kernels that write it first.
        let slice = unsafe { device.alloc::<T>(len.max(1)) }?;
        Ok(Self { slice, device: device.clone() })
    }

    /// Numbers from the host.
    ///
    /// # Errors
    /// No memory.
    pub fn of(device: &CudaDevice, numbers: &[T]) -> Result<Self>
    where
        T: 'static,
    {
        Ok(Self { slice: device.clone_htod(numbers)?, device: device.clone() })
    }

    /// The address, to be written to and read from by launches on the device's own stream.
    pub fn address(&mut self) -> u64 {
        let stream = self.slice.stream().clone();
        self.slice.device_ptr_mut(&stream).0
    }

    /// The elements on the host; waits for the device.
    ///
    /// # Errors
    /// The driver's.
    pub fn to_host(&self) -> Result<Vec<T>> {
        self.device.clone_dtoh(&self.slice)
    }
}

impl<T: CudaDType> New<T> {
    /// What the kernels have written, as candle holds it.
    pub fn storage(self) -> CudaStorage {
        CudaStorage::wrap_cuda_slice(self.slice, self.device)
    }
}

/// What kernels have written, as a tensor that no gradient goes through.
pub fn tensor<T: CudaDType + DeviceRepr>(new: New<T>, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(new.storage()), shape, BackpropOp::none(), false)
}

/// An address that is found within an operation on storage.
struct Touch<F>(Cell<Option<u64>>, F);

impl<F: Fn(&mut CudaStorage, usize) -> Result<u64>> InplaceOp1 for Touch<F> {
    fn name(&self) -> &'static str {
        "touch"
    }
    fn cpu_fwd(&self, _: &mut candle_core::CpuStorage, _: &Layout) -> Result<()> {
        bail!("expected a tensor on a CUDA device")
    }
    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let Some((start, _)) = layout.contiguous_offsets() else { bail!("parameters and vectors are contiguous") };
        self.0.set(Some((self.1)(storage, start)?));
        Ok(())
    }
}

fn found(tensor: &Tensor, address: impl Fn(&mut CudaStorage, usize) -> Result<u64>) -> Result<u64> {
    let op = Touch(Cell::new(None), address);
    tensor.inplace_op1(&op)?;
    op.0.get().ok_or_else(|| Error::Msg("expected a tensor on a CUDA device".into()))
}

fn address_in<T: CudaDType + 'static>(storage: &mut CudaStorage, start: usize) -> Result<u64> {
    let slice = storage.as_cuda_slice_mut::<T>()?;
    let stream = slice.stream().clone();
    let (address, _record) = slice.device_ptr_mut(&stream);
    Ok(address + (start * size_of::<T>()) as u64)
}

/// The address of a contiguous tensor that launches on its device's stream write to. Call it before and after the
/// launches, so that other streams wait for both.
///
/// # Errors
/// A tensor that is not of this element type, not contiguous, or not on a CUDA device.
pub fn touch<T: Float>(tensor: &Tensor) -> Result<u64> {
    address_of::<T>(tensor)
}

/// As [`touch`], for any element type.
///
/// # Errors
/// As there.
pub fn address_of<T: CudaDType + 'static>(tensor: &Tensor) -> Result<u64> {
    found(tensor, address_in::<T>)
}

/// As [`touch`], whatever the element type.
///
/// # Errors
/// A tensor that is not contiguous or not on a CUDA device; a type that networks do not keep.
pub fn touch_bytes(tensor: &Tensor) -> Result<u64> {
    match tensor.dtype() {
        DType::F32 => address_of::<f32>(tensor),
        DType::F64 => address_of::<f64>(tensor),
        DType::I64 => address_of::<i64>(tensor),
        DType::U32 => address_of::<u32>(tensor),
        other => bail!("a tensor of {other:?} among parameters and buffers"),
    }
}
