//! The folder that downloads are stored in.

use crate::{Error, Result};
use std::path::PathBuf;

/// Where downloads go, and are looked for: `$XDG_CACHE_HOME/flat-data`, else `~/.cache/flat-data`.
///
/// # Errors
/// [`Error::NoCacheDir`] if neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
pub fn cache_dir() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    cache.map(|dir| dir.join("flat-data")).ok_or(Error::NoCacheDir)
}
