//! The archive that `torch.load` reads, with `weights_only` as well: a pickled state dict and a storage for each tensor.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use safetensors::View;
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The folder within the archive, as `torch.save` names it.
const TOP: &str = "archive";
/// Entries above are marked as large, which readers of before 2005 refuse.
const LARGE: u64 = 1 << 31;

/// The bytes of an archive with these tensors.
///
/// # Errors
/// [`Error::BadState`] for an element type that PyTorch has no storage for; candle's.
pub(super) fn archive(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let mut entries = vec![("data.pkl".to_string(), pickle(tensors)?), ("byteorder".into(), b"little".to_vec())];
    for (i, tensor) in tensors.values().enumerate() {
        entries.push((format!("data/{i}"), tensor.data().into_owned()));
    }
    entries.push(("version".into(), b"3\n".to_vec()));
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .large_file(bytes.len() as u64 >= LARGE)
            .with_alignment(64);
        let written = zip.start_file(format!("{TOP}/{name}"), options).map_err(|e| e.to_string());
        written
            .and_then(|()| zip.write_all(&bytes).map_err(|e| e.to_string()))
            .map_err(|e| Error::BadState(format!("`{name}` of the archive: {e}")))?;
    }
    zip.finish().map(Cursor::into_inner).map_err(|e| Error::BadState(format!("the archive: {e}")))
}

/// An `OrderedDict` of names and tensors, protocol 2.
fn pickle(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        let storage = match tensor.dtype() {
            DType::F32 => "FloatStorage",
            DType::F64 => "DoubleStorage",
            DType::F16 => "HalfStorage",
            DType::BF16 => "BFloat16Storage",
            DType::I64 => "LongStorage",
            DType::I32 => "IntStorage",
            DType::U8 => "ByteStorage",
            other => {
                return Err(Error::BadState(format!("`{name}` has element type {other:?}, which PyTorch has not")));
            }
        };
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(format!("ctorch\n{storage}\n").as_bytes());
        text(&mut out, &i.to_string());
        text(&mut out, "cpu");
        number(&mut out, tensor.elem_count());
        out.extend(b"tQK\x00");
        let strides: Vec<usize> = (0..tensor.rank()).map(|i| tensor.dims()[i + 1..].iter().product()).collect();
        for sizes in [tensor.dims(), &strides] {
            out.push(b'(');
            sizes.iter().for_each(|&size| number(&mut out, size));
            out.push(b't');
        }
        // no gradient, no hooks
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    Ok(out)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A number that is not negative: four bytes, or eight where these do not hold it.
fn number(out: &mut Vec<u8>, n: usize) {
    match i32::try_from(n) {
        Ok(n) => {
            out.push(b'J');
            out.extend(n.to_le_bytes());
        }
        Err(_) => {
            out.extend([0x8a, 8]);
            out.extend((n as u64).to_le_bytes());
        }
    }
}
