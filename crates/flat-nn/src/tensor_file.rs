//! A safetensors file: named tensors, metadata, and a checksum over all of it.
#![allow(clippy::disallowed_methods)] // these return numbers to the host: whoever calls them is asked why

use crate::{Error, Result};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use flat_core::{file, memory};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensorError, SafeTensors, View};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::Hasher;
use std::io::Read;
use std::path::Path;
use twox_hash::XxHash64;

/// The key of the metadata under which the checksum stands.
const CHECKSUM: &str = "flat.checksum";
/// How its value begins.
const ALGORITHM: &str = "xxh64:";
/// Longest header that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;
/// Files that take less are read without a look at the free memory.
const SMALL: u64 = 64 << 20;

/// What a safetensors file holds.
///
/// [`Self::write`] puts a checksum into the metadata: xxHash64 (Collet, 2012) of the metadata and of the tensors with names,
/// element types and shapes. [`Self::read`] refuses a file whose contents have another one. A file of another program has
/// none and is taken as it is.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use flat_nn::TensorFile;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tensors = [("w".to_string(), Tensor::new(&[1.0f32, 2.0], &Device::Cpu)?)].into();
/// let mut bytes = TensorFile::new(tensors, [("step".to_string(), "7".to_string())].into()).to_bytes()?;
/// assert!(TensorFile::parse(&bytes, &Device::Cpu)?.checked);
/// *bytes.last_mut().expect("bytes") ^= 1;
/// assert!(TensorFile::parse(&bytes, &Device::Cpu).expect_err("damaged").to_string().contains("checksum"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TensorFile {
    /// The tensors by their names.
    pub tensors: BTreeMap<String, Tensor>,
    /// What the header says besides, without the checksum.
    pub metadata: BTreeMap<String, String>,
    /// Whether there was a checksum, which then was right.
    pub checked: bool,
}

impl TensorFile {
    /// Tensors and metadata to be written.
    pub fn new(tensors: BTreeMap<String, Tensor>, metadata: BTreeMap<String, String>) -> Self {
        Self { tensors, metadata, checked: false }
    }

    /// Writes the file whole or not at all, with a checksum.
    ///
    /// # Errors
    /// [`Error::Io`]; candle's.
    pub fn write(&self, path: &Path) -> Result<()> {
        file::write_whole(path, &self.to_bytes()?).map_err(|source| Error::Io { path: path.to_path_buf(), source })
    }

