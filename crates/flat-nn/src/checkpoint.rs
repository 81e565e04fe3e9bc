//! Checkpoints: safetensors files with PyTorch's names.
#![allow(clippy::disallowed_methods)] // these return numbers to the host: whoever calls them is asked why

use crate::{Error, Model, ModelConfig, Result};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::{SafeTensorError, SafeTensors};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

impl Model {
    /// Writes all parameters and buffers, with `metadata` and the model's own configuration (`arch`, `hidden`, ...) in
    /// the header.
    ///
    /// Tensors are ordered by element size, then name, and metadata by key: the same state gives the same bytes. The
    /// file is written beside its place and then renamed, so that no half-written file is ever found there.
    ///
    /// # Errors
    /// [`Error::Io`]; candle's.
    pub fn save(&self, path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
        let mut metadata = metadata.clone();
        match self.config() {
            Some(config) => metadata.extend(config.to_metadata()),
            None => drop(metadata.insert("arch".into(), self.name())),
        }
        let bytes = encode(&self.state()?, &metadata)?;
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let written = std::fs::File::create(&partial)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&partial, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        written.map_err(io)
    }

    /// Sets all parameters and buffers from a checkpoint; on error the model is unchanged.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Checkpoint`] for anything but a whole safetensors file, and for tensors that are missing,
    /// unexpected, of another shape, or not finite.
    pub fn load(&self, path: &Path) -> Result<()> {
        let bytes = read(path)?;
        let bad = |reason: String| Error::Checkpoint { path: path.to_path_buf(), reason };
        let file = parse(&bytes, path)?;
        let mut state = BTreeMap::new();
        for (name, view) in file.iter() {
            let tensor = view.load(&Device::Cpu).map_err(|e| bad(format!("tensor `{name}`: {e}")))?;
            state.insert(name.to_string(), tensor);
        }
        self.set_state(&state).map_err(|e| match e {
            e @ Error::NotFinite { .. } => bad(e.to_string()),
            Error::BadState(reason) => bad(format!(
                "{reason}: it belongs to another model (arch, hidden, channels, norm, classes or image size differ) or is damaged"
            )),
            e => e,
        })
    }
}

/// The metadata of a checkpoint's header.
///
/// # Errors
/// [`Error::Io`]; [`Error::Checkpoint`] for anything but a whole safetensors file.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let bytes = read(path)?;
    parse(&bytes, path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| explain(&e, path))?;
    Ok(header.metadata().clone().unwrap_or_default().into_iter().collect())
}

/// The configuration of the model in a checkpoint that [`Model::save`] wrote.
///
/// # Errors
/// As [`read_metadata`], and [`Error::Checkpoint`] where the header lacks a field.
pub fn read_config(path: &Path) -> Result<ModelConfig> {
    let metadata = read_metadata(path)?;
    ModelConfig::from_metadata(|k| metadata.get(k).map(String::as_str)).map_err(|e| Error::Checkpoint {
        path: path.to_path_buf(),
        reason: format!("its header does not say which model it is ({e}): give the model on the command line"),
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes).map_err(|e| explain(&e, path))
}

fn explain(e: &SafeTensorError, path: &Path) -> Error {
    let reason = match e {
        SafeTensorError::MetadataIncompleteBuffer => "the file is cut short: copy or download it again".to_string(),
        e => format!("not a safetensors file, or a damaged one ({e}): give a file written by `save`"),
    };
    Error::Checkpoint { path: path.to_path_buf(), reason }
}

/// The bytes of a safetensors file: length of the header (u64, little endian), JSON header padded with spaces to a
/// multiple of 8, then the tensors.
fn encode(state: &BTreeMap<String, Tensor>, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut order: Vec<(&String, &Tensor)> = state.iter().collect();
    order.sort_by_key(|(name, t)| (std::cmp::Reverse(t.dtype().size_in_bytes()), name.as_str()));
    let mut header = String::from("{\"__metadata__\":{");
    for (i, (k, v)) in metadata.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(header, "{comma}{}:{}", quoted(k), quoted(v));
    }
    header.push('}');
    let mut data = Vec::new();
    for (name, tensor) in order {
        let start = data.len();
        let flat = tensor.flatten_all()?;
        let dtype = match tensor.dtype() {
            DType::F32 => {
                flat.to_vec1::<f32>()?.iter().for_each(|x| data.extend_from_slice(&x.to_le_bytes()));
                "F32"
            }
            DType::F64 => {
                flat.to_vec1::<f64>()?.iter().for_each(|x| data.extend_from_slice(&x.to_le_bytes()));
                "F64"
            }
            DType::I64 => {
                flat.to_vec1::<i64>()?.iter().for_each(|x| data.extend_from_slice(&x.to_le_bytes()));
                "I64"
            }
            other => return Err(Error::BadState(format!("`{name}` has element type {other:?}, which is not written"))),
        };
        let (shape, end) = (tensor.dims(), data.len());
        let name = quoted(name);
        let _ =
            write!(header, ",{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}");
    }
    header.push('}');
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let mut bytes = Vec::with_capacity(8 + header.len() + data.len());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(&data);
    Ok(bytes)
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
