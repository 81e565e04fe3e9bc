//! Every damaged byte of a small parquet file, Python batch, archive and IDX file: reading returns, without a panic and without an
//! allocation that the bytes do not justify. A binary of its own, because it watches every allocation.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use flat_data::{Dataset, DatasetKind, Error, Fault};
use parquet::basic::Compression;
use parquet::file::reader::{FileReader, SerializedFileReader};

#[path = "data/support.rs"]
#[allow(dead_code)] // it is shared with the other test binary
mod support;

/// The system's allocator, remembering the largest request.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method hands its arguments unchanged to the system's allocator, whose contract is the same.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The files are a few kB, inflated too.
const LIMIT: usize = 1 << 20;

/// Reads with every byte of `path` changed in several ways, and cut at every length.
fn damage(kind: DatasetKind, dir: &Path, path: &Path) -> (usize, usize) {
    let length = fs::metadata(path).expect("file").len() as usize;
    damage_at(kind, dir, path, 0..length)
}

/// The same at some bytes.
fn damage_at(
    kind: DatasetKind,
    dir: &Path,
    path: &Path,
    places: impl Iterator<Item = usize> + Clone,
) -> (usize, usize) {
    let whole = fs::read(path).expect("read");
    let (mut read, mut refused) = (0, 0);
    let mut attempt = |bytes: &[u8]| {
        fs::write(path, bytes).expect("write");
        match Dataset::load(kind, Some(dir)) {
            Ok(dataset) => {
                assert_eq!(dataset.train.images().len(), dataset.train.len() * dataset.train.image_bytes());
                read += 1;
            }
            Err(Error::Corrupt { path: named, .. }) => {
                assert_eq!(named.canonicalize().expect("path"), path.canonicalize().expect("path"));
                refused += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= LIMIT, "{largest} bytes at once");
    };
    for cut in places.clone() {
        attempt(&whole[..cut]);
    }
    for i in places {
        for change in [|b: u8| b ^ 0x80, |_| 0xff] {
            let mut bytes = whole.clone();
            bytes[i] = change(bytes[i]);
            if bytes != whole {
                attempt(&bytes);
            }
        }
    }
    fs::write(path, &whole).expect("as it was");
    println!("largest allocation: {} kB", LARGEST.load(Ordering::Relaxed) / 1000);
    (read, refused)
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// A page header in Thrift's compact protocol: page type 0 (data) or 2 (dictionary), the sizes, the number of values,
/// plain encoding.
fn header(kind: u64, inflated: u64, stored: u64, values: u64) -> Vec<u8> {
    let number = |n: u64| [vec![0x15], varint(2 * n)].concat();
    let field = if kind == 2 { 0x4c } else { 0x2c };
    [number(kind), number(inflated), number(stored), vec![field], number(values), number(0), vec![0, 0]].concat()
}

#[test]
fn a_page_that_announces_gigabytes_is_refused_before_they_are_allocated() {
    let dir = tempfile::tempdir().expect("dir");
    support::write_cifar10(dir.path());
    let path = dir.path().join("plain_text/train/0000.parquet");
    for (kind, inflated, values) in [(0, 1 << 30, 3), (2, 1 << 30, 3), (2, 1000, 1 << 30), (0, 1000, 1 << 30)] {
        support::write_parquet(&path, ["img", "label"], &[1, 2, 3].map(support::row), 3, Compression::SNAPPY);
        let reader = SerializedFileReader::new(fs::File::open(&path).expect("file")).expect("parquet");
        let chunk = reader.metadata().row_group(0).column(0);
        let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset()) as usize;
        let len = chunk.compressed_size() as usize;
        // one page in place of the column's
        let long = header(kind, inflated, len as u64, values).len();
        let head = header(kind, inflated, (len - long) as u64, values);
        let mut bytes = fs::read(&path).expect("read");
        bytes[start..start + head.len()].copy_from_slice(&head);
        fs::write(&path, bytes).expect("write");
        match Dataset::load(DatasetKind::Cifar10, Some(dir.path())) {
            Err(Error::Corrupt { fault: Fault::TooLarge { found, .. }, .. }) => assert_eq!(found, 1 << 30),
            other => panic!("{other:?}"),
        }
        let largest = LARGEST.load(Ordering::Relaxed);
        assert!(largest <= LIMIT, "{largest} bytes at once");
    }
}

#[test]
fn no_damaged_byte_makes_a_reader_panic_or_allocate_much() {
    // panics that the parquet library raises, and that are caught, would fill the output
    std::panic::set_hook(Box::new(|info| {
        if info.location().is_some_and(|place| place.file().contains("flat-data")) {
            eprintln!("{info}");
        }
    }));
    let dir = tempfile::tempdir().expect("dir");
    support::write_cifar10(dir.path());
    let rows: Vec<_> = [1, 2].map(support::row).to_vec();
    let path = dir.path().join("plain_text/train/0000.parquet");
    for compression in [Compression::SNAPPY, Compression::UNCOMPRESSED] {
        support::write_parquet(&path, ["img", "label"], &rows, 2, compression);
        let (read, refused) = damage(DatasetKind::Cifar10, dir.path(), &path);
        println!("parquet, {compression}: {refused} damaged files refused, {read} read");
        assert!(refused > read && read > 0, "{refused} {read}");
    }

    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let dir = tempfile::tempdir().expect("dir");
    fs::copy(reference.join("cifar10-protocol-4.pickle"), dir.path().join("test_batch")).expect("copy");
    let path = dir.path().join("data_batch_1");
    fs::copy(reference.join("cifar10-python2.pickle"), &path).expect("copy");
    // but for the middle of the pixels, of which each is as good as another
    let length = fs::metadata(&path).expect("file").len() as usize;
    let places = (0..300).chain(length - 150..length);
    let (read, refused) = damage_at(DatasetKind::Cifar10, dir.path(), &path, places);
    println!("Python batch: {refused} damaged files refused, {read} read");
    // every cut is refused; a changed name of a picture is read
    assert!(refused >= 450 && read > 0, "{refused} {read}");
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("cifar-10-python.tar.gz");
    fs::copy(reference.join("cifar10-ustar.tar.gz"), &path).expect("copy");
    let length = fs::metadata(&path).expect("file").len() as usize;
    let (read, refused) = damage_at(DatasetKind::Cifar10, dir.path(), &path, (0..length).step_by(3));
    println!("archive: {refused} damaged files refused, {read} read");
    // the checksum covers all but gzip's own header of ten bytes and a name
    assert!(refused >= length - 100 && read <= 100, "{refused} {read}");

    let dir = tempfile::tempdir().expect("dir");
    for split in ["train", "t10k"] {
        let header = [0x0803u32, 2, 28, 28].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain((0..2 * 784).map(|i| (i % 7) as u8)).collect();
        fs::write(dir.path().join(format!("{split}-images-idx3-ubyte")), bytes).expect("images");
        let header = [0x0801u32, 2].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain([3, 4]).collect();
        fs::write(dir.path().join(format!("{split}-labels-idx1-ubyte")), bytes).expect("labels");
    }
    let path = dir.path().join("train-labels-idx1-ubyte");
    let (read, refused) = damage(DatasetKind::Mnist, dir.path(), &path);
    println!("IDX labels: {refused} damaged files refused, {read} read");
    // every byte matters: magic number, count, and labels that leave 0..10
    assert!(refused > 0 && read == 0, "{refused} {read}");

    let dir = tempfile::tempdir().expect("dir");
    for split in ["train", "t10k"] {
        let header = [0x0804u32, 2, 3, 28, 28].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain((0..6 * 784).map(|i| (i % 7) as u8)).collect();
        fs::write(dir.path().join(format!("{split}-images-idx4-ubyte")), bytes).expect("images");
        let header = [0x0802u32, 2, 2].into_iter().flat_map(u32::to_be_bytes);
        let bytes: Vec<u8> = header.chain([3, 4, 9, 0]).collect();
        fs::write(dir.path().join(format!("{split}-labels-idx2-ubyte")), bytes).expect("labels");
    }
    let kind = DatasetKind::ColoredMnist;
    let (read, refused) = damage(kind, dir.path(), &dir.path().join("train-labels-idx2-ubyte"));
    println!("IDX pairs: {refused} damaged files refused, {read} read");
    assert!(refused > 0 && read == 0, "{refused} {read}");
    // magic number and dimensions of the images
    let (read, refused) = damage_at(kind, dir.path(), &dir.path().join("train-images-idx4-ubyte"), 0..20);
    assert!(refused > 0 && read == 0, "{refused} {read}");
}
