//! Small files that would inflate to gigabytes: each is refused, in a process of its own whose memory is watched.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flat_data::{Dataset, DatasetKind, Error, Fault};
use flate2::Compression as Level;
use flate2::write::ZlibEncoder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::support::{Image, Row, is_child, picture, png, run_child, write_cifar10, write_parquet};

/// Where the child finds the files, each the training part of a CIFAR-10 in a folder of its own.
const FILES: &str = "FLAT_DATA_TEST_BOMBS";
const TRAIN: &str = "plain_text/train/0000.parquet";
/// Most memory that the child may ever have taken, MiB; it begins with some 20.
const MOST: u64 = 200;

/// A parquet file in zstd of `rows` images of these bytes with label 0, written in one group without ever holding more than one.
fn write_images(path: &Path, image: &[u8], rows: usize, dictionary: bool) {
    let schema = "message schema { optional group img { optional binary bytes; } optional int64 label; }";
    let schema = Arc::new(parse_message_type(schema).expect("schema"));
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("level"));
    let properties = WriterProperties::builder().set_compression(zstd).set_dictionary_enabled(dictionary).build();
    let file = fs::File::create(path).expect("file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).expect("writer");
    let mut group = writer.next_row_group().expect("group");
    let mut column = group.next_column().expect("next").expect("bytes");
    let image = ByteArray::from(image.to_vec());
    for _ in 0..rows {
        column.typed::<ByteArrayType>().write_batch(std::slice::from_ref(&image), Some(&[2]), None).expect("write");
    }
    column.close().expect("close");
    let mut column = group.next_column().expect("next").expect("label");
    column.typed::<Int64Type>().write_batch(&vec![0; rows], Some(&vec![1; rows]), None).expect("write");
    column.close().expect("close");
    group.close().expect("close");
    writer.close().expect("close");
}

/// A PNG with this header and these chunks before its end.
fn png_of(width: u32, height: u32, chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    for (name, bytes) in [(b"IHDR", header)].iter().chain(chunks).chain(&[(b"IEND", Vec::new())]) {
        let body = [&name[..], bytes].concat();
        let mut sum = flate2::Crc::new();
        sum.update(&body);
        out.extend([&(bytes.len() as u32).to_be_bytes()[..], &body, &sum.sum().to_be_bytes()].concat());
    }
    out
}

/// Zeros, a gigabyte of them, in the form of zlib: a megabyte.
fn zeros() -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Level::fast());
    let part = vec![0; 1 << 20];
    (0..1024).for_each(|_| encoder.write_all(&part).expect("deflated"));
    encoder.finish().expect("deflated")
}

fn bombs(dir: &Path) -> Vec<&'static str> {
    let path = |name: &str| {
        write_cifar10(&dir.join(name));
        dir.join(name).join(TRAIN)
    };
    let honest = png(&picture(1));
    // twenty pages of 60 MB
    write_images(&path("long pages"), &vec![0; 60 << 20], 20, false);
    // pages of one megabyte, a thousand of which are read at a time
    write_images(&path("many pages"), &vec![0; 1 << 20], 1200, false);
    // a single image, and a quarter of a million references to it
    write_images(&path("many rows"), &honest, 262_144, true);
    write_images(&path("one large image"), &[honest.as_slice(), &vec![0; 3 << 20]].concat(), 1, false);
    let one = |name: &str, image: Vec<u8>| {
        let row = Row { image: Image::Bytes(image), label: Some(0) };
        write_parquet(&path(name), ["img", "label"], &[row], 1, Compression::UNCOMPRESSED);
    };
    one("large picture", png_of(60_000, 60_000, &[(b"IDAT", zeros()[..900_000].to_vec())]));
    one("picture in a picture", png_of(32, 32, &[(b"IDAT", zeros()[..900_000].to_vec())]));
    let start = |head: &[u8]| [head, &zeros()[..900_000]].concat();
    one("text", png_of(32, 32, &[(b"zTXt", start(b"a\0\0"))]));
    one("text in unicode", png_of(32, 32, &[(b"iTXt", start(b"a\0\x01\0\0\0"))]));
    one("colour profile", png_of(32, 32, &[(b"iCCP", start(b"a\0\0"))]));
    vec![
        "long pages",
        "many pages",
        "many rows",
        "one large image",
        "large picture",
        "picture in a picture",
        "text",
        "text in unicode",
        "colour profile",
    ]
}

#[test]
fn a_small_file_that_inflates_to_gigabytes_is_refused_in_little_memory() {
    const NAME: &str = "bombs::a_small_file_that_inflates_to_gigabytes_is_refused_in_little_memory";
    if !is_child(NAME) {
        let dir = tempfile::tempdir().expect("dir");
        let names = bombs(dir.path());
        fs::write(dir.path().join("names"), names.join("\n")).expect("written");
        return run_child(NAME, &[(FILES, dir.path())]);
    }
    let dir = std::env::var_os(FILES).expect("the folder");
    let dir = Path::new(&dir);
    for name in fs::read_to_string(dir.join("names")).expect("names").lines() {
        let size = fs::metadata(dir.join(name).join(TRAIN)).expect("file").len();
        assert!(size < 2 << 20, "{name}: {size} bytes");
        match Dataset::load(DatasetKind::Cifar10, Some(&dir.join(name))) {
            Err(Error::Corrupt { fault, .. }) => {
                let expected = match name {
                    "long pages" | "many pages" | "many rows" | "one large image" => {
                        matches!(fault, Fault::TooLarge { .. })
                    }
                    "large picture" => matches!(fault, Fault::ImageSize { .. } | Fault::Decode(_)),
                    _ => matches!(fault, Fault::Decode(_)),
                };
                assert!(expected, "{name}: {fault}");
            }
            // the decoder stops where the picture is whole
            Ok(_) => assert_eq!(name, "picture in a picture"),
            Err(other) => panic!("{name}: {other}"),
        }
        if let Some(peak) = peak() {
            println!("{name}: {size} bytes, peak {peak} MiB");
            assert!(peak < MOST, "{name}: {peak} MiB");
        }
    }
}

/// The most memory that this process has had, MiB; `None` where the system does not say.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? / 1024)
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_in_place_of_a_data_file_is_an_error_at_once() {
    let dir = tempfile::tempdir().expect("dir");
    write_cifar10(dir.path());
    let path = dir.path().join(TRAIN);
    fs::remove_file(&path).expect("removed");
    for device in ["/dev/zero", "/dev/null"] {
        std::os::unix::fs::symlink(device, &path).expect("linked");
        assert!(Dataset::load(DatasetKind::Cifar10, Some(dir.path())).is_err(), "{device}");
        assert!(flat_data::sha256_file(&path).is_err(), "{device}");
        fs::remove_file(&path).expect("removed");
    }
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let error = Dataset::load(DatasetKind::Cifar10, Some(dir.path())).expect_err("a pipe").to_string();
    // it counts as no file of the set
    assert!(error.contains("missing") && error.contains("parquet"), "{error}");
    let idx = tempfile::tempdir().expect("dir");
    crate::support::copy_mnist(idx.path());
    for entry in fs::read_dir(idx.path()).expect("folder") {
        let path = entry.expect("entry").path();
        let kept = fs::read(&path).expect("file");
        fs::remove_file(&path).expect("removed");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        assert!(Dataset::load(DatasetKind::Mnist, Some(idx.path())).is_err(), "{}", path.display());
        fs::remove_file(&path).expect("removed");
        fs::write(&path, kept).expect("written");
    }
}
