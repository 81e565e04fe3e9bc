//! Weights in several files: the index, a JSON file, names for each tensor the file that holds it.

use super::{Format, WeightsFile, bad};
use crate::{Result, TensorFile};
use candle_core::Device;
use flat_core::file;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Most bytes of an index.
const MAX_INDEX: u64 = 32 << 20;
/// Most files of shards.
const MAX_SHARDS: usize = 1024;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Whether a file is called as indexes are.
pub(super) fn is_index(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".index.json"))
}

/// Reads all shards beside an index.
pub(super) fn read(path: &Path, device: &Device) -> Result<WeightsFile> {
    let bad = |reason: String| bad(path, reason);
    let bytes = file::read(path, MAX_INDEX).map_err(|source| crate::Error::Io { path: path.to_path_buf(), source })?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|e| bad(format!("it is no index of shards ({e}): a weight_map from names to files is expected")))?;
    let files: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if files.len() > MAX_SHARDS {
        return Err(bad(format!("it names {} files, more than {MAX_SHARDS}", files.len())));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut all = WeightsFile::of(Format::Shards, TensorFile::new(BTreeMap::new(), BTreeMap::new()));
    for name in files {
        let plain = Path::new(name).file_name().is_some_and(|last| last == name) && !is_index(Path::new(name));
        if !plain {
            return Err(bad(format!("it names `{}`, which is no file beside it", name.escape_debug())));
        }
        let shard = WeightsFile::read(&folder.join(name), device)?;
        all.notes.extend(shard.notes);
        shard.dtypes.into_iter().for_each(|(dtype, n)| *all.dtypes.entry(dtype).or_insert(0) += n);
        for (tensor, value) in shard.file.tensors {
            if index.weight_map.get(&tensor).is_none_or(|file| file != name) {
                let tensor = tensor.escape_debug();
                return Err(bad(format!("`{name}` holds `{tensor}`, which the index does not place there")));
            }
            all.file.tensors.insert(tensor, value);
        }
    }
    match index.weight_map.keys().find(|name| !all.file.tensors.contains_key(*name)) {
        Some(missing) => Err(bad(format!("`{}` is in no file that the index names", missing.escape_debug()))),
        None => Ok(all),
    }
}
