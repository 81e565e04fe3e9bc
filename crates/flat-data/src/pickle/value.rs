//! The values of a pickle program: plain values, objects that hold others, NumPy arrays.

use crate::Fault;
use crate::numpy::Dtype;

/// Most dimensions of an array; images have four.
const MAX_SIDES: usize = 4;

/// A value of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// `bytes`, or a `str` of Python 2.
    Bytes(&'a [u8]),
    Text(&'a str),
    Callable(Callable),
    /// An index into [`Pickle::objects`].
    Object(usize),
}

/// A value that others hold parts of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object<'a> {
    List(Vec<Value<'a>>),
    Tuple(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Decoded(Vec<u8>),
    Dtype(Dtype),
    Array(Array<'a>),
}

/// The names that a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callable {
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
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
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

/// What a program left: its last value, and the objects that values refer to.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(crate) top: Value<'a>,
    pub(super) objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    pub(crate) fn object(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(i) => self.objects.get(i),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub(crate) fn items(&self, value: Value) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The bytes of a string of any sort.
    pub(crate) fn bytes<'s>(&'s self, value: Value<'a>) -> Option<&'s [u8]> {
        match value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Text(text) => Some(text.as_bytes()),
            _ => match self.object(value)? {
                Object::Decoded(bytes) => Some(bytes),
                _ => None,
            },
        }
    }
}

/// An array whose bytes lie in the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// A string of bytes.
    pub(crate) data: Value<'a>,
}

impl Default for Array<'_> {
    fn default() -> Self {
        let dtype = Dtype { signed: false, bytes: 1, big_endian: false };
        Self { dtype, shape: vec![0], data: Value::Bytes(&[]) }
    }
}

impl<'a> Array<'a> {
    /// The array of these parts, whose data must be as long as the others say.
    pub(crate) fn of(
        pickle: &Pickle<'a>,
        dtype: Value<'a>,
        shape: Value<'a>,
        fortran: bool,
        data: Value<'a>,
    ) -> Result<Self, Fault> {
        let wrong = |why: &str| Err(Fault::Decode(format!("pickle: {why}")));
        let Some(Object::Dtype(dtype)) = pickle.object(dtype) else { return wrong("an array without an element type") };
        let Some(sides) = pickle.items(shape).filter(|sides| sides.len() <= MAX_SIDES) else {
            return wrong("an array without a usable shape");
        };
        let side = |value: &Value| match value {
            Value::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        let Some(shape) = sides.iter().map(side).collect::<Option<Vec<u64>>>() else {
            return wrong("the shape of an array is not of numbers");
        };
        if fortran && shape.len() > 1 {
            return wrong("an array lies column by column: save it after numpy.ascontiguousarray");
        }
        let Some(bytes) = pickle.bytes(data) else { return wrong("an array without data, or of Python objects") };
        let expected = shape.iter().try_fold(dtype.bytes as u64, |n, &side| n.checked_mul(side));
        if expected != Some(bytes.len() as u64) {
            return wrong(&format!("an array of shape {shape:?} has {} bytes of data", bytes.len()));
        }
        Ok(Self { dtype: *dtype, shape, data })
    }
}
