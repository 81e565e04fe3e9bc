//! CUDA's driver itself.

use super::{Driver, Gpu, Refused};
use candle_core::Device;
use candle_core::cuda::CudaError;
use candle_core::cuda::cudarc::driver::{DriverError, result, sys};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use sys::CUdevice_attribute_enum as Attribute;
use sys::CUmemPool_attribute as PoolAttribute;

fn refused(device: Option<usize>, e: DriverError) -> Refused {
    let words = |found: Result<&std::ffi::CStr, DriverError>| {
        found.map_or_else(|_| "an unknown error".into(), |s| s.to_string_lossy().into_owned())
    };
    let cause = format!("{} ({})", words(e.error_name()), words(e.error_string()));
    Refused { device, cause, remedy: Refused::remedy(e.0 as u32, count()) }
}

fn count() -> Option<usize> {
    result::device::get_count().ok().and_then(|n| usize::try_from(n).ok())
}

pub(super) fn remedy(error: &candle_core::Error) -> Option<String> {
    let code = match error {
        candle_core::Error::WithBacktrace { inner, .. } => return remedy(inner),
        candle_core::Error::Cuda(of) => match of.downcast_ref::<CudaError>()? {
            CudaError::Cuda(e) | CudaError::Load { cuda: e, .. } => e.0,
            _ => return None,
        },
        _ => return None,
    };
    Some(Refused::remedy(code as u32, count()))
}

fn handle(ordinal: usize) -> Result<sys::CUdevice, DriverError> {
    result::init()?;
    result::device::get(i32::try_from(ordinal).unwrap_or(i32::MAX))
}

fn gpu(ordinal: usize) -> Result<Gpu, DriverError> {
    let device = handle(ordinal)?;
    let uuid = result::device::get_uuid(device)?.bytes;
    let hex: String = uuid.iter().map(|b| format!("{:02x}", *b as u8)).collect();
    let uuid = format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    // SAFETY: the driver just named the device.
    let (memory, major, minor) = unsafe {
        (
            result::device::total_mem(device)?,
            result::device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            result::device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        )
    };
    let name = result::device::get_name(device)?;
    Ok(Gpu { ordinal, name, uuid, memory: memory as u64, capability: (major, minor) })
}

pub(super) fn here() -> Result<Driver, Refused> {
    let mut version = 0;
    // SAFETY: a number to write to.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(|e| refused(None, e))?;
    let count = result::init().and_then(|()| result::device::get_count()).map_err(|e| refused(None, e))?;
    let gpus = (0..usize::try_from(count).unwrap_or(0)).map(|n| gpu(n).map_err(|e| refused(Some(n), e)));
    Ok(Driver { cuda: (version / 1000, version % 1000 / 10), gpus: gpus.collect::<Result<_, _>>()? })
}

pub(super) fn open(ordinal: usize) -> Result<Device, Refused> {
    static OPEN: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());
    let mut all = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = all.get(&ordinal) {
        return Ok(device.clone());
    }
    let own = handle(ordinal).map_err(|e| refused(Some(ordinal), e))?;
    let device = Device::new_cuda(ordinal).map_err(|e| Refused {
        device: Some(ordinal),
        cause: e.to_string().lines().next().unwrap_or_default().to_string(),
        remedy: "the libraries must be of CUDA 13 and the driver R580 or newer: see `flat-train devices`".into(),
    })?;
    // a pool gives its memory back at every wait for the device, and maps it anew in the next step
    let mut all_of_it = u64::MAX;
    // SAFETY: the pool of a device that the driver named, and a value of the attribute's type. A driver without pools
    // refuses, and then nothing is kept.
    unsafe {
        if let Ok(pool) = result::device::get_default_mem_pool(own) {
            let threshold = PoolAttribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            let _ = result::mem_pool::set_attribute(pool, threshold, (&raw mut all_of_it).cast());
        }
    }
    if let Device::Cuda(device) = &device {
        // SAFETY: cudarc records events only where a context has several streams, and candle's device has one a thread; so
        // these were made and destroyed with every buffer for nothing. The caller waits between threads, as `open` says.
        unsafe { device.disable_event_tracking() };
    }
    all.insert(ordinal, device.clone());
    Ok(device)
}

pub(super) fn memory_peak(ordinal: usize) -> Option<u64> {
    let device = handle(ordinal).ok()?;
    let mut bytes = 0u64;
    // SAFETY: as in `open`; the attribute is 64 bits wide.
    unsafe {
        let pool = result::device::get_default_mem_pool(device).ok()?;
        let high = PoolAttribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        result::mem_pool::get_attribute(pool, high, (&raw mut bytes).cast()).ok()?;
    }
    (bytes > 0).then_some(bytes)
}
