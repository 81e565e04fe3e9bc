//! The three passes of a convolution by cuDNN.

use crate::shape::{Geometry, Pass};
use candle_core::cuda::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t as DataAlgo, cudnnConvolutionBwdFilterAlgo_t as FilterAlgo,
    cudnnConvolutionMode_t as Mode, cudnnMathType_t as Math, cudnnTensorFormat_t as Format,
};
use candle_core::cuda::cudarc::cudnn::{
    ConvBackwardData, ConvBackwardFilter, ConvForward, Cudnn, CudnnDataType, CudnnError,
};
use candle_core::cuda::cudarc::driver::{CudaSlice, DeviceRepr, ValidAsZeroBits};
use candle_core::cuda::{CudaDType, CudaStorageSlice as Slice, DeviceId};
use candle_core::{CudaDevice, CudaStorage, DType, Error, Layout, Result, WithDType, bail};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::Arc;

/// The handle of this thread and device: handles go from thread to thread as little as streams do.
fn handle(device: &CudaDevice) -> Result<Arc<Cudnn>> {
    thread_local! {
        static HANDLES: RefCell<HashMap<DeviceId, Arc<Cudnn>>> = RefCell::new(HashMap::new());
    }
    HANDLES.with(|handles| {
        if let Some(handle) = handles.borrow().get(&device.id()) {
            return Ok(handle.clone());
        }
        let handle = Cudnn::new(device.cuda_stream()).map_err(Error::wrap)?;
        handles.borrow_mut().insert(device.id(), handle.clone());
        Ok(handle)
    })
}

/// A pass over contiguous operands of f32, bf16 or f64; `tf32` allows products of f32 to be rounded to it.
///
/// # Errors
/// Operands of other types or not contiguous; cuDNN's.
pub fn run(
    pass: Pass,
    g: &Geometry,
    tf32: bool,
    a: (&CudaStorage, &Layout),
    b: (&CudaStorage, &Layout),
) -> Result<CudaStorage> {
    match (&a.0.slice, &b.0.slice) {
        (Slice::F32(x), Slice::F32(y)) => run_of::<_, f32>(pass, g, tf32, &a.0.device, (x, a.1), (y, b.1)),
        (Slice::F64(x), Slice::F64(y)) => run_of::<_, f64>(pass, g, tf32, &a.0.device, (x, a.1), (y, b.1)),
        // sums in f32
        (Slice::BF16(x), Slice::BF16(y)) => run_of::<_, f32>(pass, g, tf32, &a.0.device, (x, a.1), (y, b.1)),
        _ => bail!("conv2d: the operands must both be f32, bf16 or f64"),
    }
}

fn int(x: usize) -> Result<c_int> {
    c_int::try_from(x).map_err(|_| Error::Msg(format!("conv2d: a side of {x} is too long")))
}

fn ints(x: [usize; 4]) -> Result<[c_int; 4]> {
    Ok([int(x[0])?, int(x[1])?, int(x[2])?, int(x[3])?])
}

/// Room that an algorithm asks for.
fn room(device: &CudaDevice, bytes: usize) -> Result<CudaSlice<u8>> {
    // SAFETY: scratch, which cuDNN writes before it reads.
    unsafe { device.alloc::<u8>(bytes.max(1)) }
}

