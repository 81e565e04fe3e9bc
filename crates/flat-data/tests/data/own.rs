//! Images of one's own: every form that is read, and files that are not what they should be.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use flat_data::{Error, Fault, ImageSize, OwnForm, OwnImages, OwnOptions};
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage, RgbaImage};

/// A file with its folders.
fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, bytes).expect("written");
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("encode");
    bytes.into_inner()
}

/// Red is the value, green the column, blue the row.
fn colored(value: u8, height: u32, width: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([value, x as u8, y as u8]))
}

fn png(value: u8, height: u32, width: u32) -> Vec<u8> {
    encoded(colored(value, height, width), ImageFormat::Png)
}

fn read(path: &Path) -> Result<OwnImages, Error> {
    OwnImages::read(path, &OwnOptions::default())
}

/// The message of an error, which names the path.
fn refused(path: &Path, named: &Path) -> String {
    let error = read(path).expect_err("refused").to_string();
    assert!(error.contains(&named.display().to_string()), "{error}");
    error
}

/// A folder of two classes of four images each.
fn folder() -> tempfile::TempDir {
    let room = tempfile::tempdir().expect("dir");
    for (class, name) in ["bee", "ant"].into_iter().enumerate() {
        for i in 0..4u8 {
            write(&room.path().join(name).join(format!("{i}.png")), png(10 * i + class as u8, 6, 5));
        }
    }
    room
}

/// An array of NumPy.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// A zip archive of these members, deflated or stored.
fn zip(members: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut packed = bytes.clone();
        if deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes).expect("write");
            packed = encoder.finish().expect("finish");
        }
        let method = if deflated { 8u16 } else { 0 };
        let common: Vec<u8> = [
            &20u16.to_le_bytes()[..],
            &[0; 2],
            &method.to_le_bytes(),
            &[0; 4],
            &crc.sum().to_le_bytes(),
            &(packed.len() as u32).to_le_bytes(),
            &(bytes.len() as u32).to_le_bytes(),
            &(name.len() as u16).to_le_bytes(),
            &[0; 2],
        ]
        .concat();
        let at = (out.len() as u32).to_le_bytes();
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &at, name.as_bytes()].concat());
        out.extend([b"PK\x03\x04", &common[..], name.as_bytes(), &packed].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (out.len() as u32).to_le_bytes());
    [&out[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &size, &at, &[0, 0]].concat()
}

/// An `.npz` of these arrays in a room of its own.
fn npz(members: &[(&str, Vec<u8>)]) -> (tempfile::TempDir, std::path::PathBuf) {
    let room = tempfile::tempdir().expect("dir");
    let path = room.path().join("images.npz");
    write(&path, zip(members, true));
    (room, path)
}

fn labels(n: u8) -> Vec<u8> {
    npy("|u1", &format!("{n},"), &(0..n).map(|i| i % 2).collect::<Vec<_>>())
}

#[test]
fn a_folder_of_folders_has_its_classes_by_name_and_holds_out_a_share_of_each() {
    let room = folder();
    let options = OwnOptions { test_fraction: Some(0.5), ..OwnOptions::default() };
    let own = OwnImages::read(room.path(), &options).expect("read");
    assert_eq!((own.form, own.classes.clone()), (OwnForm::Folder, vec!["ant".to_string(), "bee".into()]));
    assert_eq!((own.shape(), own.held_out), ([3, 6, 5], Some(0.5)));
    for split in [&own.train, &own.test] {
        assert_eq!(split.labels(), [0, 0, 1, 1], "in the order of the classes");
        for (image, label) in split.images().chunks_exact(90).zip(split.labels()) {
            // ant was written as class 1, bee as class 0
            assert_eq!(u16::from(image[0] % 10), 1 - label, "the red of an image says its folder");
            assert_eq!((image[30..35].to_vec(), image[60]), (vec![0, 1, 2, 3, 4], 0), "green is the column");
        }
    }
    let other = OwnImages::read(room.path(), &OwnOptions { seed: 1, ..options }).expect("read");
    assert!(other.test.images() != own.test.images(), "another seed holds out others");
    assert_eq!(OwnImages::read(room.path(), &options).expect("read").test, own.test);
}

