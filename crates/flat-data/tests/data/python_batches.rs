//! Python batches and archives that Python wrote: `tests/reference/cifar_pickles.py`.

use std::fs;
use std::path::{Path, PathBuf};

use flat_data::{Dataset, DatasetKind, Error, Fault, FileState, Format, Place, locate, verify};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

/// The script's formula.
fn pixels(shift: usize) -> Vec<u8> {
    (0..2).flat_map(|i| (0..3072).map(move |j| ((31 * i + 7 * j + 5 + shift) % 251) as u8)).collect()
}

/// A CIFAR-10 whose first training batch is this and whose test batch is good.
fn with_batch(bytes: &[u8]) -> Result<Dataset, Error> {
    let dir = tempfile::tempdir().expect("dir");
    fs::write(dir.path().join("data_batch_1"), bytes).expect("write");
    fs::copy(reference("cifar10-protocol-4.pickle"), dir.path().join("test_batch")).expect("copy");
    Dataset::load(DatasetKind::Cifar10, Some(dir.path()))
}

fn fault(bytes: &[u8]) -> Fault {
    match with_batch(bytes) {
        Err(Error::Corrupt { path, fault, .. }) if path.ends_with("data_batch_1") => fault,
        other => panic!("not a corrupt file: {other:?}"),
    }
}

#[test]
fn batches_of_every_protocol_hold_the_images_and_labels_that_python_put_in() {
    for name in ["python2", "protocol-2", "protocol-4", "protocol-5"] {
        let bytes = fs::read(reference(&format!("cifar10-{name}.pickle"))).expect("fixture");
        let cifar = with_batch(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((cifar.train.labels(), cifar.train.images()), (&[3, 9][..], pixels(0).as_slice()), "{name}");
    }
}

#[test]
fn the_fine_labels_of_cifar100_are_taken_and_cifar10_is_not_taken_for_it() {
    let dir = tempfile::tempdir().expect("dir");
    let root = dir.path().join("cifar-100-python");
    fs::create_dir(&root).expect("folder");
    for split in ["train", "test"] {
        fs::copy(reference("cifar100-protocol-4.pickle"), root.join(split)).expect("copy");
    }
    let cifar = Dataset::load(DatasetKind::Cifar100, Some(dir.path())).expect("it reads");
    assert_eq!((cifar.train.labels(), cifar.test.images()), (&[3, 99][..], pixels(0).as_slice()));
    fs::copy(reference("cifar10-protocol-4.pickle"), root.join("train")).expect("copy");
    let error = Dataset::load(DatasetKind::Cifar100, Some(dir.path())).expect_err("no fine labels").to_string();
    assert!(error.contains("fine_labels") && error.contains("filenames"), "{error}");
}

#[test]
fn archives_of_pythons_tarfile_read_in_the_order_of_the_batches() {
    for form in ["ustar", "gnu", "pax"] {
        let packed = fs::read(reference(&format!("cifar10-{form}.tar.gz"))).expect("fixture");
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).expect("inflate");
        let padded = [packed.as_slice(), &[0; 1000]].concat();
        for (name, bytes) in
            [("python.tar.gz", &packed), ("python.tgz", &packed), ("python.tar", &plain), ("python.tar.gz", &padded)]
        {
            let dir = tempfile::tempdir().expect("dir");
            fs::write(dir.path().join(format!("cifar-10-{name}")), bytes).expect("write");
            let cifar =
                Dataset::load(DatasetKind::Cifar10, Some(dir.path())).unwrap_or_else(|e| panic!("{form} {name}: {e}"));
            let expected: Vec<u8> = (1..=5).flat_map(|k| pixels(10 * k)).collect();
            assert!(cifar.train.images() == expected && cifar.test.images() == pixels(0), "{form} {name}");
            assert_eq!(cifar.train.labels(), [3, 9].repeat(5));
        }
    }
}

