//! Archives that `torch.save` wrote (`tests/reference/torch_files.py`): what is read of them, what is refused, what is written.

use candle_core::{DType, Device, Tensor};
use flat_nn::{Error, Format, ModelConfig, Result, WeightsFile, networks};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

fn read(name: &str) -> Result<WeightsFile> {
    WeightsFile::read(&reference(name), &Device::Cpu)
}

fn ramp(from: usize, n: usize) -> Vec<f32> {
    (from..from + n).map(|i| i as f32 / 8.0).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|t| t.to_vec1()).expect("numbers of f32")
}

#[test]
fn tensors_come_as_torch_saved_them_however_they_lie_in_their_storages() -> Result<()> {
    let plain = read("plain.pt")?;
    assert_eq!((plain.format, plain.notes.len()), (Format::TorchArchive, 0));
    let tensors = &plain.file.tensors;
    assert_eq!(values(&tensors["fc1.weight"]), ramp(1, 12));
    // a transposed view, and the last two of six numbers
    assert_eq!(tensors["fc2.weight"].dims(), [2, 3]);
    assert_eq!(values(&tensors["fc2.weight"]), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0].map(|n| n / 8.0));
    assert_eq!(values(&tensors["fc2.bias"]), ramp(5, 2));
    let training = read("training.pth.tar")?;
    let names: Vec<&str> = training.file.tensors.keys().map(String::as_str).collect();
    assert_eq!(names[..2], ["state_dict.module.fc1.bias", "state_dict.module.fc1.weight"]);
    assert_eq!((names.len(), training.notes.len()), (4, 1), "the optimizer's state is left out: {:?}", training.notes);
    let legacy = read("legacy.pth")?;
    assert_eq!(
        (legacy.format, &legacy.notes, &legacy.dtypes),
        (Format::TorchLegacy, &training.notes, &training.dtypes)
    );
    assert_eq!(legacy.file.tensors.len(), 4);
    for (name, tensor) in &training.file.tensors {
        assert_eq!(values(&legacy.file.tensors[name]), values(tensor), "{name}");
    }
    let half = read("half.pt")?;
    assert_eq!(half.dtypes, [("f16".to_string(), 4)].into());
    assert_eq!(half.file.tensors["fc1.bias"].dtype(), DType::F32);
    assert!(half.notes[0].contains("f16"), "{:?}", half.notes);
    Ok(())
}

