//! The zip archive that `torch.save` writes: `NAME/data.pkl` describes tensors, `NAME/data/KEY` are their storages.

use super::{Format, WeightsFile, bad, state_dict, storages};
use crate::{Error, Result};
use candle_core::Device;
use flat_core::file;
use flat_pickle::Pickle;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// Most bytes of the pickle: names, shapes and plain values alone.
const MAX_PICKLE: u64 = 64 << 20;

type Archive = ZipArchive<BufReader<File>>;

/// Reads the tensors of an archive, but for an optimizer's state.
pub(super) fn read(path: &Path, device: &Device) -> Result<WeightsFile> {
    let bad = |reason: String| bad(path, reason);
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let source = file::open(path).map_err(io)?;
    let length = source.metadata().map_err(io)?.len();
    let damaged = |e| bad(format!("the archive is damaged or cut short ({e}): copy or download it again"));
    let mut archive = ZipArchive::new(BufReader::new(source)).map_err(damaged)?;
    if archive.has_duplicate_names() || archive.has_overlapping_files().map_err(damaged)? {
        return Err(bad(
            "entries of the archive have the same name or the same bytes: torch.save writes no such file".into()
        ));
    }
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let Some(top) = names.iter().find_map(|name| name.strip_suffix("data.pkl").filter(|top| !top.ends_with("/data/")))
    else {
        let first = names.iter().take(4).map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
        return Err(bad(format!("it is a zip archive without data.pkl, which torch.save writes; it holds {first}")));
    };
    let entry = |archive: &mut Archive, name: &str, most: u64| {
        let shown = name.escape_debug();
        bytes(archive, name, most).map_err(|why| bad(format!("`{shown}` of the archive: {why}")))
    };
    if names.iter().any(|name| *name == format!("{top}byteorder"))
        && entry(&mut archive, &format!("{top}byteorder"), 16)? != b"little"
    {
        return Err(bad("its numbers are big endian: save it anew on a usual machine".into()));
    }
    let program = entry(&mut archive, &format!("{top}data.pkl"), MAX_PICKLE)?;
    let pickle = Pickle::load(&program, state_dict::known).map_err(|e| bad(storages::refused(&e)))?;
    storages::tensors(&pickle, path, length, device, Format::TorchArchive, |key, size| {
        entry(&mut archive, &format!("{top}data/{key}"), size).map(Cow::from)
    })
}

/// The bytes of an entry, of which there may be `most`.
fn bytes(archive: &mut Archive, name: &str, most: u64) -> Result<Vec<u8>, String> {
    let entry = archive.by_name(name).map_err(|e| e.to_string())?;
    if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
        return Err("it is compressed or encrypted, which torch.save never does".into());
    }
    if entry.size() > most {
        return Err(format!("it has {} bytes, where at most {most} are expected", entry.size()));
    }
    let mut bytes = Vec::new();
    // a header may say what it likes: memory follows the bytes that come
    entry.take(most).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}
