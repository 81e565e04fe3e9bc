//! The Python batch files of CIFAR-10 and CIFAR-100: a pickled dict. Its `data` is an array `(n, 3072)` of bytes,
//! each row the red, green and blue plane of a 32x32 image. Its `labels` (CIFAR-100: `fine_labels`) are a list of
//! integers.

use std::path::Path;

use crate::error::Wrong;
use crate::idx::MAX_EXAMPLES;
use crate::pickle::{array, bytes, integer, load};
use crate::source::whole;
use crate::split::Examples;
use crate::{DatasetKind, Fault, Place, Result};
use flat_pickle::{Object, Pickle, Value};

/// Most bytes of a batch that are read: the largest, CIFAR-100's 50,000 images as Latin-1 text in UTF-8, takes 235 MB.
pub(crate) const MAX_BATCH: u64 = 1 << 28;

/// Most bytes of a key that an error shows.
const MAX_KEY: usize = 200;

/// Images and labels of one batch file.
pub(crate) fn read_python_batch(path: &Path, kind: DatasetKind) -> Result<Examples> {
    parse_python_batch(&whole(path, MAX_BATCH)?, kind).map_err(|wrong| wrong.of(path))
}

/// Images and labels in the bytes of a batch file.
pub(crate) fn parse_python_batch(bytes: &[u8], kind: DatasetKind) -> Result<Examples, Wrong> {
    let pickle = load(bytes)?;
    let images = images(&pickle, kind)?;
    let labels = labels(&pickle, kind)?;
    let n = images.len() / kind.shape().iter().product::<usize>();
    if n != labels.len() {
        return Err(Fault::Count { images: n, labels: labels.len() }.into());
    }
    match n {
        0 => Err(Fault::Empty.into()),
        _ => Ok((images, labels)),
    }
}

fn images(pickle: &Pickle, kind: DatasetKind) -> Result<Vec<u8>, Fault> {
    let unusable = |reason: String| Fault::Column { column: "data".into(), reason };
    let value = entry(pickle, "data")?;
    let Some(array) = array(pickle, value, MAX_BATCH as usize).transpose()? else {
        return Err(unusable("it is no array of NumPy".into()));
    };
    let [channels, height, width] = kind.shape().map(|side| side as u64);
    let sides = match array.shape.as_slice() {
        [n, pixels] if *pixels == channels * height * width => Some(n),
        [n, c, h, w] if [*c, *h, *w] == [channels, height, width] => Some(n),
        _ => None,
    };
    let Some(n) = sides.filter(|_| array.dtype.bytes == 1 && !array.dtype.signed) else {
        return Err(unusable(format!(
            "its shape is {:?} of {} bytes each, where (n, {}) of unsigned bytes is expected",
            array.shape,
            array.dtype.bytes,
            channels * height * width
        )));
    };
    if *n > MAX_EXAMPLES {
        return Err(Fault::TooLarge { what: "the number of images", found: *n, limit: MAX_EXAMPLES });
    }
    Ok(array.data.into_owned())
}

fn labels(pickle: &Pickle, kind: DatasetKind) -> Result<Vec<u16>, Wrong> {
    let column = kind.batches.entry;
    let unusable = || Fault::Column { column: column.into(), reason: "it is no list of integers".into() };
    let value = entry(pickle, column)?;
    let integers: Vec<i64> = match pickle.items(value) {
        Some(items) => {
            let integer = |item: &Value<'_>| integer(pickle, *item).ok_or_else(unusable);
            items.iter().map(integer).collect::<Result<_, _>>()?
        }
        None => {
            let array = array(pickle, value, MAX_BATCH as usize).transpose()?.ok_or_else(unusable)?;
            array.dtype.integers(&array.data)?
        }
    };
    let classes = kind.classes;
    let label = |(i, found): (usize, i64)| match u16::try_from(found) {
        Ok(label) if usize::from(label) < classes => Ok(label),
        _ => Err(Wrong(Place::Row(i), Fault::Label { found, classes })),
    };
    integers.into_iter().enumerate().map(label).collect()
}

/// The value of a key, which Python 2 wrote as bytes and Python 3 may write as text.
fn entry<'a>(pickle: &Pickle<'a>, key: &str) -> Result<Value<'a>, Fault> {
    let Some(Object::Dict(pairs)) = pickle.object(pickle.top) else {
        return Err(Fault::Decode("pickle: it holds no dict, as a batch of images does".into()));
    };
    // the last one counts, as in Python
    let named = |name: Value<'_>| bytes(pickle, name, key.len()).as_deref() == Some(key.as_bytes());
    let found = pairs.iter().rev().find(|(name, _)| named(*name));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names = pairs.iter().take(10).filter_map(|(name, _)| bytes(pickle, *name, MAX_KEY));
        let names: Vec<String> =
            names.map(|name| String::from_utf8_lossy(&name).escape_debug().take(40).collect()).collect();
        Fault::Column { column: key.into(), reason: format!("the keys are {}", names.join(", ")) }
    })
}
