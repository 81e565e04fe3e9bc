//! IDX, the format of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! A file is a big-endian header (magic number 0x0000080d with d the number of dimensions, then the dimensions) and
//! the bytes. Nothing is allocated for what the header announces: the buffer grows as bytes come, at most one byte more
//! than announced is inflated, and an announcement the file cannot keep is refused before reading on.

use std::io::Read;
use std::path::Path;

use crate::source::Source;
use crate::{Error, Fault, Place, Result};

/// Most examples that are read from one file: four times what the largest of the data sets has, so that not even a file
/// made to inflate takes more than 0.8 GB.
pub(crate) const MAX_EXAMPLES: u64 = 1 << 18;

const IMAGES: u32 = 0x0803;
const COLOR_IMAGES: u32 = 0x0804;
const LABELS: u32 = 0x0801;
const PAIRS: u32 = 0x0802;

fn number(source: &mut Source) -> Result<u32> {
    let bytes = source.exactly(4)?;
    Ok(bytes.iter().fold(0, |n, &b| n << 8 | u32::from(b)))
}

/// Reads the magic number and the number of examples.
fn header(source: &mut Source, expected: u32) -> Result<u64> {
    let found = number(source)?;
    if found != expected {
        return Err(Error::corrupt(source.path(), Place::Offset(0), Fault::Magic { found, expected }));
    }
    let at = Place::Offset(source.offset());
    match u64::from(number(source)?) {
        0 => Err(Error::corrupt(source.path(), at, Fault::Empty)),
        n if n > MAX_EXAMPLES => {
            let fault = Fault::TooLarge { what: "the number of examples", found: n, limit: MAX_EXAMPLES };
            Err(Error::corrupt(source.path(), at, fault))
        }
        n => Ok(n),
    }
}

/// The last `n` bytes of the file; checks that none follow, and the gzip checksum.
fn last(mut source: Source, n: u64) -> Result<Vec<u8>> {
    let bytes = source.exactly(n)?;
    match source.up_to(1)?.is_empty() {
        true => Ok(bytes),
        false => Err(Error::corrupt(source.path(), Place::Offset(source.offset() - 1), Fault::Trailing)),
    }
}

/// The pixels of an IDX image file whose images are `size` pixels square; with more than one channel these are a dimension of
/// their own, before height and width.
pub(crate) fn read_images(path: &Path, channels: usize, size: usize) -> Result<Vec<u8>> {
    let mut source = Source::open(path)?;
    let n = header(&mut source, if channels == 1 { IMAGES } else { COLOR_IMAGES })?;
    if channels > 1 {
        columns(&mut source, channels, "the number of channels")?;
    }
    let at = Place::Offset(source.offset());
    let (height, width) = (u64::from(number(&mut source)?), u64::from(number(&mut source)?));
    if (height, width) != (size as u64, size as u64) {
        let fault = Fault::ImageSize { found_width: width, found_height: height, width: size, height: size };
        return Err(Error::corrupt(path, at, fault));
    }
    last(source, n * channels as u64 * height * width)
}

/// The labels of an IDX label file, each below `classes`.
pub(crate) fn read_labels(path: &Path, classes: usize) -> Result<Vec<u8>> {
    let mut source = Source::open(path)?;
    let n = header(&mut source, LABELS)?;
    below(source, n, &[classes])
}

/// The pairs of class and attribute of an IDX file of both, one after the other, below these numbers.
pub(crate) fn read_pairs(path: &Path, classes: usize, attributes: usize) -> Result<Vec<u8>> {
    let mut source = Source::open(path)?;
    let n = header(&mut source, PAIRS)?;
    columns(&mut source, 2, "the number of labels of an example")?;
    below(source, 2 * n, &[classes, attributes])
}

/// Reads a dimension that must have this size.
fn columns(source: &mut Source, expected: usize, what: &'static str) -> Result<()> {
    let at = Place::Offset(source.offset());
    match u64::from(number(source)?) {
        found if found == expected as u64 => Ok(()),
        found => Err(Error::corrupt(source.path(), at, Fault::Dimension { what, found, expected })),
    }
}

/// The last `n` bytes of a file, which take turns to be below these numbers.
fn below(source: Source, n: u64, ends: &[usize]) -> Result<Vec<u8>> {
    let (path, start) = (source.path(), source.offset());
    let labels = last(source, n)?;
    let end = |i: usize| ends[i % ends.len()];
    match labels.iter().enumerate().position(|(i, &label)| usize::from(label) >= end(i)) {
        None => Ok(labels),
        Some(i) => {
            let fault = Fault::Label { found: labels[i].into(), classes: end(i) };
            Err(Error::corrupt(path, Place::Offset(start + i as u64), fault))
        }
    }
}

