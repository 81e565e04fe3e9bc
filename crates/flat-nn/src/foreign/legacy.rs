//! What `torch.save` wrote before PyTorch 1.6, and still writes with `_use_new_zipfile_serialization=False`.
//!
//! Pickles come one after the other: a mark, a version, the machine, the object, the storages' names. The storages' bytes follow.

use super::{Format, WeightsFile, bad, state_dict, storages};
use crate::{Error, Result};
use candle_core::Device;
use flat_core::file;
use flat_pickle::{Pickle, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// How such a file begins: protocol 2 of pickle, and the first bytes of a number of ten.
pub(super) const START: [u8; 7] = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c];
/// The version of the format, of which there is one.
const VERSION: i64 = 1001;

/// Reads the tensors of such a file, but for an optimizer's state.
pub(super) fn read(path: &Path, device: &Device) -> Result<WeightsFile> {
    let bad = |reason: String| bad(path, reason);
    let io = |source| Error::Io { path: path.to_path_buf(), source };
    let mut source = file::open(path).map_err(io)?;
    let length = source.metadata().map_err(io)?.len();
    storages::check_memory(length).map_err(bad)?;
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).map_err(io)?;
    let next = |bytes| Pickle::load_first(bytes, state_dict::known).map_err(|e| bad(storages::refused(&e)));
    let (_, rest) = next(&bytes)?;
    let (version, rest) = next(rest)?;
    if version.top != Value::Int(VERSION) {
        return Err(bad(format!("it has PyTorch's old format in a version other than {VERSION}: save it anew")));
    }
    let (machine, rest) = next(rest)?;
    let is_little =
        |(key, value): &(Value<'_>, _)| key.as_text() == Some("little_endian") && *value == Value::Bool(true);
    if !machine.pairs(machine.top).is_some_and(|pairs| pairs.iter().any(is_little)) {
        return Err(bad("its numbers are big endian: save it anew on a usual machine".into()));
    }
    let (pickle, rest) = next(rest)?;
    let (keys, rest) = next(rest)?;
    let sizes: BTreeMap<_, _> =
        state_dict::tensors(&pickle).map_err(bad)?.into_values().map(|d| (d.storage, d.size)).collect();
    let places = places(&keys, rest, &sizes).map_err(bad)?;
    storages::tensors(&pickle, path, length, device, Format::TorchLegacy, |key, _| {
        let missing = || bad(format!("it has no bytes of storage `{}`", key.escape_debug()));
        places.get(key).map(|bytes| Cow::from(*bytes)).ok_or_else(missing)
    })
}

/// The bytes of each storage: in the order of `keys`, each after its number of elements, whose bytes `sizes` gives.
fn places<'a>(
    keys: &Pickle<'a>,
    mut rest: &'a [u8],
    sizes: &BTreeMap<&str, u64>,
) -> Result<BTreeMap<&'a str, &'a [u8]>, String> {
    let mut places = BTreeMap::new();
    for key in keys.items(keys.top).ok_or("it has no list of storages")? {
        let key = key.as_text().ok_or("a storage has no name")?;
        let size = sizes.get(key).ok_or_else(|| format!("storage `{}` belongs to no tensor", key.escape_debug()))?;
        let (count, after) = rest.split_first_chunk().ok_or("it is cut short: copy or download it again")?;
        let end = usize::try_from(u64::from_le_bytes(*count).saturating_mul(*size)).unwrap_or(usize::MAX);
        let (bytes, after) = after.split_at_checked(end).ok_or("it is cut short: copy or download it again")?;
        if places.insert(key, bytes).is_some() {
            return Err(format!("it has two storages of the name `{}`", key.escape_debug()));
        }
        rest = after;
    }
    Ok(places)
}
