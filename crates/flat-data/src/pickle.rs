//! Python's pickle format, protocols 2 to 5 (PEP 307, 3154, 574), for plain data and NumPy arrays.
//!
//! A pickle is a program for a stack machine, which in Python may call any function by its name. This machine knows the
//! five functions that arrays are made with (`Callable`) and refuses every other name. It builds values and calls
//! nothing of the reader's. Its memory is bounded by the file's length and [`MAX_STEPS`]: strings are borrowed from the
//! file, and what has to be decoded is at most as long as the file.

mod value;

use std::collections::HashMap;

use crate::error::Wrong;
use crate::numpy::Dtype;
use crate::{Fault, Place};
use value::{Array, Callable};
pub(crate) use value::{Object, Pickle, Value};

/// Most instructions carried out. A batch takes five an image, and no file has more than 2^18 images.
const MAX_STEPS: usize = 1 << 21;

impl<'a> Pickle<'a> {
    /// Carries out the program in `bytes`.
    pub(crate) fn load(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let mut machine = Machine {
            bytes,
            pos: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            pickle: Self { top: Value::None, objects: Vec::new() },
            decoded: 0,
        };
        for _ in 0..MAX_STEPS {
            let start = machine.pos;
            match machine.step() {
                Ok(false) => {}
                Ok(true) if machine.pos == bytes.len() => {
                    let top = machine.pop().map_err(|fault| Wrong(Place::Offset(start as u64), fault))?;
                    return Ok(Self { top, ..machine.pickle });
                }
                Ok(true) => return Err(Wrong(Place::Offset(machine.pos as u64), Fault::Trailing)),
                Err(fault) => return Err(Wrong(Place::Offset(start as u64), fault)),
            }
        }
        let (what, limit) = ("the number of pickle instructions", MAX_STEPS as u64);
        Err(Fault::TooLarge { what, found: limit + 1, limit }.into())
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    pos: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack that were marked.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pickle: Pickle<'a>,
    /// Bytes that were decoded so far.
    decoded: usize,
}

fn refused<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Decode(format!("pickle: {}", why.into())))
}

