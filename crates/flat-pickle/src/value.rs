//! The values of a pickle program: plain values, objects that hold others, calls that were not carried out.

/// A value of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A longer integer: little endian, two's complement.
    Long(&'a [u8]),
    /// A number of double precision.
    Float(f64),
    /// `bytes`, or a `str` of Python 2.
    Bytes(&'a [u8]),
    /// A `str`.
    Text(&'a str),
    /// A class or function.
    Name(Name<'a>),
    /// What [`Pickle::object`] gives.
    Object(usize),
}

impl<'a> Value<'a> {
    /// A `str`, of Python 3 or 2.
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// The name of a class or function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Its module.
    pub module: &'a str,
    /// Its name there.
    pub name: &'a str,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// A value that others hold parts of.
#[derive(Debug, Clone, PartialEq)]
pub enum Object<'a> {
    /// A `list`.
    List(Vec<Value<'a>>),
    /// A `tuple`.
    Tuple(Vec<Value<'a>>),
    /// A `dict`, in the order of insertion; of equal keys the last counts.
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// A `set`.
    Set(Vec<Value<'a>>),
    /// What a call would give.
    Made(Made<'a>),
    /// What lies outside the program, by the identity that the program gives.
    Outside(Value<'a>),
}

/// A call that was not carried out, and what was done to its result.
#[derive(Debug, Clone, PartialEq)]
pub struct Made<'a> {
    /// The class or function.
    pub name: Name<'a>,
    /// A tuple.
    pub arguments: Value<'a>,
    /// What `__setstate__` would be given.
    pub state: Option<Value<'a>>,
    /// Entries that were put into it.
    pub pairs: Vec<(Value<'a>, Value<'a>)>,
    /// Items that were appended to it.
    pub items: Vec<Value<'a>>,
}

/// What a program left: its last value, and the objects that values refer to.
#[derive(Debug)]
pub struct Pickle<'a> {
    /// The last value.
    pub top: Value<'a>,
    pub(crate) objects: Vec<Object<'a>>,
}

impl<'a> Pickle<'a> {
    /// The object that a value is.
    pub fn object(&self, value: Value<'_>) -> Option<&Object<'a>> {
        match value {
            Value::Object(i) => self.objects.get(i),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub fn items(&self, value: Value<'_>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dict, or of an object that was filled like one.
    pub fn pairs(&self, value: Value<'_>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match self.object(value)? {
            Object::Dict(pairs) | Object::Made(Made { pairs, .. }) => Some(pairs),
            _ => None,
        }
    }

    /// The call that a value is, and its arguments.
    pub fn made(&self, value: Value<'_>) -> Option<(&Made<'a>, &[Value<'a>])> {
        match self.object(value)? {
            Object::Made(made) => Some((made, self.items(made.arguments)?)),
            _ => None,
        }
    }
}