#[test]
fn an_archive_is_verified_as_one_file() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("cifar-10-python.tar.gz");
    fs::copy(reference("cifar10-gnu.tar.gz"), &path).expect("copy");
    let report = verify(DatasetKind::Cifar10, Some(dir.path())).expect("verify");
    assert!(report.is_ok() && report.format == Format::Archive, "{report:?}");
    assert_eq!((report.train, report.test, report.files.len()), (Some(10), Some(4 - 2), 1));
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() - 4]).expect("write");
    let report = verify(DatasetKind::Cifar10, Some(dir.path())).expect("verify");
    assert_eq!((report.files[0].state, report.train), (FileState::Corrupt, None));
}

#[test]
fn an_archive_without_a_batch_is_an_error_that_names_it() {
    let packed = fs::read(reference("cifar10-ustar.tar.gz")).expect("fixture");
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut tar).expect("inflate");
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("cifar-10-python.tar");
    let error = |tar: &[u8]| {
        fs::write(&path, tar).expect("write");
        Dataset::load(DatasetKind::Cifar10, Some(dir.path())).expect_err("damaged").to_string()
    };
    // the third batch under a name that is none, with the checksum corrected: `3` is 0x33, `x` 0x78
    let at = tar.windows(12).position(|w| w == b"data_batch_3").expect("third batch");
    let header = at / 512 * 512;
    let mut renamed = tar.clone();
    renamed[at + 11] = b'x';
    let sum =
        u32::from_str_radix(std::str::from_utf8(&tar[header + 148..header + 154]).expect("sum"), 8).expect("octal");
    renamed[header + 148..header + 154].copy_from_slice(format!("{:06o}", sum + 0x78 - 0x33).as_bytes());
    let text = error(&renamed);
    assert!(text.contains("no data_batch_3") && text.contains("data_batch_x"), "{text}");
    // without the correction the header is no header
    renamed[header + 148..header + 154].copy_from_slice(&tar[header + 148..header + 154]);
    assert!(error(&renamed).contains("checksum"));
    assert!(error(&tar[..header + 700]).contains("ends where"));
}

#[test]
fn a_pickle_that_asks_for_a_function_is_refused_and_nothing_is_called() {
    let dir = tempfile::tempdir().expect("dir");
    let touched = dir.path().join("touched");
    let command = format!("touch {}", touched.display());
    let protocol_2 =
        [b"\x80\x02cos\nsystem\nX".as_slice(), &(command.len() as u32).to_le_bytes(), command.as_bytes(), b"\x85R."];
    let text = fault(&protocol_2.concat()).to_string();
    assert!(text.contains("os.system") && text.contains("not called"), "{text}");
    let protocol_4 = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.";
    assert!(fault(protocol_4).to_string().contains("posix.system"));
    // one of the known functions with what it does not take
    assert!(matches!(fault(b"\x80\x02c_codecs\nencode\nK\x01\x85R."), Fault::Decode(_)));
    assert!(!touched.exists());
}

