//! Reads a file up to a size limit and inflates it where it is gzipped.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flat_core::file;
use flate2::bufread::GzDecoder;

use crate::{Error, Fault, Place, Result};

/// No deflate stream inflates to more than this times its size.
const DEFLATE_RATIO: u64 = 1032;

/// A file being read. Nothing is allocated before its bytes have come.
pub(crate) struct Source<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    /// (Inflated) bytes read so far.
    offset: u64,
    /// Most bytes the file can still yield.
    room: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self> {
        let file = file::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let gzip = file.fill_buf().map_err(Error::io(path))?.starts_with(&[0x1f, 0x8b]);
        if gzip {
            let reader = Box::new(Members { current: Some(GzDecoder::new(file)) });
            Ok(Self { path, reader, offset: 0, room: bytes.saturating_mul(DEFLATE_RATIO) })
        } else {
            Ok(Self { path, reader: Box::new(file), offset: 0, room: bytes })
        }
    }

    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// All (inflated) bytes, without a check of their number.
    pub(crate) fn into_reader(self) -> impl Read {
        self.reader
    }

    pub(crate) fn corrupt(&self, fault: Fault) -> Error {
        Error::corrupt(self.path, Place::Offset(self.offset), fault)
    }

    /// The next `n` bytes, or as many as there are.
    pub(crate) fn up_to(&mut self, n: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let result = self.reader.by_ref().take(n).read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        self.room = self.room.saturating_sub(bytes.len() as u64);
        match result {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.corrupt(Fault::Truncated { expected: n.saturating_sub(bytes.len() as u64).max(1) }))
            }
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData) => {
                Err(self.corrupt(Fault::Decode(format!("gzip: {error}"))))
            }
            Err(error) => Err(Error::io(self.path)(error)),
        }
    }

    pub(crate) fn exactly(&mut self, n: u64) -> Result<Vec<u8>> {
        if n > self.room {
            return Err(self.corrupt(Fault::Truncated { expected: n }));
        }
        let bytes = self.up_to(n)?;
        match n - bytes.len() as u64 {
            0 => Ok(bytes),
            missing => Err(self.corrupt(Fault::Truncated { expected: missing })),
        }
    }

    /// Reads past `n` bytes.
    pub(crate) fn skip(&mut self, mut n: u64) -> Result<()> {
        while n > 0 {
            let step = n.min(1 << 16);
            self.exactly(step)?;
            n -= step;
        }
        Ok(())
    }

    /// Reads past the rest, for the checksum of a gzip file; more than `most` bytes of it are an error.
    pub(crate) fn skip_to_end(&mut self, most: u64) -> Result<()> {
        let end = self.offset.saturating_add(most);
        while !self.up_to(1 << 16)?.is_empty() {
            if self.offset > end {
                return Err(self.corrupt(Fault::Trailing));
            }
        }
        Ok(())
    }
}

/// All bytes of a file as they are.
pub(crate) fn whole(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = file::open(path).map_err(Error::io(path))?;
    let found = file.metadata().map_err(Error::io(path))?.len();
    let mut bytes = Vec::new();
    if found <= limit {
        // the file may grow meanwhile
        file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    let found = found.max(bytes.len() as u64);
    if found > limit {
        let fault = Fault::TooLarge { what: "the size of the file", found, limit };
        return Err(Error::corrupt(path, Place::Whole, fault));
    }
    Ok(bytes)
}

/// The members of a gzip file one after the other. Zeros may follow the last one: tapes and block copies pad with them,
/// and gzip(1) passes over them too.
struct Members<R> {
    current: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.current.take() {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                self.current = Some(member);
                return Ok(n);
            }
            let mut rest = member.into_inner();
            if another(&mut rest)? {
                self.current = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// Whether another member follows; zeros up to the end of the file are none.
fn another(rest: &mut impl BufRead) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        match (bytes.len(), zeros) {
            (0, _) => return Ok(false),
            (n, zeros) if zeros == n => padded = true,
            (_, 0) if !padded => return Ok(true),
            _ => return Err(io::Error::new(ErrorKind::InvalidData, "something follows the padding after the end")),
        }
        rest.consume(zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("write");
        encoder.finish().expect("finish")
    }

    fn inflated(file: &[u8]) -> Result<Vec<u8>> {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("file.gz");
        std::fs::write(&path, file).expect("write");
        Source::open(&path)?.up_to(1 << 20)
    }

    #[test]
    fn zeros_after_the_last_member_are_passed_over_and_anything_else_is_refused() {
        let whole = [gzip(b"one "), gzip(b"two")].concat();
        // 200,000 zeros fill the buffer more than once
        for zeros in [0, 1, 511, 200_000] {
            let padded = [whole.as_slice(), &vec![0; zeros]].concat();
            assert_eq!(inflated(&padded).expect("padded"), b"one two", "{zeros} zeros");
            for junk in [[padded.as_slice(), b"x"].concat(), [padded.as_slice(), b"\0x"].concat()] {
                let error = inflated(&junk).expect_err("junk");
                assert!(matches!(error, Error::Corrupt { .. }), "{zeros} zeros: {error}");
            }
        }
        let between = [gzip(b"one "), vec![0; 512], gzip(b"two")].concat();
        assert!(inflated(&between).is_err(), "half of the file would be taken for the whole");
    }

    #[test]
    fn a_file_over_the_limit_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("file");
        std::fs::write(&path, [1, 2, 3]).expect("write");
        assert_eq!(whole(&path, 3).expect("fits"), [1, 2, 3]);
        let error = whole(&path, 2).expect_err("too large");
        assert!(matches!(error, Error::Corrupt { fault: Fault::TooLarge { found: 3, limit: 2, .. }, .. }), "{error}");
    }
}
