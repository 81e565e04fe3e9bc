//! The archives that CIFAR-10 and CIFAR-100 are distributed in: `cifar-10-python.tar.gz` and the like, read without
//! being unpacked.

use std::path::Path;

use crate::batches::Form;
use crate::python_batch::MAX_BATCH;
use crate::source::Source;
use crate::split::Examples;
use crate::tar::Entry;
use crate::{DatasetKind, Error, Fault, Place, Result};

/// Most bytes that an archive may inflate to: over twice what the largest does.
const MAX_ARCHIVE: u64 = 1 << 29;

/// The training and the test examples of an archive.
pub(crate) fn read(path: &Path, kind: DatasetKind) -> Result<(Examples, Examples)> {
    let mut source = Source::open(path)?;
    let mut seen = Vec::new();
    // each training batch, then the test batch
    let mut batches: Vec<Option<Examples>> = vec![None; Form::Binary.names(kind).0.len() + 1];
    while let Some(entry) = Entry::next(&mut source)? {
        if source.offset().saturating_add(entry.bytes) > MAX_ARCHIVE {
            let found = source.offset().saturating_add(entry.bytes);
            return Err(source.corrupt(Fault::TooLarge { what: "the size of the archive", found, limit: MAX_ARCHIVE }));
        }
        match place(kind, &entry.name).filter(|_| entry.is_file) {
            None => source.skip(entry.bytes)?,
            Some((_, i)) if batches[i].is_some() => {
                return Err(source.corrupt(Fault::Decode(format!("tar: a second {}", entry.name))));
            }
            Some(_) if entry.bytes > MAX_BATCH => {
                let fault = Fault::TooLarge { what: "the size of a batch", found: entry.bytes, limit: MAX_BATCH };
                return Err(source.corrupt(fault));
            }
            Some((form, i)) => {
                let start = source.offset();
                let bytes = source.exactly(entry.bytes)?;
                let examples = form.parse(&bytes, kind).map_err(|mut wrong| {
                    if let Place::Offset(offset) = &mut wrong.0 {
                        *offset += start;
                    }
                    wrong.1 = Fault::Member { name: entry.name.clone(), fault: Box::new(wrong.1) };
                    wrong.of(path)
                })?;
                batches[i] = Some(examples);
            }
        }
        source.skip(entry.padding())?;
        if entry.is_file && seen.len() < 10 {
            seen.push(entry.name.escape_debug().to_string());
        }
    }
    gather(batches, kind).map_err(|missing| {
        let fault = Fault::NoMember { missing, seen: seen.join(", ") };
        Error::corrupt(path, Place::Whole, fault)
    })
}

/// The form of a member, and its place among the batches.
fn place(kind: DatasetKind, name: &str) -> Option<(Form, usize)> {
    Form::ALL.into_iter().find_map(|form| {
        let (train, test) = form.names(kind);
        let place = train.iter().chain([&test]).position(|known| known == name)?;
        Some((form, place))
    })
}

/// The batches as two splits, or the name of the first that is missing.
fn gather(mut batches: Vec<Option<Examples>>, kind: DatasetKind) -> Result<(Examples, Examples), String> {
    let (names, test_name) = Form::Python.names(kind);
    let test = batches.pop().flatten().ok_or(test_name)?;
    // some copies have fewer than five training batches; a gap is no such copy
    let last = batches.iter().rposition(Option::is_some).ok_or_else(|| names[0].clone())?;
    let mut train = (Vec::new(), Vec::new());
    for (batch, name) in batches.into_iter().zip(names).take(last + 1) {
        let (images, labels) = batch.ok_or(name)?;
        train.0.extend(images);
        train.1.extend(labels);
    }
    Ok((train, test))
}