#[test]
fn a_pickle_that_is_no_batch_is_one_error_that_says_why() {
    for (bytes, says) in [
        (b"\x80\x02]." as &[u8], "no dict"),
        (b"\x80\x02}.", "data"),
        (b"\x80\x02}X\x04\0\0\0dataK\x01s.", "no array"),
        (b"\x80\x07.", "protocol 7"),
        (b"(dp0\n.", "opcode 0x64"),
        (b"\x80\x02.", "stack is empty"),
        (b"\x80\x02(a.", "stack is empty"),
        (b"\x80\x02t.", "no mark"),
        (b"\x80\x02h\x05.", "remembered as 5"),
        (b"\x80\x02X\xff\xff\xff\xff", "4294967295 bytes"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615 bytes"),
        (b"\x80\x02N.N", "follow the announced end"),
        (b"", "1 bytes should follow"),
    ] {
        let text = fault(bytes).to_string();
        assert!(text.contains(says), "{bytes:?}: {text}");
    }
}

#[test]
fn labels_and_images_that_do_not_fit_are_errors() {
    let good = fs::read(reference("cifar10-protocol-4.pickle")).expect("fixture");
    let at = good.windows(5).position(|w| w == b"K\x03K\x09e").expect("labels");
    let with = |labels: &[u8]| [&good[..at], labels, &good[at + 4..]].concat();
    assert_eq!(fault(&with(b"K\x03K\x0a")), Fault::Label { found: 10, classes: 10 });
    assert_eq!(fault(&with(b"K\x03J\xff\xff\xff\xff")), Fault::Label { found: -1, classes: 10 });
    assert_eq!(fault(&with(b"K\x03K\x09K\x01")), Fault::Count { images: 2, labels: 3 });
    match with_batch(&with(b"K\x03K\x0a")) {
        Err(Error::Corrupt { at: Place::Row(1), .. }) => {}
        other => panic!("{other:?}"),
    }
    // the shape (2, 3072) as (2, 3071): the data has more bytes
    let shape = good.windows(3).position(|w| w == b"M\x00\x0c").expect("shape");
    let mut other = good.clone();
    other[shape + 1..shape + 3].copy_from_slice(&3071u16.to_le_bytes());
    assert!(fault(&other).to_string().contains("6144 bytes"), "{}", fault(&other));
}

#[test]
fn every_truncation_and_every_changed_byte_of_the_program_is_read_or_refused() {
    for name in ["python2", "protocol-2", "protocol-4", "protocol-5"] {
        let good = fs::read(reference(&format!("cifar10-{name}.pickle"))).expect("fixture");
        // all but the middle of the pixels, where every byte is as good as another
        let places = (0..300).chain(good.len() - 150..good.len());
        let (mut read, mut refused) = (0, 0);
        for i in places {
            for bytes in [good[..i].to_vec()].into_iter().chain([0x2e, 0x52, 0xff].map(|new| {
                let mut bytes = good.clone();
                bytes[i] = new;
                bytes
            })) {
                match with_batch(&bytes) {
                    Ok(_) => read += 1,
                    Err(Error::Corrupt { .. }) => refused += 1,
                    Err(other) => panic!("{name} {i}: {other:?}"),
                }
            }
        }
        println!("{name}: {refused} refused, {read} read");
        assert!(refused >= 450, "{name}: every truncation is refused, {refused}");
    }
}

#[test]
fn a_program_that_repeats_itself_costs_no_more_than_its_length() {
    // a text of 60 kB decoded 20,000 times would be 1.2 GB: as keys of the dict, of which none is long enough
    let text = "a".repeat(60_000);
    let head = [b"\x80\x02}(c_codecs\nencode\nq\x00X".as_slice(), &60_000u32.to_le_bytes(), text.as_bytes(), b"q\x01"];
    let first = b"X\x06\0\0\0latin1\x86RN";
    let again = b"h\x00h\x01X\x06\0\0\0latin1\x86RN".repeat(20_000);
    let start = std::time::Instant::now();
    assert!(matches!(fault(&[&head.concat()[..], first, &again, b"u."].concat()), Fault::Column { .. }));
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    // a tuple of 2^18 items as the arguments of 2^18 calls
    let items = [b"\x80\x02(X\x02\0\0\0u1".as_slice(), &b"N".repeat(1 << 18), b"tq\x00cnumpy\ndtype\nq\x01"].concat();
    let calls = b"h\x01h\x00R0".repeat(1 << 18);
    let start = std::time::Instant::now();
    assert!(matches!(fault(&[items, calls, b".".to_vec()].concat()), Fault::Decode(_)));
    // 7 * 10^10 copied items would take minutes
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    assert!(matches!(fault(&[b"\x80\x02".as_slice(), &b"N".repeat(1 << 22), b"."].concat()), Fault::TooLarge { .. }));
}

#[test]
fn what_was_found_is_found_again_from_its_own_folder() {
    let root = tempfile::tempdir().expect("dir");
    let folder = root.path().join("data/cifar-10-batches-py");
    fs::create_dir_all(&folder).expect("folder");
    for batch in ["data_batch_1", "data_batch_2", "test_batch"] {
        fs::copy(reference("cifar10-python2.pickle"), folder.join(batch)).expect("copy");
    }
    let files = locate(DatasetKind::Cifar10, Some(&root.path().join("data"))).expect("found");
    assert_eq!((files.format, files.train.len(), &files.dir), (Format::Python, 2, &folder));
    assert_eq!(locate(DatasetKind::Cifar10, Some(&files.dir)).expect("found again"), files);
}