impl<'a> Machine<'a> {
    /// One instruction; whether it was the last.
    fn step(&mut self) -> Result<bool, Fault> {
        let opcode = self.take(1)?[0];
        match opcode {
            b'.' => return Ok(true),
            0x80 => match self.number(1)? {
                2..=5 => {}
                other => return refused(format!("protocol {other} is not read, 2 to 5 are")),
            },
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let n = self.number(4)? as u32;
                self.stack.push(Value::Int((n as i32).into()));
            }
            0x8a => self.long()?,
            b'U' | b'C' => self.string(1, Value::Bytes)?,
            b'T' | b'B' => self.string(4, Value::Bytes)?,
            0x8e | 0x96 => self.string(8, Value::Bytes)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b']' => self.make(Object::List(Vec::new())),
            b'}' => self.make(Object::Dict(Vec::new())),
            b')' => self.make(Object::Tuple(Vec::new())),
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.since_mark()?;
                self.make(Object::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.insert(&items)?;
            }
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let next = self.memo.len() as u32;
                self.memo.insert(next, self.top()?);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.callable(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.callable(module, name)?,
                _ => return refused("a function's name is no text"),
            },
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            other => return refused(format!("opcode {other:#04x} is not read: no batch of images needs it")),
        }
        Ok(false)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let left = &self.bytes[self.pos..];
        let Some(taken) = left.get(..n) else {
            return Err(Fault::Truncated { expected: (n - left.len()) as u64 });
        };
        self.pos += n;
        Ok(taken)
    }

    /// A little-endian number of 1, 2, 4 or 8 bytes.
    fn number(&mut self, bytes: usize) -> Result<u64, Fault> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn integer(&mut self, bytes: usize) -> Result<(), Fault> {
        let n = self.number(bytes)? as i64;
        self.stack.push(Value::Int(n));
        Ok(())
    }

    /// A two's complement number of its own length.
    fn long(&mut self) -> Result<(), Fault> {
        let n = self.number(1)? as usize;
        let bytes = self.take(n)?;
        if n > 8 {
            return refused("an integer of more than 64 bits");
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { -1 } else { 0 };
        let value = bytes.iter().rev().fold(sign, |n: i64, &b| n << 8 | i64::from(b));
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn counted(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let n = self.number(length)?;
        match usize::try_from(n) {
            Ok(n) => self.take(n),
            Err(_) => Err(Fault::Truncated { expected: n }),
        }
    }

    fn string(&mut self, length: usize, value: impl Fn(&'a [u8]) -> Value<'a>) -> Result<(), Fault> {
        let bytes = self.counted(length)?;
        self.stack.push(value(bytes));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<(), Fault> {
        let bytes = self.counted(length)?;
        let Ok(text) = std::str::from_utf8(bytes) else { return refused("a text is no UTF-8") };
        self.stack.push(Value::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let left = &self.bytes[self.pos..];
        let Some(end) = left.iter().position(|&b| b == b'\n') else { return Err(Fault::Truncated { expected: 1 }) };
        self.pos += end + 1;
        std::str::from_utf8(&left[..end]).or_else(|_| refused("a name is no UTF-8"))
    }

    fn make(&mut self, object: Object<'a>) {
        self.stack.push(Value::Object(self.pickle.objects.len()));
        self.pickle.objects.push(object);
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value<'a>, Fault> {
        match self.stack.len() > self.floor() {
            true => self.stack.pop().map_or_else(|| refused("the stack is empty"), Ok),
            false => refused("the stack is empty"),
        }
    }

    fn top(&self) -> Result<Value<'a>, Fault> {
        match self.stack.last() {
            Some(top) if self.stack.len() > self.floor() => Ok(*top),
            _ => refused("the stack is empty"),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Value<'a>>, Fault> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => refused("no mark is set"),
        }
    }

    fn tuple(&mut self, n: usize) -> Result<(), Fault> {
        let mut items = Vec::with_capacity(n);
        for _ in 0..n {
            items.push(self.pop()?);
        }
        items.reverse();
        self.make(Object::Tuple(items));
        Ok(())
    }

    /// The object at the top of the stack.
    fn below(&mut self) -> Result<&mut Object<'a>, Fault> {
        let Value::Object(i) = self.top()? else { return refused("what is to be filled holds nothing") };
        self.pickle.objects.get_mut(i).map_or_else(|| refused("no such object"), Ok)
    }

    fn append(&mut self, more: Vec<Value<'a>>) -> Result<(), Fault> {
        match self.below()? {
            Object::List(items) => items.extend(more),
            _ => return refused("what is appended to is no list"),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Value<'a>]) -> Result<(), Fault> {
        match self.below()? {
            Object::Dict(pairs) if items.len().is_multiple_of(2) => {
                pairs.extend(items.chunks_exact(2).map(|p| (p[0], p[1])))
            }
            Object::Dict(_) => return refused("a key has no value"),
            _ => return refused("what is inserted into is no dict"),
        }
        Ok(())
    }

    fn remember(&mut self, length: usize) -> Result<(), Fault> {
        let index = self.number(length)? as u32;
        self.memo.insert(index, self.top()?);
        Ok(())
    }

    fn recall(&mut self, length: usize) -> Result<(), Fault> {
        let index = self.number(length)? as u32;
        let Some(value) = self.memo.get(&index) else { return refused(format!("nothing was remembered as {index}")) };
        self.stack.push(*value);
        Ok(())
    }

    fn callable(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        match Callable::named(module, name) {
            Some(callable) => self.stack.push(Value::Callable(callable)),
            None => {
                let name: String = format!("{module}.{name}").escape_debug().take(80).collect();
                return refused(format!("it asks for {name}, which is not called: no batch of images needs it"));
            }
        }
        Ok(())
    }

    /// A copy of the first ten items: no call takes more, and a call that does must not cost more.
    fn few(&self, tuple: Value<'a>) -> Option<Vec<Value<'a>>> {
        Some(self.pickle.items(tuple)?.iter().take(10).copied().collect())
    }

    fn call(&mut self, callable: Value<'a>, arguments: Value<'a>) -> Result<(), Fault> {
        let arguments = self.few(arguments).unwrap_or_default();
        let made = match (callable, arguments.as_slice()) {
            (Value::Callable(Callable::Reconstruct), [Value::Callable(Callable::NdArray), ..]) => {
                Object::Array(Array::default())
            }
            (Value::Callable(Callable::Dtype), [name, ..]) => {
                Object::Dtype(Dtype::named(self.pickle.bytes(*name).unwrap_or_default())?)
            }
            (Value::Callable(Callable::FromBuffer), [data, dtype, shape, order]) => {
                let fortran = self.pickle.bytes(*order) == Some(b"F");
                Object::Array(Array::of(&self.pickle, *dtype, *shape, fortran, *data)?)
            }
            (Value::Callable(Callable::Scalar), [dtype, data]) => {
                let (Some(Object::Dtype(dtype)), Some(data)) = (self.pickle.object(*dtype), self.pickle.bytes(*data))
                else {
                    return refused("a number has no type");
                };
                let value = dtype.integers(data)?;
                let [value] = value.as_slice() else { return refused("a number has not the size of its type") };
                self.stack.push(Value::Int(*value));
                return Ok(());
            }
            (Value::Callable(Callable::Encode), [Value::Text(text), ..]) => Object::Decoded(self.latin1(text)?),
            _ => return refused("a call without the right arguments"),
        };
        self.make(made);
        Ok(())
    }

    /// The bytes whose Latin-1 text this is. All calls together decode no more bytes than the file has.
    fn latin1(&mut self, text: &str) -> Result<Vec<u8>, Fault> {
        self.decoded += text.len();
        if self.decoded > self.bytes.len() {
            return refused("the same text is decoded again and again");
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
        bytes.map_or_else(|| refused("a text of bytes is not Latin-1"), Ok)
    }

    /// Sets the state of the array or element type at the top of the stack.
    fn build(&mut self, state: Value<'a>) -> Result<(), Fault> {
        let Some(state) = self.few(state) else { return refused("a state is no tuple") };
        let filled = match (self.below()?.clone(), state.as_slice()) {
            (Object::Array(_), [_, shape, dtype, fortran, data]) => {
                Object::Array(Array::of(&self.pickle, *dtype, *shape, *fortran == Value::Bool(true), *data)?)
            }
            (Object::Dtype(dtype), [_, order, ..]) => {
                Object::Dtype(dtype.ordered(self.pickle.bytes(*order).unwrap_or_default())?)
            }
            _ => return refused("a state that belongs to no array"),
        };
        *self.below()? = filled;
        Ok(())
    }
}
