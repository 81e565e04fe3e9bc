//! NumPy's `.npy`: a header of text and the numbers of an array.

/// What the header of an array says.
#[derive(Debug, Clone)]
struct Header {
    shape: Vec<usize>,
    kind: u8,
    size: usize,
    big_endian: bool,
    /// Where the numbers begin.
    start: usize,
    /// Bytes of the file.
    total: usize,
}

/// An array of numbers, in the order of C.
#[derive(Debug)]
pub(super) struct Npy {
    header: Header,
    bytes: Vec<u8>,
}

/// Most bytes of a header, with what stands before.
pub(super) const MAX_HEADER: usize = 1 << 16;

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let version = bytes.strip_prefix(b"\x93NUMPY").and_then(|rest| rest.first()).copied();
        let number =
            |n: usize| bytes.get(8..8 + n).map(|b| b.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b)));
        let (at, length) = match version {
            Some(1) => (10, number(2)),
            Some(2 | 3) => (12, number(4)),
            _ => return Err("it is no array of NumPy".into()),
        };
        let header = length.filter(|n| *n <= MAX_HEADER - 12).and_then(|n| bytes.get(at..at + n));
        let header = header.ok_or("its header is cut short")?;
        let start = at + header.len();
        let header = String::from_utf8_lossy(header).into_owned();
        let value = |key: &str| Some(header.split_once(&format!("'{key}':"))?.1.trim_start());
        let descr = value("descr").ok_or("its header has no `descr`")?;
        let descr = descr.strip_prefix('\'').and_then(|rest| rest.split('\'').next());
        let descr = descr.ok_or("it is an array of records, which is not read: save plain numbers")?;
        if descr.contains('O') {
            return Err("it holds Python objects (a pickle), which are never read: save plain numbers".into());
        }
        if value("fortran_order").is_none_or(|v| !v.starts_with("False")) {
            return Err("its order is Fortran's: save numpy.ascontiguousarray of it".into());
        }
        let sides = value("shape").and_then(|v| v.strip_prefix('(')).and_then(|v| v.split(')').next());
        let sides = sides.ok_or("its header has no `shape`")?.split(',').map(str::trim).filter(|side| !side.is_empty());
        let shape: Option<Vec<usize>> = sides.map(|side| side.parse().ok()).collect();
        let shape = shape.ok_or("its shape is no list of sizes")?;
        let (order, kind, size) = match descr.as_bytes() {
            [order, kind, size @ ..] => (*order, *kind, std::str::from_utf8(size).ok().and_then(|s| s.parse().ok())),
            _ => (0, 0, None),
        };
        let known = matches!((kind, size), (b'u' | b'i', Some(1 | 2 | 4 | 8)) | (b'f', Some(4 | 8)) | (b'b', Some(1)));
        let Some(size) = size.filter(|_| known && matches!(order, b'<' | b'>' | b'|' | b'=')) else {
            let descr: String = descr.escape_debug().take(20).collect();
            return Err(format!("its numbers are of type `{descr}`: integers, bool, float32 and float64 are read"));
        };
        let count =
            shape.iter().try_fold(size, |n: usize, side| n.checked_mul(*side)).and_then(|n| n.checked_add(start));
        let total = count.ok_or_else(|| format!("its shape {shape:?} is more than any file holds"))?;
        Ok(Self { shape, kind, size, big_endian: order == b'>', start, total })
    }
}

impl Npy {
    /// Whether a file of so many bytes can be the array whose first bytes these are: asked before the rest is inflated.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(super) fn fits(head: &[u8], bytes: u64) -> Result<(), String> {
        let Header { shape, size, start, total, .. } = Header::parse(head)?;
        if total as u64 != bytes {
            let follow = bytes.saturating_sub(start as u64);
            return Err(format!("its shape is {shape:?} of {size} bytes each, and {follow} bytes follow"));
        }
        Ok(())
    }

    /// The array in the bytes of a file.
    ///
    /// # Errors
    /// Says what is wrong: no array, objects, an order or a type that is not read, bytes that the shape does not have.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        Self::fits(&bytes, bytes.len() as u64)?;
        Ok(Self { header: Header::parse(&bytes)?, bytes })
    }

    /// Its sizes, the last one the fastest.
    pub(super) fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Whether the numbers are bytes, which need no conversion.
    pub(super) fn is_bytes(&self) -> bool {
        (self.header.kind, self.header.size) == (b'u', 1)
    }

    /// Whether the numbers are floating point.
    pub(super) fn is_float(&self) -> bool {
        self.header.kind == b'f'
    }

    /// The numbers of an array of bytes.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.header.start);
        self.bytes
    }

    /// The numbers one by one.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> + '_ {
        let Header { kind, size, big_endian, start, .. } = self.header;
        self.bytes[start..].chunks_exact(size).map(move |element| {
            let step = |n: u64, &b: &u8| n << 8 | u64::from(b);
            let n = if big_endian { element.iter().fold(0, step) } else { element.iter().rev().fold(0, step) };
            match (kind, size) {
                (b'f', 4) => f64::from(f32::from_bits(n as u32)),
                (b'f', _) => f64::from_bits(n),
                (b'i', size) => {
                    let unused = 64 - 8 * size as u32;
                    ((n << unused) as i64 >> unused) as f64
                }
                _ => n as f64,
            }
        })
    }
}