#[test]
fn a_folder_may_have_more_classes_than_a_byte_tells_apart_and_reading_it_is_watched() {
    let room = tempfile::tempdir().expect("dir");
    for class in 0..300u16 {
        for part in ["train", "val", "test"] {
            let name = format!("{part}/{class:04}/only.png");
            write(&room.path().join(name), png((class % 200) as u8, 3, 2));
        }
    }
    let told = std::sync::Mutex::new(Vec::new());
    let watch = |done, of| told.lock().expect("whole").push((done, of));
    let own = OwnImages::read_watched(room.path(), &OwnOptions::default(), &watch).expect("images");
    assert_eq!(own.train.labels(), (0..300).collect::<Vec<u16>>());
    assert_eq!((own.test.len(), own.test.classes()), (300, 300));
    let mut told = told.into_inner().expect("whole");
    told.sort_unstable();
    assert_eq!(told, (1..=600).map(|done| (done, 600)).collect::<Vec<_>>());
    assert!(own.notes.len() == 1 && own.notes[0].contains("val is left out"), "{:?}", own.notes);
    let other = own.train.select(&(1..300).chain([0]).collect::<Vec<_>>()).expect("all");
    assert_ne!(own.train.sha256(), other.sha256());
}

#[test]
fn parts_of_a_folder_share_the_classes_of_the_training_images() {
    let room = tempfile::tempdir().expect("dir");
    for (part, names) in [("train", &["a", "b", "c"][..]), ("val", &["c"])] {
        names.iter().for_each(|name| write(&room.path().join(part).join(name).join("deep/1.png"), png(1, 4, 4)));
    }
    let own = read(room.path()).expect("read");
    assert_eq!((own.train.labels(), own.test.labels(), own.held_out), (&[0, 1, 2][..], &[2][..], None));
    let fraction = OwnOptions { test_fraction: Some(0.1), ..OwnOptions::default() };
    let error = OwnImages::read(room.path(), &fraction).expect_err("has a part").to_string();
    assert!(error.contains("--test-fraction"), "{error}");
    write(&room.path().join("val/d/1.png"), png(1, 4, 4));
    let error = refused(room.path(), &room.path().join("val"));
    assert!(error.contains("class d") && error.contains("a, b, c"), "{error}");
}

#[test]
fn images_of_several_sizes_want_a_size_and_have_it_then() {
    let room = folder();
    write(&room.path().join("ant/9.png"), png(0, 8, 12));
    let error = refused(room.path(), room.path());
    assert!(error.contains("--image-size") && error.contains("9.png is 8x12") && error.contains("6x5"), "{error}");
    let sides = OwnImages::survey(room.path()).expect("survey").expect("a folder");
    assert_eq!((sides.smallest, sides.largest, sides.channels), ([6, 5], [8, 12], 3));
    for (size, shape) in [(ImageSize::Square(4), [3, 4, 4]), (ImageSize::Exact { height: 3, width: 7 }, [3, 3, 7])] {
        let options = OwnOptions { size: Some(size), ..OwnOptions::default() };
        assert_eq!(OwnImages::read(room.path(), &options).expect("read").shape(), shape);
    }
}