    /// Reads a regular file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] for anything but a whole and undamaged safetensors file that fits into memory.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let bad = |reason| Error::Checkpoint { path: path.to_path_buf(), reason };
        let mut source = file::open(path).map_err(io)?;
        let length = source.metadata().map_err(io)?.len();
        let mut bytes = Vec::new();
        source.by_ref().take(8).read_to_end(&mut bytes).map_err(io)?;
        let header = bytes.as_slice().try_into().map(u64::from_le_bytes).unwrap_or(0);
        if header > LONGEST_HEADER || bytes.len() < 8 {
            return Err(bad(NO_SAFETENSORS.into()));
        }
        // the bytes, and the tensors made of them
        if let Some(free) = memory::available().filter(|free| length > SMALL && length.saturating_mul(2) > *free) {
            let [needed, free] = [length.saturating_mul(2), free].map(memory::in_words);
            return Err(bad(format!("reading it takes {needed} of memory, {free} are free")));
        }
        // the file may grow meanwhile
        source.take(length.saturating_sub(8)).read_to_end(&mut bytes).map_err(io)?;
        Self::parse(&bytes, device).map_err(|e| match e {
            Error::Damaged(reason) => bad(reason),
            e => e,
        })
    }

    /// What is in the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Damaged`]; candle's.
    pub fn parse(bytes: &[u8], device: &Device) -> Result<Self> {
        let views = SafeTensors::deserialize(bytes).map_err(|e| explain(&e))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| explain(&e))?;
        let mut metadata: BTreeMap<String, String> =
            header.metadata().clone().unwrap_or_default().into_iter().collect();
        let mut parts: Vec<(String, TensorView<'_>)> = views.tensors();
        // a damaged key leaves the value behind, which says that there was one
        let announced = metadata.values().any(|value| value.starts_with(ALGORITHM));
        let checksum = metadata.remove(CHECKSUM);
        if announced || checksum.is_some() {
            parts.sort_by(|a, b| order((&a.0, View::dtype(&a.1))).cmp(&order((&b.0, View::dtype(&b.1)))));
            let mut found = Sum::of(&metadata);
            parts.iter().for_each(|(name, view)| found.tensor(name, View::dtype(view), View::shape(view), view.data()));
            let found = found.text();
            if checksum.as_ref() != Some(&found) {
                let said = checksum.map_or_else(|| "none".into(), |said| said.escape_debug().to_string());
                return Err(Error::Damaged(format!(
                    "the file is damaged: its checksum is {found}, {said} is written in it; use another copy"
                )));
            }
        }
        let load = |(name, view): &(String, TensorView<'_>)| match view.load(device) {
            Ok(tensor) => Ok((name.clone(), tensor)),
            Err(e) => Err(Error::Damaged(format!("tensor `{}`: {e}", name.escape_debug()))),
        };
        Ok(Self { tensors: parts.iter().map(load).collect::<Result<_>>()?, metadata, checked: announced })
    }

    /// The bytes of the file, the same for the same contents.
    ///
    /// They are the length of the header (u64, little endian), the JSON header padded with spaces to a multiple of 8, and the
    /// tensors. Tensors are ordered by element size, then name, and metadata by key.
    ///
    /// # Errors
    /// candle's; [`Error::BadState`] for an element type that is not written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut parts = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            if !WRITTEN.contains(&tensor.dtype()) {
                let reason = format!("`{name}` has element type {:?}, which is not written", tensor.dtype());
                return Err(Error::BadState(reason));
            }
            parts.push((name.as_str(), View::dtype(tensor), tensor.dims(), tensor));
        }
        parts.sort_by(|a, b| order((a.0, a.1)).cmp(&order((b.0, b.1))));
        let mut metadata = self.metadata.clone();
        metadata.remove(CHECKSUM);
        let mut sum = Sum::of(&metadata);
        // its place is kept until the tensors are written
        metadata.insert(CHECKSUM.into(), sum.text());
        let (mut header, mut place) = (String::from("{\"__metadata__\":{"), 0);
        for (i, (k, v)) in metadata.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(header, "{comma}{}:{}", quoted(k), quoted(v));
            if k == CHECKSUM {
                // before the closing quote
                place = 8 + header.len() - 1 - v.len();
            }
        }
        header.push('}');
        let mut end = 0;
        for (name, dtype, shape, tensor) in &parts {
            let (start, name) = (end, quoted(name));
            end += tensor.data_len();
            let _ = write!(
                header,
                ",{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"
            );
        }
        header.push('}');
        while header.len() % 8 != 0 {
            header.push(' ');
        }
        let mut bytes = Vec::with_capacity(8 + header.len() + end);
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        for (name, dtype, shape, tensor) in parts {
            let data = tensor.data();
            sum.tensor(name, dtype, shape, &data);
            bytes.extend_from_slice(&data);
        }
        let checksum = sum.text();
        bytes[place..place + checksum.len()].copy_from_slice(checksum.as_bytes());
        Ok(bytes)
    }

    /// The name of the first tensor with a value that is not finite.
    ///
    /// # Errors
    /// candle's.
    pub fn not_finite<'a>(tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Result<Option<&'a str>> {
        for (name, tensor) in tensors {
            if tensor.dtype().is_float() && !finite(tensor)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}

/// Element types that are written and read back.
const WRITTEN: [DType; 9] =
    [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];

const NO_SAFETENSORS: &str = "not a safetensors file, or a damaged one: give a file written by `save`";

fn explain(e: &SafeTensorError) -> Error {
    Error::Damaged(match e {
        SafeTensorError::MetadataIncompleteBuffer => "the file is cut short: copy or download it again".to_string(),
        e => format!("not a safetensors file, or a damaged one ({e}): give a file written by `save`"),
    })
}

/// Whether all values are finite.
pub(crate) fn finite(t: &Tensor) -> Result<bool> {
    // |x| times 0 is 0 for finite x alone, and sums of zeros do not overflow
    let zeros: f64 = t.flatten_all()?.affine(0.0, 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar()?;
    Ok(zeros == 0.0)
}

/// Where a tensor stands in a file: larger elements first, then by name.
fn order((name, dtype): (&str, safetensors::Dtype)) -> (std::cmp::Reverse<usize>, &str) {
    (std::cmp::Reverse(dtype.bitsize()), name)
}

/// The checksum of contents: every part behind its length, so that none runs into the next.
struct Sum(XxHash64);

impl Sum {
    /// Of this metadata, before any tensor.
    fn of(metadata: &BTreeMap<String, String>) -> Self {
        let mut sum = Self(XxHash64::with_seed(0));
        sum.part(&(metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            sum.part(key.as_bytes());
            sum.part(value.as_bytes());
        }
        sum
    }

    fn tensor(&mut self, name: &str, dtype: safetensors::Dtype, shape: &[usize], data: &[u8]) {
        self.part(name.as_bytes());
        self.part(dtype.to_string().as_bytes());
        let shape: Vec<u8> = shape.iter().flat_map(|&size| (size as u64).to_le_bytes()).collect();
        self.part(&shape);
        self.part(data);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.write(&(bytes.len() as u64).to_le_bytes());
        self.0.write(bytes);
    }

    /// As it stands in the header: always as long.
    fn text(&self) -> String {
        format!("{ALGORITHM}{:016x}", self.0.finish())
    }
}

/// A JSON string.
fn quoted(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
