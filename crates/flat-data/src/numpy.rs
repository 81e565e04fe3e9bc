//! The integer element types of NumPy arrays.

use crate::Fault;

/// The type of an array's elements: integers of 1, 2, 4 or 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dtype {
    pub(crate) signed: bool,
    pub(crate) bytes: usize,
    pub(crate) big_endian: bool,
}

impl Dtype {
    /// The type of a NumPy name such as `u1` or `i8`.
    pub(crate) fn named(name: &[u8]) -> Result<Self, Fault> {
        let (signed, bytes) = match name {
            [b'u', bytes @ (b'1' | b'2' | b'4' | b'8')] => (false, bytes),
            [b'i', bytes @ (b'1' | b'2' | b'4' | b'8')] => (true, bytes),
            _ => {
                let name: String = String::from_utf8_lossy(name).escape_debug().take(20).collect();
                return Err(Fault::Decode(format!("pickle: elements of type `{name}` are not read, integers are")));
            }
        };
        Ok(Self { signed, bytes: usize::from(bytes - b'0'), big_endian: false })
    }

    /// The same in the byte order `<`, `>`, `=` or `|` (of single bytes).
    pub(crate) fn ordered(self, order: &[u8]) -> Result<Self, Fault> {
        match order {
            b"<" | b"=" | b"|" => Ok(Self { big_endian: false, ..self }),
            b">" => Ok(Self { big_endian: true, ..self }),
            _ => Err(Fault::Decode("pickle: an element type of no byte order".into())),
        }
    }

    /// The numbers in `data`.
    pub(crate) fn integers(self, data: &[u8]) -> Result<Vec<i64>, Fault> {
        let elements = data.chunks_exact(self.bytes);
        if !elements.remainder().is_empty() {
            return Err(Fault::Decode("pickle: an array ends in the middle of an element".into()));
        }
        let integer = |bytes: &[u8]| {
            let step = |n: u64, &b: &u8| n << 8 | u64::from(b);
            let n = if self.big_endian { bytes.iter().fold(0, step) } else { bytes.iter().rev().fold(0, step) };
            let unused = 64 - 8 * self.bytes as u32;
            match self.signed {
                true => Some((n << unused) as i64 >> unused),
                false => i64::try_from(n).ok(),
            }
        };
        let all: Option<Vec<i64>> = elements.map(integer).collect();
        all.ok_or_else(|| Fault::Decode("pickle: an integer of more than 63 bits".into()))
    }
}