#[test]
fn grey_colour_transparent_and_sixteen_bit_images_become_what_is_asked_for() {
    let room = tempfile::tempdir().expect("dir");
    let grey = GrayImage::from_pixel(2, 2, image::Luma([100]));
    let clear = RgbaImage::from_pixel(2, 2, image::Rgba([200, 100, 50, 0]));
    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_pixel(2, 2, image::Luma([100 * 257]));
    for name in ["a", "b"] {
        write(&room.path().join(name).join("0.png"), encoded(grey.clone(), ImageFormat::Png));
        write(
            &room.path().join(name).join("1.png"),
            encoded(DynamicImage::ImageLuma16(deep.clone()), ImageFormat::Png),
        );
    }
    let own = OwnImages::read(room.path(), &OwnOptions { test_fraction: Some(0.5), ..OwnOptions::default() });
    let own = own.expect("all grey");
    assert_eq!(own.shape(), [1, 2, 2]);
    assert!(own.train.images().iter().chain(own.test.images()).all(|p| *p == 100));
    write(&room.path().join("a/2.png"), encoded(clear, ImageFormat::Png));
    let own = read(room.path()).expect("one has colours");
    assert_eq!(own.shape(), [3, 2, 2]);
    let of_clear = |image: &[u8]| image == [200, 200, 200, 200, 100, 100, 100, 100, 50, 50, 50, 50];
    let all = || [&own.train, &own.test].into_iter().flat_map(|split| split.images().chunks_exact(12));
    assert_eq!(all().filter(|image| of_clear(image)).count(), 1, "without its transparency, as Pillow converts");
    let grey = OwnImages::read(room.path(), &OwnOptions { channels: Some(1), ..OwnOptions::default() }).expect("grey");
    // 200, 100, 50 are 124.2 by ITU-R 601-2, which Pillow rounds
    assert!([&grey.train, &grey.test].iter().flat_map(|s| s.images()).any(|p| *p == 124));
}

