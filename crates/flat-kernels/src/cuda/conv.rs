//! The three passes of a convolution by cuDNN.

mod plan;

use crate::shape::{Geometry, Pass};
use candle_core::cuda::cudarc::cudnn::{CudnnDataType, result, sys};
use candle_core::cuda::cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut, DeviceRepr, ValidAsZeroBits};
use candle_core::cuda::{CudaDType, CudaStorageSlice as Slice, DeviceId};
use candle_core::{CudaDevice, CudaStorage, Error, Layout, Result, WithDType, bail};
use plan::{Key, Plan};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

/// What a thread keeps of cuDNN for a device: a handle, which is the thread's as its stream is, the plans of all passes so
/// far, and the workspace that they take turns in.
struct Kept {
    handle: sys::cudnnHandle_t,
    plans: HashMap<Key, Plan>,
    room: Option<CudaSlice<u8>>,
}

impl Kept {
    fn new(device: &CudaDevice) -> Result<Self> {
        device.cuda_stream().context().bind_to_thread().map_err(Error::wrap)?;
        let handle = result::create_handle().map_err(Error::wrap)?;
        // SAFETY: the handle was just made; the stream lives as long as the device, whose handle this is.
        unsafe { result::set_stream(handle, device.cuda_stream().cu_stream().cast()) }.map_err(Error::wrap)?;
        Ok(Self { handle, plans: HashMap::new(), room: None })
    }

    /// At least so many bytes of workspace.
    fn room(&mut self, device: &CudaDevice, bytes: usize) -> Result<(u64, usize)> {
        if self.room.as_ref().is_none_or(|room| room.len() < bytes) {
            // the old one goes first: both may not fit
            self.room = None;
            // SAFETY: scratch, which cuDNN writes before it reads.
            self.room = Some(unsafe { device.alloc::<u8>(bytes.max(1)) }?);
        }
        let Some(room) = &mut self.room else { bail!("conv2d: no workspace") };
        let (stream, len) = (room.stream().clone(), room.len());
        Ok((room.device_ptr_mut(&stream).0, len))
    }
}

thread_local! {
    static KEPT: RefCell<HashMap<DeviceId, Kept>> = RefCell::new(HashMap::new());
}

/// A pass over contiguous operands of f32, bf16 or f64; `tf32` allows products of f32 to be rounded to it. The algorithm is
/// the first of cuDNN's proposals that adds in a fixed order and whose workspace can be had; it is asked for once a shape.
///
/// # Errors
/// Operands of other types or not contiguous; no such algorithm; cuDNN's.
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

/// A copy of the elements, where they do not begin at a multiple of 16 bytes as the kernels of tensor cores ask for. The part
/// of a vector over all parameters may begin anywhere.
fn aligned<T: DeviceRepr>(device: &CudaDevice, slice: &CudaSlice<T>, of: Range<usize>) -> Result<Option<CudaSlice<T>>> {
    // allocations begin at multiples of 256 bytes
    if (of.start * size_of::<T>()).is_multiple_of(16) {
        return Ok(None);
    }
    // SAFETY: the copy writes every element.
    let mut own = unsafe { device.alloc::<T>(of.len()) }?;
    device.memcpy_dtod(&slice.slice(of), &mut own)?;
    Ok(Some(own))
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
    let (a_len, b_len, len) = match pass {
        Pass::Forward => (x_len, w_len, y_len),
        Pass::GradInput => (y_len, w_len, x_len),
        Pass::GradWeight => (x_len, y_len, w_len),
    };
    if e1 - b1 != a_len || e2 - b2 != b_len {
        bail!("conv2d: {} and {} elements instead of {a_len} and {b_len}", e1 - b1, e2 - b2);
    }
    if x_len.min(w_len).min(y_len) == 0 {
        return Ok(CudaStorage::wrap_cuda_slice(device.alloc_zeros::<T>(len)?, device.clone()));
    }
    // SAFETY: the pass writes every element.
    let mut out = unsafe { device.alloc::<T>(len) }?;
    KEPT.with(|kept| {
        let mut kept = kept.borrow_mut();
        let kept = match kept.entry(device.id()) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(gap) => gap.insert(Kept::new(device)?),
        };
        let key = Key::of::<T, C>(pass, *g, tf32);
        if !kept.plans.contains_key(&key) {
            kept.plans.insert(key, Plan::new(kept.handle, &key)?);
        }
        let stream = device.cuda_stream();
        let (own_a, own_b) = (aligned(device, s1, b1..e1)?, aligned(device, s2, b2..e2)?);
        let (s1, b1) = own_a.as_ref().map_or((s1, b1), |own| (own, 0));
        let (s2, b2) = own_b.as_ref().map_or((s2, b2), |own| (own, 0));
        let ((a, _read_a), (b, _read_b)) = (s1.device_ptr(&stream), s2.device_ptr(&stream));
        let (a, b) = (a + (b1 * size_of::<T>()) as u64, b + (b2 * size_of::<T>()) as u64);
        let (to, _written) = out.device_ptr_mut(&stream);
        let mut refused = None;
        for i in 0.. {
            let Some(bytes) = kept.plans[&key].workspace(i) else { break };
            // another algorithm may do with less
            match kept.room(device, bytes) {
                // SAFETY: operands of the plan's sizes and types, which live until the pass is queued; memory is freed in
                // the stream's order.
                Ok(room) => {
                    return unsafe { kept.plans[&key].run(kept.handle, i, [a, b, to], room) }.map_err(Error::wrap);
                }
                Err(e) => refused = Some(e),
            }
        }
        match refused {
            Some(e) => Err(e),
            None => bail!(
                "conv2d: cuDNN has no algorithm with a fixed order of sums for {g:?}; build without the feature `cudnn`"
            ),
        }
    })?;
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}
