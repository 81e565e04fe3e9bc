//! Weights in the files of other programs: PyTorch's archives, safetensors whole and in shards.

mod archive;
mod legacy;
mod shards;
mod state_dict;
mod storages;
mod strided;
mod torch_writer;

use crate::{Error, Result, TensorFile};
use candle_core::{DType, Device, Tensor};
use flat_core::file;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// What kind of file weights were read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// Several files of tensors and the index that names them.
    Shards,
    /// The archive that `torch.save` writes (`.pt`, `.pth`, `.bin`, `.tar`): a zip file with a pickle.
    TorchArchive,
    /// What it wrote before PyTorch 1.6: pickles and storages one after the other.
    TorchLegacy,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::Shards => "shards with an index",
            Self::TorchArchive => "PyTorch archive",
            Self::TorchLegacy => "PyTorch file of before 1.6",
        })
    }
}

/// Tensors by name, from any file that is read.
#[derive(Debug, Clone)]
pub struct WeightsFile {
    /// What kind of file it is.
    pub format: Format,
    /// Tensors and metadata. Names within dicts of dicts are joined by dots, such as `state_dict.module.conv1.weight`.
    pub file: TensorFile,
    /// What was left out or converted, a line each.
    pub notes: Vec<String>,
    /// How many tensors there are of each element type, as the file names them.
    pub dtypes: BTreeMap<String, usize>,
}

impl WeightsFile {
    /// Reads a safetensors file, the index of shards, or an archive of PyTorch.
    ///
    /// No code of a file is run: an archive that asks for anything but tensors and plain values is refused, with the name that
    /// it asks for. Tensors of f16 and bf16 come as f32, with a note. Memory is bounded by twice the size of the files.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] for a damaged file or one of another kind.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let mut start = Vec::new();
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        file::open(path).map_err(io)?.take(16).read_to_end(&mut start).map_err(io)?;
        let found = match start.as_slice() {
            [b'P', b'K', 3, 4, ..] => archive::read(path, device)?,
            start if start.starts_with(&legacy::START) => legacy::read(path, device)?,
            [0x80, 2..=5, ..] => {
                return Err(bad(
                    path,
                    "it is a bare pickle: save the network's state_dict() with torch.save or as safetensors",
                ));
            }
            _ if shards::is_index(path) => shards::read(path, device)?,
            _ => Self::of(Format::Safetensors, TensorFile::read(path, device)?),
        };
        found.converted()
    }

    /// Writes tensors as a state dict that `torch.load` reads, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::BadState`] for an element type that PyTorch has not; candle's.
    pub fn write_torch(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<()> {
        let bytes = torch_writer::archive(tensors)?;
        file::write_whole(path, &bytes).map_err(|source| Error::Io { path: path.to_path_buf(), source })
    }

    fn of(format: Format, file: TensorFile) -> Self {
        let mut dtypes = BTreeMap::new();
        file.tensors.values().for_each(|t| *dtypes.entry(t.dtype().as_str().to_string()).or_insert(0) += 1);
        Self { format, file, notes: Vec::new(), dtypes }
    }

    /// Half precision as f32: what computes with the weights has no arithmetic of less.
    fn converted(mut self) -> Result<Self> {
        let mut half = BTreeMap::new();
        for tensor in self.file.tensors.values_mut().filter(|t| matches!(t.dtype(), DType::F16 | DType::BF16)) {
            *half.entry(tensor.dtype().as_str()).or_insert(0usize) += 1;
            *tensor = tensor.to_dtype(DType::F32)?;
        }
        self.notes.extend(half.iter().map(|(dtype, n)| format!("{n} tensors of {dtype} are computed with in f32")));
        Ok(self)
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_path_buf(), reason: reason.into() }
}

/// Tensors by name.
type Tensors = BTreeMap<String, Tensor>;
