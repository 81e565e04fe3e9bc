//! Tensors out of the storages of a PyTorch file, each of which is read once.

use super::state_dict::{self, Described};
use super::{Format, Tensors, WeightsFile, bad};
use crate::adopt::of_optimizer;
use crate::{Result, TensorFile};
use candle_core::Device;
use flat_core::memory;
use flat_pickle::{Error, Fault, Pickle};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// How often the bytes of a file may be used by its tensors, which may share them.
const MAX_SHARED: u64 = 8;
/// Tensors that take less are read without a look at the free memory.
const SMALL: u64 = 64 << 20;

/// What is wrong with a pickle that could not be read.
pub(super) fn refused(error: &Error) -> String {
    match &error.fault {
        Fault::Unknown { name } => format!(
            "it holds an object of `{name}`, and no code of a file is run: in Python save the weights alone, \
             torch.save(model.state_dict(), NEW)"
        ),
        _ => format!("its description of the tensors is damaged ({error}): copy or download it again"),
    }
}

/// Refuses what would not fit into memory: tensors of so many bytes, and as many beside them while they are read.
pub(super) fn check_memory(bytes: u64) -> Result<(), String> {
    let needed = bytes.saturating_mul(2);
    match memory::available().filter(|free| needed > *free) {
        None => Ok(()),
        Some(free) => {
            let [needed, free] = [needed, free].map(memory::in_words);
            Err(format!("reading it takes {needed} of memory, {free} are free"))
        }
    }
}

/// The tensors that `pickle` describes, but for an optimizer's state. `storage` gives the bytes of one by its name and
/// its number of bytes. `length` is that of the file.
pub(super) fn tensors<'b>(
    pickle: &Pickle<'_>,
    path: &Path,
    length: u64,
    device: &Device,
    format: Format,
    mut storage: impl FnMut(&str, u64) -> Result<Cow<'b, [u8]>>,
) -> Result<WeightsFile> {
    let bad = |reason: String| bad(path, reason);
    let described = state_dict::tensors(pickle).map_err(bad)?;
    let mut found = Found { notes: Vec::new(), dtypes: BTreeMap::new(), tensors: Tensors::new() };
    let wanted = found.chosen(described);
    let needed = needed(&wanted).map_err(bad)?;
    if needed > length.saturating_mul(MAX_SHARED) {
        return Err(bad("its tensors share their bytes too often: clone them before torch.save".into()));
    }
    if needed > SMALL {
        check_memory(needed).map_err(bad)?;
    }
    for ((key, _, _), tensors) in wanted {
        let size = tensors.first().map_or(0, |(_, d)| d.size.saturating_mul(d.stored));
        let bytes = storage(key, size)?;
        if bytes.len() as u64 != size {
            return Err(bad(format!("storage `{}` has {} bytes in place of {size}", key.escape_debug(), bytes.len())));
        }
        for (name, described) in tensors {
            if let Some(dtype) = described.dtype {
                found.tensors.insert(name, described.view.tensor(&bytes, dtype, device)?);
            }
        }
    }
    let file = TensorFile::new(found.tensors, BTreeMap::new());
    Ok(WeightsFile { format, file, notes: found.notes, dtypes: found.dtypes })
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
