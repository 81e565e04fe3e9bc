//! Zip archives as NumPy writes them: stored or deflated members, found by the directory at the end.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flat_core::file;
use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::{Error, Fault, Place, Result};

/// Most members of an archive that is read.
const MAX_MEMBERS: usize = 1024;
/// Most bytes of the directory.
const MAX_DIRECTORY: u64 = 1 << 20;
/// The end record and the longest comment after it.
const END: u64 = 22 + (1 << 16);
/// No deflate stream inflates to more than this times its size.
const RATIO: u64 = 1032;

/// A member of an archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name.
    pub(super) name: String,
    /// Bytes that it has unpacked, as the directory says.
    pub(super) bytes: u64,
    deflated: bool,
    packed: u64,
    crc: u32,
    offset: u64,
}

/// An open archive and its members.
pub(super) struct Zip<'a> {
    path: &'a Path,
    file: File,
    /// Where the directory begins.
    end: u64,
    pub(super) members: Vec<Member>,
}

fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

impl<'a> Zip<'a> {
    /// Reads the directory of an archive.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for no archive, an encrypted one, one of more than 4 GiB.
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let mut file = file::open(path).map_err(Error::io(path))?;
        let wrong = |what: &str| Error::corrupt(path, Place::Whole, Fault::Decode(format!("zip: {what}")));
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let start = bytes.saturating_sub(END);
        let tail = read_at(&mut file, start, bytes - start).map_err(Error::io(path))?;
        let end = (0..tail.len().saturating_sub(21)).rev().find(|&i| {
            tail[i..].starts_with(b"PK\x05\x06") && i + 22 + number(&tail, i + 20, 2) as usize == tail.len()
        });
        let Some(end) = end else { return Err(wrong("no directory at its end: it is cut short or no archive")) };
        let record = &tail[end..];
        let (count, size, offset) = (number(record, 10, 2), number(record, 12, 4), number(record, 16, 4));
        if count == 0xffff || offset == 0xffff_ffff {
            return Err(wrong("an archive of more than 4 GiB is not read: save parts of it, or a folder of images"));
        }
        if count as usize > MAX_MEMBERS || size > MAX_DIRECTORY || offset + size > start + end as u64 {
            return Err(wrong("a directory that does not fit the file"));
        }
        let directory = read_at(&mut file, offset, size).map_err(Error::io(path))?;
        let mut members: Vec<Member> = Vec::new();
        let mut at = 0;
        for _ in 0..count {
            let entry = directory.get(at..).filter(|rest| rest.len() >= 46 && rest.starts_with(b"PK\x01\x02"));
            let Some(entry) = entry else { return Err(wrong("a directory that is cut short")) };
            let [name, extra, comment] = [28, 30, 32].map(|at| number(entry, at, 2) as usize);
            let Some(text) = entry.get(46..46 + name) else { return Err(wrong("a directory that is cut short")) };
            let name_text = String::from_utf8_lossy(text).into_owned();
            let [packed, bytes, place] = [20, 24, 42].map(|at| number(entry, at, 4));
            let shown = name_text.escape_debug().take(60).collect::<String>();
            if number(entry, 8, 2) & 1 == 1 {
                return Err(wrong(&format!("{shown} is encrypted")));
            }
            let deflated = match number(entry, 10, 2) {
                0 => false,
                8 => true,
                other => return Err(wrong(&format!("{shown} is packed by method {other}, which is not read"))),
            };
            if [packed, bytes, place].contains(&0xffff_ffff) {
                return Err(wrong(&format!("{shown} has more than 4 GiB, which is not read")));
            }
            if members.iter().any(|member| member.name == name_text) {
                return Err(wrong(&format!("{shown} is there twice")));
            }
            if (!deflated && packed != bytes) || bytes > packed.saturating_mul(RATIO) {
                return Err(wrong(&format!("{shown} is announced with {bytes} bytes, which {packed} cannot hold")));
            }
            members.push(Member {
                name: name_text,
                bytes,
                deflated,
                packed,
                crc: number(entry, 16, 4) as u32,
                offset: place,
            });
            at += 46 + name + extra + comment;
        }
        Ok(Self { path, file, end: offset, members })
    }

    /// The bytes of a member, at most `most`, where `accept` takes the first `head` of them.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for a member that is cut short, lies about its size or has another checksum.
    pub(super) fn read(
        &mut self,
        member: &Member,
        most: u64,
        head: usize,
        accept: impl FnOnce(&[u8]) -> Result<(), String>,
    ) -> Result<Vec<u8>> {
        let path = self.path;
        let wrong = |what: &str| {
            let name: String = member.name.escape_debug().take(60).collect();
            let fault = Box::new(Fault::Decode(what.to_string()));
            Error::corrupt(path, Place::Whole, Fault::Member { name, fault })
        };
        if member.bytes > most {
            return Err(wrong(&format!(
                "it is announced with {} bytes, more than the {most} that are read",
                member.bytes
            )));
        }
        let local = read_at(&mut self.file, member.offset, 30).map_err(Error::io(path))?;
        if local.len() < 30 || !local.starts_with(b"PK\x03\x04") {
            return Err(wrong("there is no member where the directory says"));
        }
        let start = member.offset + 30 + number(&local, 26, 2) + number(&local, 28, 2);
        if start + member.packed > self.end {
            return Err(wrong("it goes on past the end of the archive"));
        }
        self.file.seek(SeekFrom::Start(start)).map_err(Error::io(path))?;
        let packed = BufReader::with_capacity(1 << 16, &self.file).take(member.packed);
        let mut reader: Box<dyn Read> =
            if member.deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
        let mut bytes = Vec::new();
        reader.by_ref().take(head as u64).read_to_end(&mut bytes).map_err(|e| wrong(&format!("inflate: {e}")))?;
        accept(&bytes).map_err(|problem| wrong(&problem))?;
        // one byte more than announced shows that there are more
        let rest = (member.bytes + 1).saturating_sub(bytes.len() as u64);
        reader.by_ref().take(rest).read_to_end(&mut bytes).map_err(|e| wrong(&format!("inflate: {e}")))?;
        if bytes.len() as u64 != member.bytes {
            return Err(wrong(&format!("it does not have the {} bytes that are announced", member.bytes)));
        }
        let mut crc = Crc::new();
        crc.update(&bytes);
        if crc.sum() != member.crc {
            return Err(wrong("its bytes do not have the checksum that is announced"));
        }
        Ok(bytes)
    }
}

fn read_at(file: &mut File, at: u64, n: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(n).read_to_end(&mut bytes)?;
    Ok(bytes)
}
