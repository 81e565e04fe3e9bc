//! The stack machine.

use crate::{Error, Fault, Made, Name, Object, Pickle, Value};
use std::collections::HashMap;

/// Most instructions carried out. A batch of images takes five an image, a tensor of a checkpoint some forty.
pub const MAX_STEPS: usize = 1 << 21;

impl<'a> Pickle<'a> {
    /// Carries out the program in `bytes`; `known` says of a class or function whether it may be named.
    ///
    /// # Errors
    /// A program that ends too early, is damaged, or names what is not known. The time is linear in the length of `bytes`.
    pub fn load(bytes: &'a [u8], known: impl Fn(Name<'_>) -> bool) -> Result<Self, Error> {
        match Self::load_first(bytes, known)? {
            (pickle, []) => Ok(pickle),
            (_, rest) => Err(Error { at: (bytes.len() - rest.len()) as u64, fault: Fault::Trailing }),
        }
    }

    /// [`Self::load`] of the program that `bytes` begin with, and what follows it.
    ///
    /// # Errors
    /// As there, but for what follows.
    pub fn load_first(bytes: &'a [u8], known: impl Fn(Name<'_>) -> bool) -> Result<(Self, &'a [u8]), Error> {
        let mut machine = Machine {
            bytes,
            known,
            pos: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            pickle: Self { top: Value::None, objects: Vec::new() },
        };
        for _ in 0..MAX_STEPS {
            let start = machine.pos as u64;
            let wrong = |fault| Error { at: start, fault };
            if machine.step().map_err(wrong)? {
                let top = machine.pop().map_err(wrong)?;
                return Ok((Self { top, ..machine.pickle }, &bytes[machine.pos..]));
            }
        }
        Err(Error { at: machine.pos as u64, fault: Fault::TooLong { limit: MAX_STEPS as u64 } })
    }
}

struct Machine<'a, K> {
    bytes: &'a [u8],
    /// Whether a class or function may be named.
    known: K,
    pos: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack that were marked.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    pickle: Pickle<'a>,
}

fn refused<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(why.into()))
}

impl<'a, K: Fn(Name<'_>) -> bool> Machine<'a, K> {
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
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let n = self.number(4)? as u32;
                self.stack.push(Value::Int((n as i32).into()));
            }
            b'G' => {
                let bytes: [u8; 8] = self.take(8)?.try_into().unwrap_or_default();
                self.stack.push(Value::Float(f64::from_be_bytes(bytes)));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
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
            0x8f => self.make(Object::Set(Vec::new())),
            0x91 => {
                let items = self.since_mark()?;
                self.make(Object::Set(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
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
                let top = self.top()?;
                self.memo.insert(next, top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.name(module, name)?,
                _ => return refused("a function's name is no text"),
            },
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            b'Q' => {
                let identity = self.pop()?;
                self.make(Object::Outside(identity));
            }
            other => return refused(format!("opcode {other:#04x} is not read")),
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
    fn long(&mut self, length: usize) -> Result<(), Fault> {
        let bytes = self.counted(length)?;
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { -1 } else { 0 };
        self.stack.push(match bytes.len() {
            0..=8 => Value::Int(bytes.iter().rev().fold(sign, |n: i64, &b| n << 8 | i64::from(b))),
            _ => Value::Long(bytes),
        });
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
            Object::List(items) | Object::Set(items) | Object::Made(Made { items, .. }) => items.extend(more),
            Object::Tuple(_) | Object::Dict(_) | Object::Outside(_) => {
                return refused("what is appended to is no list");
            }
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Value<'a>]) -> Result<(), Fault> {
        if !items.len().is_multiple_of(2) {
            return refused("a key has no value");
        }
        match self.below()? {
            Object::Dict(pairs) | Object::Made(Made { pairs, .. }) => {
                pairs.extend(items.chunks_exact(2).map(|p| (p[0], p[1])))
            }
            Object::List(_) | Object::Tuple(_) | Object::Set(_) | Object::Outside(_) => {
                return refused("what is inserted into is no dict");
            }
        }
        Ok(())
    }

    fn remember(&mut self, length: usize) -> Result<(), Fault> {
        let index = self.number(length)? as u32;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, length: usize) -> Result<(), Fault> {
        let index = self.number(length)? as u32;
        let Some(value) = self.memo.get(&index) else { return refused(format!("nothing was remembered as {index}")) };
        self.stack.push(*value);
        Ok(())
    }

    fn name(&mut self, module: &'a str, name: &'a str) -> Result<(), Fault> {
        let name = Name { module, name };
        if !(self.known)(name) {
            return Err(Fault::Unknown { name: name.to_string().escape_debug().take(80).collect() });
        }
        self.stack.push(Value::Name(name));
        Ok(())
    }

    /// Writes down a call of what is below the arguments on the stack.
    fn call(&mut self) -> Result<(), Fault> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let Value::Name(name) = callable else { return refused("what is called is no function") };
        self.make(Object::Made(Made { name, arguments, state: None, pairs: Vec::new(), items: Vec::new() }));
        Ok(())
    }

    fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        match self.below()? {
            Object::Made(made) => made.state = Some(state),
            _ => return refused("a state that belongs to no object"),
        }
        Ok(())
    }
}
