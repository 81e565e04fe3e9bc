//! The file names of a data set within one folder, format by format.

use std::fs;
use std::path::{Path, PathBuf};

use crate::batches::Form;
use crate::{DatasetKind, Error, Files, Format, Result};

/// What there is of a data set under one layout.
pub(crate) enum Found {
    Nothing,
    /// Some files, and what is missing.
    Part(String),
    Whole(Files),
}

/// IDX files: `train-images-idx3-ubyte`, or `train-images.idx3-ubyte` as older copies have it; either may be gzipped, or lie in
/// a folder of its own name.
pub(crate) fn idx(kind: DatasetKind, dir: &Path) -> Found {
    let [[train_images, train_labels], [test_images, test_labels]] =
        ["train", "t10k"].map(|split| kind.idx_files(split));
    let parts = [train_images, train_labels, test_images, test_labels];
    let find = |(part, sides): &(String, u8)| {
        let names = ['-', '.'].map(|joint| format!("{part}{joint}idx{sides}-ubyte"));
        let paths = names.iter().flat_map(|name| {
            [
                dir.join(name),
                dir.join(format!("{name}.gz")),
                dir.join(name).join(name),
                dir.join(name).join(format!("{name}.gz")),
            ]
        });
        paths.into_iter().find(|path| path.is_file())
    };
    let found: Vec<Option<PathBuf>> = parts.iter().map(find).collect();
    match found.iter().position(Option::is_none) {
        _ if found.iter().all(Option::is_none) => Found::Nothing,
        Some(missing) => {
            let (part, sides) = &parts[missing];
            Found::Part(format!("{part}-idx{sides}-ubyte or {part}-idx{sides}-ubyte.gz"))
        }
        None => {
            let mut train: Vec<PathBuf> = found.into_iter().flatten().collect();
            let test = train.split_off(2);
            Found::Whole(Files { format: Format::Idx, dir: dir.to_path_buf(), train, test })
        }
    }
}

/// CIFAR's batches; some copies have fewer than five.
pub(crate) fn batches(kind: DatasetKind, form: Form, dir: &Path) -> Found {
    let (train, test) = form.names(kind);
    let test = dir.join(test);
    let train: Vec<PathBuf> = train.into_iter().map(|name| dir.join(name)).collect();
    // a gap is noticed below
    let last = train.iter().rposition(|path| path.is_file());
    if last.is_none() && !test.is_file() {
        return Found::Nothing;
    }
    let train = train[..=last.unwrap_or(0)].to_vec();
    let missing = train.iter().chain([&test]).find(|path| !path.is_file()).map(|path| name(path));
    match missing {
        Some(missing) => Found::Part(missing),
        None => Found::Whole(Files { format: form.format(), dir: dir.to_path_buf(), train, test: vec![test] }),
    }
}

/// CIFAR's archives, gzipped or not.
pub(crate) fn archive(kind: DatasetKind, dir: &Path) -> Found {
    let ends = [".tar.gz", ".tgz", ".tar"];
    let names = Form::ALL.into_iter().flat_map(|form| ends.map(|end| format!("{}{end}", form.archive(kind))));
    match names.map(|name| dir.join(name)).find(|path| path.is_file()) {
        None => Found::Nothing,
        Some(path) => {
            let files = vec![path];
            Found::Whole(Files { format: Format::Archive, dir: dir.to_path_buf(), train: files.clone(), test: files })
        }
    }
}

/// Parquet files: those of the folders `train/` and `test/`, else the files `train-00000-of-00001.parquet` (with a hash at
/// the end or none), or `train.parquet`.
pub(crate) fn parquet(kind: DatasetKind, dir: &Path) -> Result<Found> {
    let mut splits = Vec::new();
    for split in ["train", "test"] {
        let folder = dir.join(split);
        let inside = if folder.is_dir() { parquet_files(&folder)? } else { Vec::new() };
        let beside = || -> Result<Vec<PathBuf>> {
            let mine = |path: &PathBuf| {
                let rest = name(path).strip_prefix(split).map(str::to_string);
                rest.is_some_and(|rest| rest.starts_with('-') || rest == ".parquet")
            };
            Ok(parquet_files(dir)?.into_iter().filter(mine).collect())
        };
        splits.push(if inside.is_empty() && dir.is_dir() { beside()? } else { inside });
    }
    let (test, train) = (splits.pop().unwrap_or_default(), splits.pop().unwrap_or_default());
    match (train.is_empty(), test.is_empty()) {
        (true, true) => return Ok(Found::Nothing),
        (true, false) => return Ok(Found::Part("train/*.parquet or train-*.parquet".into())),
        (false, true) => return Ok(Found::Part("test/*.parquet or test-*.parquet".into())),
        (false, false) => {}
    }
    for shards in [&train, &test] {
        if let Some(missing) = check_shards(kind, dir, shards)? {
            return Ok(Found::Part(missing));
        }
    }
    Ok(Found::Whole(Files { format: Format::Parquet, dir: dir.to_path_buf(), train, test }))
}

/// The parquet files of a folder in the order of their names.
fn parquet_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The first shard that the names of the others say is missing.
fn check_shards(kind: DatasetKind, dir: &Path, shards: &[PathBuf]) -> Result<Option<String>> {
    let numbered: Vec<_> = shards.iter().filter_map(|path| Some((path, shard(path)?))).collect();
    let Some((first, (_, total))) = numbered.first() else { return Ok(None) };
    let mut expected = 0;
    for (path, (index, of)) in &numbered {
        // `train-00000-of-00001-a.parquet` beside `train-00000-of-00001-b.parquet`: two versions of the set
        if of != total || *index < expected {
            let names = [name(first), name(path)];
            return Err(Error::Ambiguous { kind, dir: dir.to_path_buf(), names });
        }
        if *index > expected {
            break;
        }
        expected += 1;
    }
    let whole = total.map_or(numbered.len() as u64, |total| total);
    Ok((expected < whole).then(|| format!("shard {expected} of {whole} of {}", name(first))))
}

/// The number of a shard, from 0, and how many there are where its name says it: `0003`, `train-00003-of-00008-hash`.
fn shard(path: &Path) -> Option<(u64, Option<u64>)> {
    let stem = path.file_stem()?.to_str()?;
    match stem.split('-').collect::<Vec<_>>().as_slice() {
        [index] => Some((index.parse().ok()?, None)),
        [_, index, "of", total, ..] => Some((index.parse().ok()?, Some(total.parse().ok()?))),
        _ => None,
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