fn run_of<T, C>(
    pass: Pass,
    g: &Geometry,
    tf32: bool,
    device: &CudaDevice,
    (s1, l1): (&CudaSlice<T>, &Layout),
    (s2, l2): (&CudaSlice<T>, &Layout),
) -> Result<CudaStorage>
where
    T: CudaDType + CudnnDataType + DeviceRepr + ValidAsZeroBits + WithDType,
    C: CudnnDataType,
{
    let (Some((b1, e1)), Some((b2, e2))) = (l1.contiguous_offsets(), l2.contiguous_offsets()) else {
        bail!("conv2d: the operands must be contiguous");
    };
    let (x_len, w_len, y_len) = (g.x_shape().elem_count(), g.w_shape().elem_count(), g.y_shape().elem_count());
    let len = match pass {
        Pass::Forward => y_len,
        Pass::GradInput => x_len,
        Pass::GradWeight => w_len,
    };
    if x_len.min(w_len).min(y_len) == 0 {
        return Ok(CudaStorage::wrap_cuda_slice(device.alloc_zeros::<T>(len)?, device.clone()));
    }
    let (a, b) = (s1.slice(b1..e1), s2.slice(b2..e2));
    // SAFETY: the pass writes every element.
    let mut out = unsafe { device.alloc::<T>(len) }?;
    let (stride, padding) = (int(g.stride)?, int(g.padding)?);
    let (x, w, y) = (
        ints([g.n, g.channels, g.h, g.w])?,
        ints([g.out_channels, g.channels, g.kh, g.kw])?,
        ints([g.n, g.out_channels, g.oh, g.ow])?,
    );
    let cudnn = handle(device)?;
    let one_and_zero = (T::from_f64(1.0), T::from_f64(0.0));
    let mut launch = || -> std::result::Result<std::result::Result<(), Error>, CudnnError> {
        let mut conv = cudnn.create_conv2d::<C>([padding; 2], [stride; 2], [1; 2], Mode::CUDNN_CROSS_CORRELATION)?;
        // the default would round f32 to tf32 unasked
        let exact = T::DTYPE == DType::F32 && !tf32;
        conv.set_math_type(if exact { Math::CUDNN_FMA_MATH } else { Math::CUDNN_DEFAULT_MATH })?;
        let x = cudnn.create_4d_tensor::<T>(Format::CUDNN_TENSOR_NCHW, x)?;
        let w = cudnn.create_4d_filter::<T>(Format::CUDNN_TENSOR_NCHW, w)?;
        let y = cudnn.create_4d_tensor::<T>(Format::CUDNN_TENSOR_NCHW, y)?;
        // of the gradients' algorithms, 0 and 3 add atomically, in an order of chance: 1 does not
        match pass {
            Pass::Forward => {
                let op = ConvForward { conv: &conv, x: &x, w: &w, y: &y };
                let algorithm = op.pick_algorithm()?;
                let mut room = match room(device, op.get_workspace_size(algorithm)?) {
                    Ok(room) => room,
                    Err(e) => return Ok(Err(e)),
                };
                // SAFETY: operands of the descriptors' sizes and types.
                unsafe { op.launch(algorithm, Some(&mut room), one_and_zero, &a, &b, &mut out) }?;
            }
            Pass::GradInput => {
                let op = ConvBackwardData { conv: &conv, dx: &x, w: &w, dy: &y };
                let picked = op.pick_algorithm()?;
                let fixed = DataAlgo::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
                let picked = if picked == DataAlgo::CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 { fixed } else { picked };
                let mut room = match room(device, op.get_workspace_size(picked)?) {
                    Ok(room) => room,
                    Err(e) => return Ok(Err(e)),
                };
                // SAFETY: as above.
                unsafe { op.launch(picked, Some(&mut room), one_and_zero, &mut out, &b, &a) }?;
            }
            Pass::GradWeight => {
                let op = ConvBackwardFilter { conv: &conv, x: &x, dw: &w, dy: &y };
                let picked = op.pick_algorithm()?;
                let fixed = FilterAlgo::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
                let by_chance =
                    [FilterAlgo::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, FilterAlgo::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3];
                let picked = if by_chance.contains(&picked) { fixed } else { picked };
                let mut room = match room(device, op.get_workspace_size(picked)?) {
                    Ok(room) => room,
                    Err(e) => return Ok(Err(e)),
                };
                // SAFETY: as above.
                unsafe { op.launch(picked, Some(&mut room), one_and_zero, &a, &mut out, &b) }?;
            }
        }
        Ok(Ok(()))
    };
    launch().map_err(Error::wrap)??;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}
