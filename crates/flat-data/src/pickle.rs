//! What a pickle of images holds: plain data and NumPy arrays, whose calls are interpreted here.

use std::borrow::Cow;

use crate::error::Wrong;
use crate::numpy::Dtype;
use crate::{Fault, Place};
use flat_pickle::{Name, Pickle, Value};

/// Most dimensions of an array; images have four.
const MAX_SIDES: usize = 4;
/// Most bytes of a number or of the name of a type.
const MAX_SMALL: usize = 16;

/// The names that arrays are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callable {
    /// `numpy.core.multiarray._reconstruct`: an array to be filled in.
    Reconstruct,
    /// `numpy.ndarray`, an argument of the former.
    NdArray,
    /// `numpy.dtype`.
    Dtype,
    /// `numpy.core.numeric._frombuffer`: an array of bytes.
    FromBuffer,
    /// `numpy.core.multiarray.scalar`.
    Scalar,
    /// `_codecs.encode`: how Python 3 writes `bytes` in protocol 2, as Latin-1 text.
    Encode,
}

impl Callable {
    fn named(Name { module, name }: Name<'_>) -> Option<Self> {
        // NumPy 2 renamed `core`
        match (module.strip_prefix("numpy._core.").or(module.strip_prefix("numpy.core.")), name) {
            (Some("multiarray"), "_reconstruct") => Some(Self::Reconstruct),
            (Some("multiarray"), "scalar") => Some(Self::Scalar),
            (Some("numeric"), "_frombuffer") => Some(Self::FromBuffer),
            (None, "ndarray") if module == "numpy" => Some(Self::NdArray),
            (None, "dtype") if module == "numpy" => Some(Self::Dtype),
            (None, "encode") if module == "_codecs" => Some(Self::Encode),
            _ => None,
        }
    }
}

/// An array of integers.
#[derive(Debug)]
pub(crate) struct Array<'p> {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Cow<'p, [u8]>,
}

fn wrong<T>(why: &str) -> Result<T, Fault> {
    Err(Fault::Decode(format!("pickle: {why}")))
}

/// Reads a program that names nothing but what arrays are made with.
pub(crate) fn load(bytes: &[u8]) -> Result<Pickle<'_>, Wrong> {
    let known = |name: Name<'_>| Callable::named(name).is_some();
    Pickle::load(bytes, known).map_err(|e| {
        let fault = match e.fault {
            flat_pickle::Fault::Truncated { expected } => Fault::Truncated { expected },
            flat_pickle::Fault::Trailing => Fault::Trailing,
            flat_pickle::Fault::TooLong { limit } => {
                Fault::TooLarge { what: "the number of pickle instructions", found: limit + 1, limit }
            }
            unknown @ flat_pickle::Fault::Unknown { .. } => {
                Fault::Decode(format!("pickle: {unknown}: no batch of images needs it"))
            }
            fault => Fault::Decode(format!("pickle: {fault}")),
        };
        Wrong(Place::Offset(e.at), fault)
    })
}

/// The bytes of a string of any sort; `None` where there are more than `most`.
pub(crate) fn bytes<'p>(pickle: &'p Pickle<'_>, value: Value<'p>, most: usize) -> Option<Cow<'p, [u8]>> {
    let plain = match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) => text.as_bytes(),
        _ => match pickle.made(value)? {
            (made, [Value::Text(text), ..]) if Callable::named(made.name) == Some(Callable::Encode) => {
                // a character above 127 takes two bytes of UTF-8
                let short = text.len() <= most.saturating_mul(2);
                let latin1 = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
                return short
                    .then(|| latin1(text))
                    .flatten()
                    .map(Cow::Owned)
                    .filter(|b: &Cow<'_, [u8]>| b.len() <= most);
            }
            _ => return None,
        },
    };
    (plain.len() <= most).then_some(Cow::Borrowed(plain))
}

/// An integer, of Python or of NumPy.
pub(crate) fn integer(pickle: &Pickle<'_>, value: Value<'_>) -> Option<i64> {
    if let Value::Int(n) = value {
        return Some(n);
    }
    let (made, [of, data, ..]) = pickle.made(value)? else { return None };
    if Callable::named(made.name) != Some(Callable::Scalar) {
        return None;
    }
    let numbers = dtype(pickle, *of).ok()?.integers(&bytes(pickle, *data, MAX_SMALL)?).ok()?;
    <[i64; 1]>::try_from(numbers).ok().map(|[n]| n)
}

fn dtype(pickle: &Pickle<'_>, value: Value<'_>) -> Result<Dtype, Fault> {
    let small = |value: &Value<'_>| bytes(pickle, *value, MAX_SMALL).unwrap_or_default().into_owned();
    match pickle.made(value) {
        Some((made, [name, ..])) if Callable::named(made.name) == Some(Callable::Dtype) => {
            let dtype = Dtype::named(&small(name))?;
            match made.state.and_then(|state| pickle.items(state)) {
                Some([_, order, ..]) => dtype.ordered(&small(order)),
                _ => Ok(dtype),
            }
        }
        _ => wrong("an array without an element type"),
    }
}

/// The array that a value is, whose data are as long as its shape says; `None` where the value is none.
pub(crate) fn array<'p>(pickle: &'p Pickle<'_>, value: Value<'_>, most: usize) -> Option<Result<Array<'p>, Fault>> {
    let (made, arguments) = pickle.made(value)?;
    let filled = made.state.and_then(|state| pickle.items(state));
    let (shape, of, fortran, data) = match (Callable::named(made.name)?, arguments, filled) {
        (Callable::Reconstruct, [Value::Name(array), ..], Some([_, shape, dtype, fortran, data])) => {
            match Callable::named(*array) {
                Some(Callable::NdArray) => (*shape, *dtype, *fortran == Value::Bool(true), *data),
                _ => return Some(wrong("an array of another kind than NumPy's")),
            }
        }
        (Callable::FromBuffer, [data, dtype, shape, order], _) => {
            (*shape, *dtype, bytes(pickle, *order, 1).as_deref() == Some(b"F"), *data)
        }
        (Callable::Reconstruct | Callable::FromBuffer, _, _) => return Some(wrong("an array without its parts")),
        (Callable::NdArray | Callable::Dtype | Callable::Scalar | Callable::Encode, _, _) => return None,
    };
    Some(filled_in(pickle, shape, of, fortran, data, most))
}

fn filled_in<'p>(
    pickle: &'p Pickle<'_>,
    shape: Value<'p>,
    of: Value<'p>,
    fortran: bool,
    data: Value<'p>,
    most: usize,
) -> Result<Array<'p>, Fault> {
    let dtype = dtype(pickle, of)?;
    let Some(sides) = pickle.items(shape).filter(|sides| sides.len() <= MAX_SIDES) else {
        return wrong("an array without a usable shape");
    };
    let side = |value: &Value<'_>| match value {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    };
    let Some(shape) = sides.iter().map(side).collect::<Option<Vec<u64>>>() else {
        return wrong("the shape of an array is not of numbers");
    };
    if fortran && shape.len() > 1 {
        return wrong("an array lies column by column: save it after numpy.ascontiguousarray");
    }
    let Some(data) = bytes(pickle, data, most) else { return wrong("an array without data, or of Python objects") };
    let expected = shape.iter().try_fold(dtype.bytes as u64, |n, &side| n.checked_mul(side));
    if expected != Some(data.len() as u64) {
        return wrong(&format!("an array of shape {shape:?} has {} bytes of data", data.len()));
    }
    Ok(Array { dtype, shape, data })
}
