//! Tables and constants of the host that kernels read alone: a device keeps them, and the same numbers are sent once.

use candle_core::cuda::DeviceId;
use candle_core::cuda::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{CudaDevice, Result};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Lists that a thread keeps. A step has some ten; those that change with every step push out the oldest.
const MOST: usize = 64;

/// Numbers on a device. Kernels must not write them: others read the same.
pub struct Sent(Arc<CudaSlice<u64>>);

impl Sent {
    /// The address of the first number, for launches on the device's own stream.
    pub fn address(&self) -> u64 {
        self.0.device_ptr(self.0.stream()).0
    }
}

/// What a thread has sent, each list with the time of its last use. A stream is a thread's, so that nobody waits for another.
#[derive(Default)]
struct Lists {
    of: HashMap<DeviceId, HashMap<Box<[u64]>, (Arc<CudaSlice<u64>>, u64)>>,
    uses: u64,
}

impl Lists {
    fn get(&mut self, device: &CudaDevice, numbers: &[u64]) -> Result<Sent> {
        self.uses += 1;
        let now = self.uses;
        if let Some((there, used)) = self.of.get_mut(&device.id()).and_then(|lists| lists.get_mut(numbers)) {
            *used = now;
            return Ok(Sent(there.clone()));
        }
        let sent = Arc::new(device.clone_htod(numbers)?);
        if self.of.values().map(HashMap::len).sum::<usize>() >= MOST {
            let oldest = self.of.values().flat_map(HashMap::values).map(|(_, used)| *used).min();
            self.of.values_mut().for_each(|lists| lists.retain(|_, (_, used)| Some(*used) != oldest));
        }
        self.of.entry(device.id()).or_default().insert(numbers.into(), (sent.clone(), now));
        Ok(Sent(sent))
    }
}

/// These numbers on the device. Costs a copy where the thread has not sent them lately.
///
/// # Errors
/// No memory; the driver's.
pub fn sent(device: &CudaDevice, numbers: &[u64]) -> Result<Sent> {
    thread_local! {
        static LISTS: RefCell<Lists> = RefCell::default();
    }
    LISTS.with(|lists| lists.borrow_mut().get(device, numbers))
}

/// As [`sent`], of doubles.
///
/// # Errors
/// As there.
pub fn sent_doubles(device: &CudaDevice, numbers: &[f64]) -> Result<Sent> {
    sent(device, &numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
}
