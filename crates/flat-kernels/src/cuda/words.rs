//! Copies of tensors of any type that a device keeps or puts back by itself, a launch for all of them.

use super::device::{New, address_of, run, touch_bytes};
use super::launch::VECTOR;
use super::sent::{Sent, sent};
use super::vector::Table;
use candle_core::{DType, Device, Result, Tensor, bail};

/// The contents of tensors as they were.
pub struct Saved {
    words: New<u32>,
    /// Lengths and addresses, as the device has them.
    numbers: Sent,
    table: Table,
    tensors: Vec<Tensor>,
}

impl Saved {
    /// Of contiguous tensors of one CUDA device, of types of 32 or 64 bits.
    ///
    /// # Errors
    /// Other tensors; the driver's.
    pub fn of(tensors: &[Tensor]) -> Result<Option<Self>> {
        let Some(Device::Cuda(device)) = tensors.first().map(Tensor::device) else { return Ok(None) };
        let mut places = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
            if !bytes.is_multiple_of(4) {
                bail!("a tensor of {bytes} bytes cannot be saved in words of 32 bits");
            }
            places.push((bytes / 4, touch_bytes(tensor)?));
        }
        let table = Table::new(places);
        let numbers = sent(device, &table.numbers)?;
        let mut words = New::new(device, table.elements)?;
        let launch = table.save_words(numbers.address(), words.address());
        // SAFETY: the table names this device's tensors with their lengths; there is room for all words.
        unsafe { run(device, &VECTOR, &[launch]) }?;
        Ok(Some(Self { words, numbers, table, tensors: tensors.to_vec() }))
    }

    /// Where they are.
    pub fn device(&self) -> &Device {
        // `of` makes none of nothing
        self.tensors[0].device()
    }

    /// Puts them back where `keep`, one u8 on the device, is zero.
    ///
    /// # Errors
    /// Another flag; the driver's.
    pub fn restore_unless(&mut self, keep: &Tensor) -> Result<()> {
        if keep.dtype() != DType::U8 || keep.elem_count() != 1 {
            bail!("a flag is one u8, not {:?} of {:?}", keep.dtype(), keep.shape());
        }
        let Device::Cuda(device) = keep.device().clone() else { bail!("a flag on another device") };
        let launch = self.table.restore_words(self.numbers.address(), self.words.address(), address_of::<u8>(keep)?);
        // SAFETY: as in `of`; the tensors are held here.
        unsafe { run(&device, &VECTOR, &[launch]) }?;
        self.tensors.iter().try_for_each(|t| touch_bytes(t).map(|_| ()))
    }
}