#[test]
fn hostile_folders_are_one_error_that_names_the_file() {
    let room = folder();
    let file = room.path().join("ant/x.png");
    let whole = png(3, 6, 5);
    let jpeg = encoded(colored(3, 64, 64), ImageFormat::Jpeg);
    // a header that announces 100,000 times 100,000 pixels, whose checksum is right
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    let mut crc = Crc::new();
    crc.update(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    for (what, bytes) in [
        ("cut", &whole[..whole.len() / 2]),
        ("empty", &[]),
        ("text", b"no image"),
        ("gif", b"GIF89a\x03\0\x02\0\0\0\0"),
        ("bomb", &bomb),
        ("cut jpeg", &jpeg[..jpeg.len() * 3 / 4]),
    ] {
        write(&file, bytes);
        let options = OwnOptions { size: Some(ImageSize::Square(4)), ..OwnOptions::default() };
        let error = OwnImages::read(room.path(), &options).expect_err(what).to_string();
        assert!(error.contains("ant/x.png"), "{what}: {error}");
    }
    fs::remove_file(&file).expect("removed");
    let sort = room.path().join("ant/x.webp");
    write(&sort, b"RIFF");
    assert!(refused(room.path(), &sort).contains("webp"));
    fs::remove_file(&sort).expect("removed");
    let empty = room.path().join("cat");
    fs::create_dir(&empty).expect("folder");
    assert!(refused(room.path(), &empty).contains("no PNG or JPEG"));
    fs::remove_dir(&empty).expect("removed");
    #[cfg(unix)]
    {
        let elsewhere = folder();
        for target in ["ant/0.png", "ant"] {
            let link = room.path().join("ant").join(if target == "ant" { "link" } else { "link.png" });
            std::os::unix::fs::symlink(elsewhere.path().join(target), &link).expect("link");
            assert!(refused(room.path(), &link).contains("is a link to"), "{target}");
            fs::remove_file(&link).expect("removed");
        }
        let around = room.path().join("ant/around");
        std::os::unix::fs::symlink(room.path(), &around).expect("link");
        assert!(refused(room.path(), room.path()).contains("folders deep"));
        fs::remove_file(&around).expect("removed");
    }
    read(room.path()).expect("all of it is gone again");
}

#[test]
fn what_is_no_data_set_at_all_is_refused_with_what_is_known() {
    let room = tempfile::tempdir().expect("dir");
    assert!(refused(room.path(), room.path()).contains(".npz"));
    assert!(matches!(read(&room.path().join("nothing")), Err(Error::Io { .. })));
    for name in ["readme.txt", "images.tar.gz"] {
        write(&room.path().join(name), b"text");
        refused(&room.path().join(name), &room.path().join(name));
    }
    write(&room.path().join("one/0.png"), png(0, 2, 2));
    write(&room.path().join("one/1.png"), png(0, 2, 2));
    assert!(refused(room.path(), room.path()).contains("one class"));
}

#[test]
fn npz_is_read_by_the_names_people_give_and_in_either_layout() {
    let (four, two) = (labels(4), labels(2));
    let bytes: Vec<u8> = (0..4 * 12).collect();
    let images = |n: usize| npy("|u1", &format!("{n}, 2, 2, 3"), &bytes[..12 * n]);
    for names in
        [["x_train", "y_train", "x_test", "y_test"], ["train_images", "train_labels", "test_images", "test_labels"]]
    {
        let members = [(names[0], images(4)), (names[1], four.clone()), (names[2], images(2)), (names[3], two.clone())];
        let members = members.map(|(name, bytes)| (format!("{name}.npy"), bytes));
        let members: Vec<(&str, Vec<u8>)> =
            members.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let (_room, path) = npz(&members);
        let own = read(&path).expect("read");
        assert_eq!((own.train.len(), own.test.len(), own.shape(), own.held_out), (4, 2, [3, 2, 2], None));
        assert_eq!(own.train.image(0).expect("an image"), [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
    }
    // floats in [0, 1], channels first, and a share held out
    let floats: Vec<u8> = bytes.iter().flat_map(|b| (f32::from(*b) / 255.0).to_le_bytes()).collect();
    let (_room, path) = npz(&[("images.npy", npy("<f4", "4, 3, 2, 2", &floats)), ("labels.npy", four.clone())]);
    let own = OwnImages::read(&path, &OwnOptions { test_fraction: Some(0.5), ..OwnOptions::default() }).expect("read");
    assert_eq!((own.train.len(), own.test.len()), (2, 2));
    let mut all = [own.train.images(), own.test.images()].concat();
    all.sort_unstable();
    assert_eq!(all, bytes, "back to the bytes they were");
    assert!(own.notes.iter().any(|note| note.contains("without loss")), "{:?}", own.notes);
    // big-endian integers of 16 bits, without channels
    let wide: Vec<u8> = bytes[..16].iter().flat_map(|b| u16::from(*b).to_be_bytes()).collect();
    let (_room, path) = npz(&[
        ("arr_0.npy", npy(">u2", "4, 2, 2", &wide)),
        ("arr_1.npy", npy("<i8", "4,", &[0, 1, 1, 0].map(i64::to_le_bytes).concat())),
    ]);
    assert_eq!(
        OwnImages::read(&path, &OwnOptions { test_fraction: Some(0.25), ..OwnOptions::default() })
            .expect("read")
            .shape(),
        [1, 2, 2]
    );
}

#[test]
fn hostile_npz_is_one_error_that_names_file_and_array() {
    let good = npy("|u1", "4, 2, 2", &[9; 16]);
    let floats = |x: f32| npy("<f4", "4, 1, 1", &[0.5, x, 0.0, 1.0].map(f32::to_le_bytes).concat());
    let cases: [(&str, Vec<u8>, Vec<u8>, &str); 11] = [
        ("objects", npy("|O", "4,", b"cposix\nsystem\n"), labels(4), "pickle"),
        ("objects as labels", good.clone(), npy("|O", "4,", b"x"), "pickle"),
        ("nan", floats(f32::NAN), labels(4), "pixel 1 is NaN"),
        ("normalised", floats(-1.5), labels(4), "normalised"),
        ("too few bytes", npy("|u1", "4, 2, 2", &[9; 15]), labels(4), "15 bytes follow"),
        ("too large", npy("|u1", "4000000000, 4000000000, 4000000000", &[9; 16]), labels(4), "more than any file"),
        ("another count", good.clone(), labels(3), "4 images but 3 labels"),
        (
            "label",
            good.clone(),
            npy("<i4", "4,", &[0, 1, 70_000, 0].map(i32::to_le_bytes).concat()),
            "label 2 is 70000",
        ),
        ("below", good.clone(), npy("<i4", "4,", &[0, -1, 3, 0].map(i32::to_le_bytes).concat()), "label 1 is -1"),
        ("no array", b"text".to_vec(), labels(4), "no array"),
        ("no image", npy("|u1", "0, 2, 2", &[]), npy("|u1", "0,", &[]), "no image"),
    ];
    for (what, images, labels, said) in cases {
        let (_room, path) = npz(&[("images.npy", images), ("labels.npy", labels)]);
        let error = refused(&path, &path);
        assert!(
            error.contains(said) && (error.contains("images.npy") || error.contains("labels.npy")),
            "{what}: {error}"
        );
    }
    let (_room, path) = npz(&[("weights.npy", good.clone())]);
    assert!(refused(&path, &path).contains("weights"));
    let members = [("images.npy", good.clone()), ("labels.npy", labels(4))];
    for deflated in [true, false] {
        let whole = zip(&members, deflated);
        fs::write(&path, &whole).expect("written");
        read(&path).expect("it reads");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).expect("written");
            refused(&path, &path);
        }
        for i in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut wrong = whole.clone();
                wrong[i] ^= flip;
                fs::write(&path, &wrong).expect("written");
                // either is fine: what counts is that it returns, with all images where it succeeds
                if let Ok(own) = read(&path) {
                    assert_eq!(own.train.len() + own.test.len(), 4);
                }
            }
        }
    }
    let twice = [members[0].clone(), members[1].clone(), members[0].clone()];
    fs::write(&path, zip(&twice, false)).expect("written");
    assert!(refused(&path, &path).contains("twice"));
    // a directory that announces more than the bytes there can hold
    let mut bomb = zip(&members, true);
    let at = bomb.windows(4).position(|four| four == b"PK\x01\x02").expect("a directory");
    bomb[at + 24..at + 28].copy_from_slice(&0xffff_fff0u32.to_le_bytes());
    fs::write(&path, &bomb).expect("written");
    assert!(refused(&path, &path).contains("cannot hold"));
}

