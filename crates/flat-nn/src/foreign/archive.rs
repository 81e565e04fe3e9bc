//! The zip archive that `torch.save` writes: `NAME/data.pkl` describes tensors, `NAME/data/KEY` are their storages.

use super::state_dict::{self, Described};
use super::{Format, Tensors, WeightsFile, bad};
use crate::adopt::of_optimizer;
use crate::{Error, Result, TensorFile};
use candle_core::Device;
use flat_core::{file, memory};
use flat_pickle::{Fault, Pickle};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// Most bytes of the pickle: names, shapes and plain values alone.
const MAX_PICKLE: u64 = 64 << 20;
/// How often the bytes of a file may be used by its tensors, which may share them.
const MAX_SHARED: u64 = 8;
/// Tensors that take less are read without a look at the free memory.
const SMALL: u64 = 64 << 20;

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
    let pickle = Pickle::load(&program, state_dict::known).map_err(|e| {
        bad(match e.fault {
            Fault::Unknown { name } => format!(
                "it holds an object of `{name}`, and no code of a file is run: in Python save the weights alone, \
                 torch.save(model.state_dict(), NEW)"
            ),
            _ => format!("data.pkl of the archive is damaged ({e}): copy or download it again"),
        })
    })?;
    let described = state_dict::tensors(&pickle).map_err(bad)?;
    let mut found = Found { notes: Vec::new(), dtypes: BTreeMap::new(), tensors: Tensors::new() };
    let wanted = found.chosen(described);
    let needed = needed(&wanted).map_err(bad)?;
    if needed > length.saturating_mul(MAX_SHARED) {
        return Err(bad("its tensors share their bytes too often: clone them before torch.save".into()));
    }
    if let Some(free) = memory::available().filter(|free| needed > SMALL && needed.saturating_mul(2) > *free) {
        let [needed, free] = [needed.saturating_mul(2), free].map(memory::in_words);
        return Err(bad(format!("reading it takes {needed} of memory, {free} are free")));
    }
    for ((key, _, _), tensors) in wanted {
        let size = tensors.first().map_or(0, |(_, d)| d.size.saturating_mul(d.stored));
        let storage = entry(&mut archive, &format!("{top}data/{key}"), size)?;
        if storage.len() as u64 != size {
            return Err(bad(format!(
                "storage `{}` has {} bytes in place of {size}",
                key.escape_debug(),
                storage.len()
            )));
        }
        for (name, described) in tensors {
            if let Some(dtype) = described.dtype {
                found.tensors.insert(name, described.view.tensor(&storage, dtype, device)?);
            }
        }
    }
    let file = TensorFile::new(found.tensors, BTreeMap::new());
    Ok(WeightsFile { format: Format::TorchArchive, file, notes: found.notes, dtypes: found.dtypes })
}

/// Tensors by storage: its name, bytes of an element, and elements.
type ByStorage<'a> = BTreeMap<(&'a str, u64, u64), Vec<(String, Described<'a>)>>;

struct Found {
    notes: Vec<String>,
    dtypes: BTreeMap<String, usize>,
    tensors: Tensors,
}

impl Found {
    /// The tensors to read, by storage, so that each is read once; what is left out is noted.
    fn chosen<'a>(&mut self, described: BTreeMap<String, Described<'a>>) -> ByStorage<'a> {
        let (mut optimizer, mut unread, mut wanted) = (0, Vec::new(), ByStorage::new());
        for (name, tensor) in described {
            match tensor.dtype {
                _ if of_optimizer(&name) => optimizer += 1,
                None => unread.push(name),
                Some(dtype) => {
                    *self.dtypes.entry(dtype.as_str().to_string()).or_insert(0) += 1;
                    let place = (tensor.storage, tensor.size, tensor.stored);
                    wanted.entry(place).or_default().push((name, tensor));
                }
            }
        }
        if optimizer > 0 {
            self.notes.push(format!("{optimizer} tensors of an optimizer's state are left out"));
        }
        if let Some(first) = unread.first() {
            let n = unread.len();
            self.notes
                .push(format!("{n} tensors have an element type that is not read, as `{}`", first.escape_debug()));
        }
        wanted
    }
}

/// Bytes of all tensors.
fn needed(wanted: &ByStorage<'_>) -> Result<u64, String> {
    let mut needed = 0u64;
    for (name, tensor) in wanted.values().flatten() {
        let count =
            tensor.view.count(tensor.stored).map_err(|why| format!("tensor `{}`: {why}", name.escape_debug()))?;
        needed = needed.saturating_add(count.saturating_mul(tensor.size));
    }
    Ok(needed)
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