/// The bytes of an IDX file of these dimensions.
pub(crate) fn written(dimensions: &[usize], bytes: &[u8]) -> Vec<u8> {
    let magic = 0x0800 + dimensions.len() as u32;
    let numbers = [magic].into_iter().chain(dimensions.iter().map(|&size| size as u32));
    numbers.flat_map(u32::to_be_bytes).chain(bytes.iter().copied()).collect()
}

/// The bytes of the IDX label file of these labels, for its checksum.
pub(crate) fn label_file(labels: &[u8]) -> impl Read + '_ {
    let header: Vec<u8> = [LABELS, labels.len() as u32].into_iter().flat_map(u32::to_be_bytes).collect();
    std::io::Cursor::new(header).chain(labels)
}

/// The (inflated) bytes of an IDX file of either sort, for its checksum. To be called on a file that was read before:
/// it is bounded by the most an acceptable file may hold.
pub(crate) fn raw(path: &Path) -> Result<impl Read> {
    Ok(Source::open(path)?.into_reader().take(MAX_EXAMPLES * 28 * 28 * 3 + 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::path::PathBuf;

    use flate2::{Compression, write::GzEncoder};

    fn images(n: u32, rows: u32, cols: u32, pixels: usize) -> Vec<u8> {
        let header = [IMAGES, n, rows, cols].into_iter().flat_map(u32::to_be_bytes);
        header.chain((0..pixels).map(|i| i as u8)).collect()
    }

    fn labels(n: u32, values: &[u8]) -> Vec<u8> {
        [LABELS, n].into_iter().flat_map(u32::to_be_bytes).chain(values.iter().copied()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("write");
        encoder.finish().expect("finish")
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).expect("write");
        (dir, path)
    }

    fn fault(result: Result<Vec<u8>>) -> (Place, Fault) {
        match result {
            Err(Error::Corrupt { at, fault, .. }) => (at, fault),
            other => panic!("not a corrupt file: {other:?}"),
        }
    }

    fn images_fault(bytes: &[u8]) -> (Place, Fault) {
        let (_dir, path) = file(bytes);
        fault(read_images(&path, 1, 2))
    }

    fn labels_fault(bytes: &[u8]) -> (Place, Fault) {
        let (_dir, path) = file(bytes);
        fault(read_labels(&path, 10))
    }

    #[test]
    fn plain_and_gzipped_files_read_the_same() {
        for bytes in [images(3, 2, 2, 12), gzip(&images(3, 2, 2, 12))] {
            let (_dir, path) = file(&bytes);
            assert_eq!(read_images(&path, 1, 2).expect("images"), (0..12).collect::<Vec<u8>>());
        }
        for bytes in [labels(3, &[1, 9, 0]), gzip(&labels(3, &[1, 9, 0]))] {
            let (_dir, path) = file(&bytes);
            assert_eq!(read_labels(&path, 10).expect("labels"), [1, 9, 0]);
        }
    }

    #[test]
    fn colour_images_and_pairs_of_labels_have_a_dimension_more_which_must_be_right() {
        let (_dir, path) = file(&written(&[2, 3, 2, 2], &[7; 24]));
        assert_eq!(read_images(&path, 3, 2).expect("images"), [7; 24]);
        let (_dir, path) = file(&written(&[2, 2], &[9, 4, 0, 0]));
        assert_eq!(read_pairs(&path, 10, 5).expect("pairs"), [9, 4, 0, 0]);
        let wrong = |dimensions: &[usize], bytes: &[u8]| {
            let (_dir, path) = file(&written(dimensions, bytes));
            fault(if dimensions.len() == 2 { read_pairs(&path, 10, 5) } else { read_images(&path, 3, 2) })
        };
        let dimension = |found| Fault::Dimension { what: "the number of channels", found, expected: 3 };
        assert_eq!(wrong(&[1, 4, 2, 2], &[0; 16]), (Place::Offset(8), dimension(4)));
        assert_eq!(wrong(&[1, 2, 2], &[0; 4]).1, Fault::Magic { found: IMAGES, expected: COLOR_IMAGES });
        assert!(matches!(wrong(&[2, 3], &[0; 6]).1, Fault::Dimension { found: 3, expected: 2, .. }));
        // each of the two has an end of its own
        assert_eq!(wrong(&[2, 2], &[9, 5, 0, 0]), (Place::Offset(13), Fault::Label { found: 5, classes: 5 }));
        assert_eq!(wrong(&[2, 2], &[9, 4, 10, 0]), (Place::Offset(14), Fault::Label { found: 10, classes: 10 }));
        assert_eq!(wrong(&[2, 2], &[9, 4, 0]).1, Fault::Truncated { expected: 4 });
    }

    #[test]
    fn a_gzip_file_of_several_members_reads_as_one() {
        let whole = images(3, 2, 2, 12);
        let (_dir, path) = file(&[gzip(&whole[..20]), gzip(&whole[20..])].concat());
        assert_eq!(read_images(&path, 1, 2).expect("images").len(), 12);
    }

    #[test]
    fn every_truncation_is_an_error_that_gives_the_offset() {
        let whole = images(3, 2, 2, 12);
        for cut in 0..whole.len() {
            let (at, fault) = images_fault(&whole[..cut]);
            assert!(matches!(fault, Fault::Truncated { .. }), "cut at {cut}: {fault}");
            assert!(matches!(at, Place::Offset(o) if o <= cut as u64), "cut at {cut}: {at}");
        }
        let zipped = gzip(&whole);
        for cut in 0..zipped.len() {
            let (_, fault) = images_fault(&zipped[..cut]);
            assert!(matches!(fault, Fault::Truncated { .. } | Fault::Magic { .. }), "gzip cut at {cut}: {fault}");
        }
    }

    #[test]
    fn a_wrong_magic_number_is_an_error() {
        let (at, fault) = images_fault(&labels(3, &[1, 2, 3]));
        assert_eq!((at, fault), (Place::Offset(0), Fault::Magic { found: LABELS, expected: IMAGES }));
        assert!(matches!(labels_fault(&images(1, 2, 2, 4)).1, Fault::Magic { .. }));
    }

    #[test]
    fn a_label_past_the_classes_is_an_error_at_its_offset() {
        let expected = (Place::Offset(10), Fault::Label { found: 10, classes: 10 });
        assert_eq!(labels_fault(&labels(3, &[1, 9, 10])), expected);
    }

    #[test]
    fn bytes_after_the_announced_end_are_an_error() {
        let expected = (Place::Offset(28), Fault::Trailing);
        assert_eq!(images_fault(&images(3, 2, 2, 13)), expected);
        assert_eq!(images_fault(&gzip(&images(3, 2, 2, 13))), expected);
        let junk = [gzip(&images(3, 2, 2, 12)), b"junk after the end".to_vec()].concat();
        assert!(matches!(images_fault(&junk).1, Fault::Decode(_)));
    }

    #[test]
    fn a_gzip_bomb_is_not_inflated_past_the_announced_end() {
        // 128 MiB of zeros in 128 KiB, with the last third cut off: had it been inflated to its end, the error would be
        // that one, not the first byte too many
        let zeros = gzip(&vec![0; 1 << 27]);
        let bomb = [&gzip(&images(3, 2, 2, 12)), &zeros[..zeros.len() / 3 * 2]].concat();
        assert_eq!(images_fault(&bomb), (Place::Offset(28), Fault::Trailing));
    }

    #[test]
    fn a_header_that_announces_four_billion_images_is_refused_before_anything_is_allocated() {
        let (at, fault) = images_fault(&images(u32::MAX, 2, 2, 12));
        assert_eq!(at, Place::Offset(4));
        assert!(matches!(fault, Fault::TooLarge { found: 4_294_967_295, .. }), "{fault}");
        // the most examples accepted, in a file of a few bytes
        let (_, fault) = images_fault(&gzip(&images(MAX_EXAMPLES as u32, 2, 2, 12)));
        assert_eq!(fault, Fault::Truncated { expected: MAX_EXAMPLES * 4 });
        assert_eq!(images_fault(&images(0, 2, 2, 0)).1, Fault::Empty);
    }

    #[test]
    fn images_of_another_size_are_an_error() {
        let (at, fault) = images_fault(&images(1, 28, 2_000_000_000, 12));
        assert_eq!(at, Place::Offset(8));
        assert!(matches!(fault, Fault::ImageSize { found_width: 2_000_000_000, found_height: 28, .. }), "{fault}");
    }

    #[test]
    fn a_damaged_gzip_stream_is_an_error() {
        let mut zipped = gzip(&images(3, 2, 2, 12));
        let end = zipped.len();
        zipped[end - 6] ^= 1; // checksum
        assert!(matches!(images_fault(&zipped).1, Fault::Decode(_)));
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = read_images(Path::new("/nowhere/train-images"), 1, 28).expect_err("missing").to_string();
        assert!(error.contains("/nowhere/train-images"), "{error}");
    }
}