#[test]
fn idx_files_are_read_under_any_usual_name_with_any_size_and_number_of_classes() {
    let idx = |dimensions: &[u32], bytes: &[u8]| {
        let magic = 0x0800 + dimensions.len() as u32;
        let numbers = [magic].into_iter().chain(dimensions.iter().copied()).flat_map(u32::to_be_bytes);
        numbers.chain(bytes.iter().copied()).collect::<Vec<u8>>()
    };
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("write");
        encoder.finish().expect("finish")
    };
    for (train, test, packed) in [
        ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte", false),
        ("train-images.idx3-ubyte", "t10k-images.idx3-ubyte", false),
        ("emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-test-images-idx3-ubyte.gz", true),
    ] {
        let room = tempfile::tempdir().expect("dir");
        for (name, n) in [(train, 3u32), (test, 2)] {
            let images = idx(&[n, 4, 6], &vec![n as u8; 24 * n as usize]);
            let labels = idx(&[n], &[0, 46, 3][..n as usize]);
            let of_labels = name.replace("images", "labels").replace("idx3", "idx1");
            for (name, bytes) in [(name.to_string(), images), (of_labels, labels)] {
                write(&room.path().join("raw").join(name), if packed { gzip(&bytes) } else { bytes });
            }
        }
        for path in [room.path().to_path_buf(), room.path().join("raw").join(train)] {
            let own = read(&path).expect("read");
            assert_eq!((own.form, own.shape(), own.classes.len()), (OwnForm::Idx, [1, 4, 6], 47), "{train}");
            assert_eq!((own.train.labels(), own.test.labels()), (&[0, 46, 3][..], &[0, 46][..]));
        }
        let labels = room.path().join("raw").join(train.replace("images", "labels").replace("idx3", "idx1"));
        fs::write(&labels, idx(&[2], &[0, 1])).expect("written");
        match read(room.path()) {
            Err(Error::Corrupt { path, fault: Fault::Count { images: 3, labels: 2 }, .. }) => assert_eq!(path, labels),
            other => panic!("{other:?}"),
        }
        fs::remove_file(&labels).expect("removed");
        assert!(refused(room.path(), &room.path().join("raw")).contains("labels is missing"));
        write(&room.path().join("raw/other-train-images-idx3-ubyte"), b"");
        assert!(refused(room.path(), &room.path().join("raw")).contains("2 data sets"));
    }
    // a header that announces what the file does not hold
    let room = tempfile::tempdir().expect("dir");
    write(&room.path().join("train-images-idx3-ubyte"), idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 9]));
    write(&room.path().join("train-labels-idx1-ubyte"), idx(&[1], &[0]));
    refused(room.path(), &room.path().join("train-images-idx3-ubyte"));
}
