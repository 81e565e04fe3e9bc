//! NCCL: vectors on CUDA devices go from device to device. All else goes by the engine beside it, which started the ranks.
//!
//! The library is opened when the first vector is exchanged, as MPI's is: a build needs none.

mod calls;

use crate::on_device::OnDevice;
use crate::{Communicator, Error, Incoming, Lent, Outgoing, Result};
use calls::{Calls, Number, UNIQUE_ID, Wire, fault};
use candle_core::cuda::CudaDType;
use candle_core::cuda::cudarc::driver::sys::CUstream;
use candle_core::cuda::cudarc::driver::{CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Storage, Tensor};
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

/// An engine whose vectors on a CUDA device go by NCCL.
#[derive(Debug)]
pub struct Nccl {
    beside: Arc<dyn Communicator>,
    link: OnceLock<Link>,
}

impl Nccl {
    /// NCCL between the ranks of this engine, each with a device of its own.
    pub fn beside(engine: Arc<dyn Communicator>) -> Self {
        Self { beside: engine, link: OnceLock::new() }
    }
}

/// A communicator of NCCL, on the stream of a device.
#[derive(Debug)]
struct Link {
    calls: Calls,
    device: CudaDevice,
}

impl Link {
    /// Joins the other ranks, all of which come here with a device.
    fn begin(beside: &dyn Communicator, device: &CudaDevice) -> Result<Self> {
        let mut id = [0; UNIQUE_ID];
        let library = calls::Library::open()?;
        // NCCL takes the thread's device
        device.cuda_stream().context().bind_to_thread().map_err(|e| fault("bind_to_thread", format!("{e:?}")))?;
        if beside.rank() == 0 {
            id = library.unique_id()?;
        }
        beside.broadcast(&mut id, 0)?;
        let calls = Calls::begin(library, id, beside.rank(), beside.size())?;
        Ok(Self { calls, device: device.clone() })
    }

    fn exchange_of<T>(&self, out: &[(usize, Tensor)], into: &[(usize, usize)]) -> Result<Vec<Tensor>>
    where
        T: CudaDType + DeviceRepr + Number,
    {
        let stream = self.device.cuda_stream();
        let rows: Vec<_> = out.iter().map(|(_, row)| read(row)).collect::<Result<_>>()?;
        let mut rooms: Vec<CudaSlice<T>> = Vec::with_capacity(into.len());
        for (_, len) in into {
            // SAFETY: NCCL fills the room on this stream before anything on it reads.
            rooms.push(unsafe { stream.alloc(*len) }.map_err(|e| fault("alloc", format!("{e:?}")))?);
        }
        self.calls.group(|| {
            for ((to, _), row) in out.iter().zip(&rows) {
                let slice = row.slice::<T>()?;
                let (address, _read) = slice.device_ptr(&stream);
                // SAFETY: the address is that of as many numbers on the device, until the stream has sent them.
                unsafe { self.calls.send(wire::<T>(address, slice.len(), stream.cu_stream()), *to)? };
            }
            for ((from, _), room) in into.iter().zip(&mut rooms) {
                let len = room.len();
                let (address, _written) = room.device_ptr_mut(&stream);
                // SAFETY: as above, to be written.
                unsafe { self.calls.receive(wire::<T>(address, len, stream.cu_stream()), *from)? };
            }
            Ok(())
        })?;
        Ok(rooms.into_iter().map(|room| self.row(room)).collect())
    }

    fn sum_of<T>(&self, row: &Tensor) -> Result<Tensor>
    where
        T: CudaDType + DeviceRepr + Number,
    {
        let (stream, row) = (self.device.cuda_stream(), read(row)?);
        let slice = row.slice::<T>()?;
        // SAFETY: NCCL fills the room on this stream before anything on it reads.
        let mut room: CudaSlice<T> =
            unsafe { stream.alloc(slice.len()) }.map_err(|e| fault("alloc", format!("{e:?}")))?;
        {
            let (from, _read) = slice.device_ptr(&stream);
            let (to, _written) = room.device_ptr_mut(&stream);
            // SAFETY: both are addresses of as many numbers on the device, until the stream has added them up.
            unsafe { self.calls.sum(wire::<T>(from, slice.len(), stream.cu_stream()), to)? };
        }
        Ok(self.row(room))
    }