#[test]
fn the_network_of_an_archive_is_found_by_its_names_and_shapes() -> Result<()> {
    let found = ModelConfig::detect(&read("training.pth.tar")?.file.tensors, None)?;
    let config = &found.config;
    assert_eq!((config.arch, &config.hidden[..], config.classes), (networks::MLP, &[3][..], 2));
    assert_eq!((config.in_channels, config.height, config.width), (1, 2, 2));
    assert_eq!(found.prefix, "state_dict.module.");
    // images of another shape with as many pixels
    let found = ModelConfig::detect(&read("plain.pt")?.file.tensors, Some([2, 1, 2]))?;
    assert_eq!((found.config.in_channels, found.config.height), (2, 1));
    // a layer more than the network has
    let mut strange = read("plain.pt")?.file.tensors;
    strange.insert("gate.weight".into(), Tensor::zeros((7, 9), DType::F32, &Device::Cpu)?);
    match ModelConfig::detect(&strange, None) {
        Err(Error::UnknownNetwork { tensors: 5, holds }) => assert!(holds.contains("gate.weight [7, 9]"), "{holds}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn a_class_is_refused_by_its_name_and_truncations_are_one_error() -> Result<()> {
    let whole = read("whole.pt").expect_err("a pickled module").to_string();
    assert!(whole.contains("torch.nn.modules.linear.Linear") && whole.contains("state_dict()"), "{whole}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.pt");
    for name in ["training.pth.tar", "legacy.pth"] {
        let good = std::fs::read(reference(name)).expect("fixture");
        for i in (0..good.len()).step_by(13) {
            let mut flipped = good.clone();
            flipped[i] ^= 0x55;
            for (is_cut, bytes) in [(true, &good[..i]), (false, &flipped)] {
                std::fs::write(&path, bytes).expect("room");
                match WeightsFile::read(&path, &Device::Cpu) {
                    Ok(found) => assert!(!is_cut && found.file.tensors.len() <= 4, "{name} {i}"),
                    // what is too short to be known is taken for safetensors, and refused as that
                    Err(Error::Checkpoint { .. }) => {}
                    Err(other) => panic!("{name} {i}: {other:?}"),
                }
            }
        }
    }
    Ok(())
}

/// An archive with these entries.
fn archive(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(*name, options).expect("an entry");
        zip.write_all(bytes).expect("room");
    }
    zip.finish().expect("an archive");
}

/// A pickle of `{NAME: tensor}` of a storage of `stored` numbers of f32.
fn tensor(name: &str, stored: u32, shape: &[u32], strides: &[u32]) -> Vec<u8> {
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let numbers = |n: &[u32]| -> Vec<u8> { n.iter().flat_map(|n| [&b"J"[..], &n.to_le_bytes()].concat()).collect() };
    let (open, close) = (b"(".to_vec(), b"t".to_vec());
    [
        text(name),
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        numbers(&[stored]),
        b"tQK\x00".to_vec(),
        [open.clone(), numbers(shape), close.clone()].concat(),
        [open, numbers(strides), close].concat(),
        b"\x89}tRs".to_vec(),
    ]
    .concat()
}

#[test]
fn hostile_archives_are_one_error_each_and_take_no_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.pt");
    let program = |body: &[Vec<u8>]| [b"\x80\x02}".to_vec(), body.concat(), b".".to_vec()].concat();
    let cyclic = b"\x80\x02}q\x00X\x01\0\0\0ah\x00s.".to_vec();
    // each dict holds the one before twice: 2^40 paths
    let mut doubled = b"\x80\x02}q\x00".to_vec();
    for i in 1..40u8 {
        doubled
            .extend([b"}q".as_slice(), &[i], b"X\x01\0\0\0ah", &[i - 1], b"sX\x01\0\0\0bh", &[i - 1], b"s"].concat());
    }
    doubled.push(b'.');
    let twice = [tensor("a.b", 4, &[4], &[1]), b"X\x01\0\0\0a}".to_vec(), tensor("b", 4, &[4], &[1]), b"s".to_vec()];
    for (what, pickle, says) in [
        ("a tensor larger than its storage", program(&[tensor("w", 4, &[1 << 30, 1 << 30], &[0, 0])]), "more elements"),
        ("a tensor beyond its storage", program(&[tensor("w", 4, &[2, 2], &[3, 1])]), "beyond"),
        ("a storage that is not as large", program(&[tensor("w", 1 << 30, &[4], &[1])]), "bytes"),
        ("a dict that holds itself", cyclic, "without end"),
        ("dicts that double", doubled, "without end"),
        ("two tensors of one name", program(&twice), "two tensors"),
        ("a function", b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.".to_vec(), "os.system"),
        ("no program", vec![], "damaged"),
    ] {
        archive(&path, &[("a/data.pkl", &pickle), ("a/data/0", &[0; 16])]);
        let begun = std::time::Instant::now();
        let error = WeightsFile::read(&path, &Device::Cpu).expect_err(what).to_string();
        assert!(error.contains(says), "{what}: {error}");
        assert!(begun.elapsed().as_secs() < 10, "{what} took {:?}", begun.elapsed());
    }
    archive(&path, &[("a/data/1", b"")]);
    let error = WeightsFile::read(&path, &Device::Cpu).expect_err("no pickle").to_string();
    assert!(error.contains("without data.pkl") && error.contains("a/data/1"), "{error}");
}

#[test]
fn an_index_reads_its_shards_and_names_no_file_elsewhere() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let all = read("plain.pt")?.file.tensors;
    let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.clone().into_iter().partition(|(n, _)| n.as_str() < "fc2");
    flat_nn::TensorFile::new(first, BTreeMap::new()).write(&at("1.safetensors"))?;
    WeightsFile::write_torch(&second, &at("2.bin"))?;
    let index = |map: &[(&str, &str)]| {
        let map: Vec<String> = map.iter().map(|(name, file)| format!("{name:?}: {file:?}")).collect();
        let text = format!("{{\"metadata\": {{}}, \"weight_map\": {{{}}}}}", map.join(", "));
        std::fs::write(at("model.safetensors.index.json"), text).expect("room");
        WeightsFile::read(&at("model.safetensors.index.json"), &Device::Cpu)
    };
    let whole = [
        ("fc1.weight", "1.safetensors"),
        ("fc1.bias", "1.safetensors"),
        ("fc2.weight", "2.bin"),
        ("fc2.bias", "2.bin"),
    ];
    let found = index(&whole)?;
    assert_eq!(found.format, Format::Shards);
    for (name, tensor) in &all {
        assert_eq!(values(&found.file.tensors[name]), values(tensor), "{name}");
    }
    for (map, says) in [
        (&whole[..3], "does not place"),
        (&[("fc1.weight", "../1.safetensors")][..], "no file beside it"),
        (&[("fc1.weight", "/etc/passwd")], "no file beside it"),
        (&[("fc1.weight", "model.safetensors.index.json")], "no file beside it"),
        (&[("fc9.weight", "1.safetensors")], "does not place"),
    ] {
        let error = index(map).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    Ok(())
}
