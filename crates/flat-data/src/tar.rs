//! Tar archives, in the forms of POSIX ustar and GNU, read from front to back.

use crate::source::Source;
use crate::{Fault, Result};

const BLOCK: u64 = 512;
/// Most bytes read past the end of an archive, for the checksum of the gzip file around it.
const MAX_PADDING: u64 = 1 << 24;

/// A file in an archive; its bytes come next in the source.
pub(crate) struct Entry {
    /// The last component of its path, for identification alone.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// Whether it is a file with contents, and no folder, link or note about the next entry.
    pub(crate) is_file: bool,
}

impl Entry {
    /// The next entry, where the source is at the end of the one before; `None` at the end of the archive.
    pub(crate) fn next(source: &mut Source) -> Result<Option<Self>> {
        let start = source.offset();
        let block = source.up_to(BLOCK)?;
        // a writer that was in a hurry leaves the two blocks of zeros out
        if block.is_empty() {
            return Ok(None);
        }
        if (block.len() as u64) < BLOCK {
            return Err(source.corrupt(Fault::Truncated { expected: BLOCK - block.len() as u64 }));
        }
        if block.iter().all(|&byte| byte == 0) {
            return source.skip_to_end(MAX_PADDING).map(|()| None);
        }
        let wrong = |what: &str| Err(source.corrupt(Fault::Decode(format!("tar: {what} at offset {start}"))));
        // the sum is taken with spaces in its own place
        let sum: u64 =
            block.iter().enumerate().map(|(i, &b)| u64::from(if (148..156).contains(&i) { b' ' } else { b })).sum();
        if octal(&block[148..156]) != Some(sum) {
            return wrong("no header with the right checksum");
        }
        let Some(bytes) = octal(&block[124..136]) else { return wrong("no usable size") };
        let name = block[..100].split(|&b| b == 0).next().unwrap_or_default();
        let name = String::from_utf8_lossy(name.rsplit(|&b| b == b'/').next().unwrap_or_default()).into_owned();
        Ok(Some(Self { name, bytes, is_file: matches!(block[156], 0 | b'0' | b'7') }))
    }

    /// Bytes up to the next header after the contents.
    pub(crate) fn padding(&self) -> u64 {
        self.bytes.next_multiple_of(BLOCK) - self.bytes
    }
}

/// A number in octal digits, among spaces and zero bytes.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    let digits = text.trim_matches([' ', '\0']);
    match digits {
        "" => None,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => u64::from_str_radix(digits, 8).ok(),
        _ => None,
    }
}