    fn row<T: CudaDType>(&self, room: CudaSlice<T>) -> Tensor {
        let len = room.len();
        let storage = CudaStorage::wrap_cuda_slice(room, self.device.clone());
        Tensor::from_storage(Storage::Cuda(storage), len, BackpropOp::none(), false)
    }
}

impl OnDevice for Link {
    fn exchange(&self, dtype: DType, out: &[(usize, Tensor)], into: &[(usize, usize)]) -> Result<Vec<Tensor>> {
        match dtype {
            DType::F64 => self.exchange_of::<f64>(out, into),
            _ => self.exchange_of::<f32>(out, into),
        }
    }

    fn sum_in_any_order(&self, row: &Tensor) -> Result<Tensor> {
        match row.dtype() {
            DType::F64 => self.sum_of::<f64>(row),
            _ => self.sum_of::<f32>(row),
        }
    }
}

/// A row that is read: its storage, held, and where it lies there.
struct Row<S> {
    storage: S,
    range: Range<usize>,
}

fn read(row: &Tensor) -> Result<Row<impl Deref<Target = Storage>>> {
    let (storage, layout) = row.storage_and_layout();
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| Error::Sizes("a row with gaps".into()))?;
    Ok(Row { storage, range: start..end })
}

impl<S: Deref<Target = Storage>> Row<S> {
    fn slice<T: CudaDType>(&self) -> Result<CudaView<'_, T>> {
        match &*self.storage {
            Storage::Cuda(storage) => {
                let whole = storage.as_cuda_slice::<T>().map_err(flat_core::Error::from)?;
                Ok(whole.slice(self.range.clone()))
            }
            _ => Err(Error::Sizes("a row that is not on the device".into())),
        }
    }
}

fn wire<T: Number>(address: u64, count: usize, stream: CUstream) -> Wire {
    Wire { address, count, kind: T::KIND, stream: stream.cast() }
}

impl Communicator for Nccl {
    fn rank(&self) -> usize {
        self.beside.rank()
    }

    fn size(&self) -> usize {
        self.beside.size()
    }

    fn name(&self) -> String {
        format!("NCCL beside {}", self.beside.name())
    }

    fn all_to_all(&self, mine: &[u8], to: &[Range<usize>], theirs: &mut [u8], from: &[Range<usize>]) -> Result<()> {
        self.beside.all_to_all(mine, to, theirs, from)
    }

    fn all_gather(&self, all: &mut [u8], parts: &[Range<usize>]) -> Result<()> {
        self.beside.all_gather(all, parts)
    }

    fn broadcast(&self, bytes: &mut [u8], from: usize) -> Result<()> {
        self.beside.broadcast(bytes, from)
    }

    fn exchange(&self, out: &[Outgoing<'_>], into: &mut [Incoming<'_>]) -> Result<()> {
        self.beside.exchange(out, into)
    }

    fn sum_in_any_order(&self, x: Lent<'_>) -> Result<()> {
        self.beside.sum_in_any_order(x)
    }

    fn on_device(&self, device: &Device) -> Result<Option<&dyn OnDevice>> {
        let Device::Cuda(device) = device else { return Ok(None) };
        if self.link.get().is_none() {
            // all ranks come here with the first vector that they add up
            drop(self.link.set(Link::begin(self.beside.as_ref(), device)?));
        }
        Ok(self.link.get().map(|link| link as &dyn OnDevice))
    }

    fn meet(&self) -> Result<()> {
        self.beside.meet()
    }

    fn abort(&self, code: i32) -> ! {
        self.beside.abort(code)
    }
}
