//! A check of a parquet file's page headers before the parquet library acts on them.
//!
//! The library allocates what a page header announces: the inflated size of the page (up to 2 GiB) and the entries of a
//! dictionary; and some encodings hold counts of their own. So every header of a column is read here first, in Thrift's compact protocol, and refused where it
//! announces more than the data sets can need or than its own page can hold.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::Fault;
use crate::idx::MAX_EXAMPLES;

/// Most bytes a page may inflate to. Writers aim at 1 MiB.
const MAX_PAGE: u64 = 64 << 20;
/// Bytes read in the hope of a whole header, and the longest header accepted (statistics can hold whole images).
const WINDOWS: [u64; 2] = [1 << 12, 1 << 18];
/// Fewest bytes a value of a dictionary takes in it.
const DICTIONARY_ENTRY: u64 = 4;
/// The encodings read: plain, plain dictionary, RLE, RLE dictionary. The delta encodings carry counts that the library
/// allocates by, and no known copy of the data sets uses them.
const ENCODINGS: [u64; 4] = [0, 2, 3, 8];
/// Deepest nesting accepted; a page header needs three.
const MAX_DEPTH: usize = 8;

/// Most bytes that the pages of a column chunk may inflate to together: over three times all of CIFAR in one group.
const MAX_CHUNK: u64 = 512 << 20;
/// Most bytes that a chunk inflates to for each that is stored, above [`FREE`]: compressed pictures hardly shrink once more,
/// and the smallest ones, which are mostly headers, do so tenfold.
const RATIO: u64 = 64;
/// Bytes that a chunk may inflate to however few are stored.
const FREE: u64 = 4 << 20;

/// Checks the pages of a column chunk of `len` bytes from `start`.
pub(crate) fn check_pages(file: &mut File, start: u64, len: u64) -> Result<(), (u64, Fault)> {
    let end = start.checked_add(len).ok_or((start, Fault::Truncated { expected: len }))?;
    let limit = len.saturating_mul(RATIO).saturating_add(FREE).min(MAX_CHUNK);
    let (mut at, mut inflated) = (start, 0u64);
    while at < end {
        let (header_len, header) = read_header(file, at, end)?;
        check(&header).map_err(|fault| (at, fault))?;
        inflated = inflated.saturating_add(header.inflated);
        if inflated > limit {
            return Err((at, Fault::TooLarge { what: "the size of a column, inflated,", found: inflated, limit }));
        }
        let page = header_len.saturating_add(header.stored);
        if page > end - at {
            return Err((at, Fault::Truncated { expected: page }));
        }
        at += page;
    }
    Ok(())
}

fn check(header: &Header) -> Result<(), Fault> {
    let limited = |what, found, limit| match found > limit {
        true => Err(Fault::TooLarge { what, found, limit }),
        false => Ok(()),
    };
    limited("the size of a page", header.inflated, MAX_PAGE)?;
    limited("the number of values in a page", header.values, MAX_EXAMPLES)?;
    let entries = (header.inflated / DICTIONARY_ENTRY).min(MAX_EXAMPLES);
    limited("the number of entries of a dictionary", header.entries, entries)?;
    if !ENCODINGS.contains(&header.encoding) {
        let encoding = header.encoding;
        return Err(Fault::Decode(format!("parquet: encoding {encoding} is not read, only plain and dictionary are")));
    }
    Ok(())
}

fn read_header(file: &mut File, at: u64, end: u64) -> Result<(u64, Header), (u64, Fault)> {
    let failed = |e: std::io::Error| (at, Fault::Decode(format!("parquet: {e}")));
    for window in WINDOWS {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        file.take(window.min(end - at)).read_to_end(&mut bytes).map_err(failed)?;
        if let Some(header) = Header::parse(&bytes) {
            return Ok(header);
        }
    }
    Err((at, Fault::Decode("parquet: no page header".into())))
}

/// The numbers of a page header that the reader allocates by; negative ones are taken as huge.
#[derive(Debug, Default, PartialEq)]
struct Header {
    /// Bytes the page takes inflated.
    inflated: u64,
    /// Bytes it takes in the file.
    stored: u64,
    /// Values in a data page.
    values: u64,
    /// Entries in a dictionary page.
    entries: u64,
    /// Encoding of a data page.
    encoding: u64,
}

impl Header {
    /// The header at the start of `bytes` and its length; `None` where there is none, or not all of it.
    fn parse(bytes: &[u8]) -> Option<(u64, Self)> {
        let mut header = Self::default();
        let mut walk = Walk { bytes, pos: 0 };
        let (mut sizes, mut ids) = (0, Vec::new());
        walk.structure(&mut ids, &mut |ids, value| match ids {
            [2] => (header.inflated, sizes) = (value, sizes | 1),
            [3] => (header.stored, sizes) = (value, sizes | 2),
            [5, 1] | [8, 1] => header.values = value,
            [5, 2] | [8, 4] => header.encoding = value,
            [7, 1] => header.entries = value,
            _ => {}
        })?;
        (sizes == 3).then_some((walk.pos as u64, header))
    }
}

/// A walk over a value in Thrift's compact protocol that reports every integer by the field ids that lead to it.
struct Walk<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl Walk<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.pos)?;
        self.pos += 1;
        Some(byte)
    }

    fn skip(&mut self, n: u64) -> Option<()> {
        let left = (self.bytes.len() - self.pos) as u64;
        if n > left {
            return None;
        }
        self.pos += n as usize;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A zigzag integer; a negative one wraps to a huge one.
    fn integer(&mut self) -> Option<u64> {
        let raw = self.varint()?;
        Some((raw >> 1) ^ (raw & 1).wrapping_neg())
    }

    fn structure(&mut self, ids: &mut Vec<i64>, report: &mut dyn FnMut(&[i64], u64)) -> Option<()> {
        if ids.len() >= MAX_DEPTH {
            return None;
        }
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            id = match head >> 4 {
                0 => self.integer()? as i64,
                delta => id.checked_add(i64::from(delta))?,
            };
            ids.push(id);
            if !matches!(head & 0xf, 1 | 2) {
                self.value(head & 0xf, ids, report)?;
            }
            ids.pop();
        }
    }

    fn value(&mut self, kind: u8, ids: &mut Vec<i64>, report: &mut dyn FnMut(&[i64], u64)) -> Option<()> {
        match kind {
            1..=3 => self.skip(1),
            4..=6 => {
                let value = self.integer()?;
                report(ids, value);
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let n = self.varint()?;
                self.skip(n)
            }
            12 => self.structure(ids, report),
            // page headers hold neither lists nor maps
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn varint(mut n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out
    }

    fn zigzag(n: i64) -> Vec<u8> {
        varint(((n << 1) ^ (n >> 63)) as u64)
    }

    /// type, inflated size, stored size, and a struct as field `field` whose first field is `values`.
    fn header(inflated: i64, stored: i64, field: u8, values: i64) -> Vec<u8> {
        let mut out = vec![0x15, 0x00];
        out.extend([vec![0x15], zigzag(inflated), vec![0x15], zigzag(stored)].concat());
        out.extend([vec![(field - 3) << 4 | 12, 0x15], zigzag(values), vec![0, 0]].concat());
        out
    }

    fn checked(bytes: &[u8]) -> Result<(), (u64, Fault)> {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("write");
        check_pages(&mut file, 0, bytes.len() as u64)
    }

    #[test]
    fn a_header_is_read_with_its_length() {
        let bytes = [header(1000, 900, 5, 42), vec![0xaa; 900]].concat();
        let (len, found) = Header::parse(&bytes).expect("header");
        assert_eq!(len as usize + 900, bytes.len());
        assert_eq!(found, Header { inflated: 1000, stored: 900, values: 42, entries: 0, encoding: 0 });
        assert_eq!(checked(&[bytes.as_slice(), &bytes].concat()), Ok(()));
    }

    #[test]
    fn a_page_that_announces_gigabytes_is_refused() {
        let (_, fault) = checked(&[header(1 << 30, 10, 5, 1), vec![0; 10]].concat()).expect_err("page");
        assert_eq!(fault, Fault::TooLarge { what: "the size of a page", found: 1 << 30, limit: MAX_PAGE });
        let (_, fault) = checked(&[header(-1, 10, 5, 1), vec![0; 10]].concat()).expect_err("negative");
        assert!(matches!(fault, Fault::TooLarge { .. }), "{fault}");
    }

    #[test]
    fn a_dictionary_that_announces_more_entries_than_its_page_holds_is_refused() {
        let (_, fault) = checked(&[header(400, 10, 7, 101), vec![0; 10]].concat()).expect_err("dictionary");
        assert!(matches!(fault, Fault::TooLarge { found: 101, limit: 100, .. }), "{fault}");
        assert_eq!(checked(&[header(400, 10, 7, 100), vec![0; 10]].concat()), Ok(()));
        // each takes several times its four bytes in memory, and no more of them than rows have a use
        let many = MAX_EXAMPLES as i64 + 1;
        let (_, fault) = checked(&[header(4 * many, 10, 7, many), vec![0; 10]].concat()).expect_err("dictionary");
        assert!(matches!(fault, Fault::TooLarge { limit: MAX_EXAMPLES, .. }), "{fault}");
    }

    #[test]
    fn pages_that_inflate_to_more_together_than_pictures_would_are_refused() {
        let page = |inflated: i64| [header(inflated, 1000, 5, 1), vec![0; 1000]].concat();
        // a page's length is a thousand and its header
        let stored = page(0).len() as u64 * 10;
        let limit = stored * RATIO + FREE;
        let part = (limit / 10) as i64;
        assert_eq!(checked(&page(part).repeat(10)[..]), Ok(()));
        let (_, fault) = checked(&page(part + 4096).repeat(10)).expect_err("together");
        assert!(matches!(fault, Fault::TooLarge { what: "the size of a column, inflated,", .. }), "{fault}");
    }

    #[test]
    fn a_delta_encoding_is_refused() {
        let mut bytes = header(100, 10, 5, 1);
        bytes.truncate(bytes.len() - 2);
        bytes.extend([vec![0x15], zigzag(6), vec![0, 0], vec![0; 10]].concat());
        let (_, fault) = checked(&bytes).expect_err("delta lengths");
        assert!(fault.to_string().contains("encoding 6"), "{fault}");
    }

    #[test]
    fn a_page_that_runs_past_its_chunk_is_refused() {
        let bytes = [header(100, 100, 5, 1), vec![0; 99]].concat();
        assert!(matches!(checked(&bytes), Err((0, Fault::Truncated { .. }))));
        for cut in 1..header(100, 100, 5, 1).len() {
            assert!(checked(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        assert!(checked(&[0x1c; 1000]).is_err());
    }
}
