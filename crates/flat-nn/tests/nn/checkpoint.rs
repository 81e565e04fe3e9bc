//! Checkpoints: round trips, determinism, refusals.

use crate::models::{build, config};
use candle_core::{DType, Device, Tensor};
use flat_core::Streams;
use flat_nn::{Mode, Model, ModelConfig, Norm, Result, TensorFile, networks, read_config, read_metadata};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("note".to_string(), "quotes \" and \\ and\nlines".to_string()), ("epoch".into(), "3".into())])
}

fn saved(dir: &Path, model: &Model) -> PathBuf {
    let path = dir.join("model.safetensors");
    model.save(&path, &metadata()).expect("saved");
    path
}

fn state(model: &Model) -> Result<BTreeMap<String, Vec<f64>>> {
    model.state()?.into_iter().map(|(n, t)| Ok((n, t.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?))).collect()
}

#[test]
fn a_saved_model_comes_back_bit_for_bit_with_its_buffers() -> Result<()> {
    let dir = tempfile::tempdir().expect("folder");
    let c = config(networks::RESNET20, 3, 8);
    let model = build(&c, DType::F32)?;
    let x = crate::check::normal(&[2, 3, 8, 8], 1).to_dtype(DType::F32)?;
    model.logits(&x, Mode::Train)?;
    let path = saved(dir.path(), &model);
    let other = Model::new(&c, DType::F32, &Device::Cpu, &Streams::new(99))?;
    assert_ne!(state(&other)?, state(&model)?);
    other.load(&path)?;
    assert_eq!(state(&other)?, state(&model)?);
    assert_eq!(other.buffers()["bn1.num_batches_tracked"].to_scalar::<i64>()?, 1);
    assert_eq!(read_config(&path)?, c);
    assert_eq!(read_metadata(&path)?["note"], metadata()["note"]);
    Ok(())
}

#[test]
fn the_same_state_gives_the_same_bytes_and_no_other_file() -> Result<()> {
    let (a, b) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    let c = config(networks::RESNET20, 3, 8);
    let (first, second) = (saved(a.path(), &build(&c, DType::F64)?), saved(b.path(), &build(&c, DType::F64)?));
    assert!(std::fs::read(first).expect("bytes") == std::fs::read(second).expect("bytes"));
    assert_eq!(std::fs::read_dir(a.path()).expect("folder").count(), 1);
    Ok(())
}

#[test]
fn other_tools_read_the_file() -> Result<()> {
    let dir = tempfile::tempdir().expect("folder");
    let model = build(&config(networks::RESNET20, 3, 8), DType::F32)?;
    let tensors = candle_core::safetensors::load(saved(dir.path(), &model), &Device::Cpu)?;
    assert_eq!(tensors.len(), model.state()?.len());
    assert_eq!(tensors["fc.weight"].dims(), [10, 64]);
    assert_eq!(tensors["bn1.num_batches_tracked"].dtype(), DType::I64);
    Ok(())
}

#[test]
fn damaged_and_foreign_files_are_refused_and_leave_the_model_alone() -> Result<()> {
    let dir = tempfile::tempdir().expect("folder");
    let model = build(&config(networks::MLP, 1, 4), DType::F32)?;
    let before = state(&model)?;
    let path = saved(dir.path(), &model);
    let whole = std::fs::read(&path).expect("bytes");
    let refused = |path: &Path, reason: &str| {
        let err = model.load(path).expect_err(reason).to_string();
        assert!(err.contains(reason) && err.contains(&path.display().to_string()), "{err} lacks {reason}");
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    refused(&write("short", &whole[..whole.len() - 4]), "cut short");
    refused(&write("text", b"this is not a checkpoint at all"), "not a safetensors file");
    refused(&write("empty", b""), "not a safetensors file");
    assert!(model.load(&dir.path().join("absent")).is_err());

    let saved_as = |name: &str, c: &ModelConfig| {
        let path = dir.path().join(name);
        build(c, DType::F32).and_then(|m| m.save(&path, &BTreeMap::new())).expect("saved");
        path
    };
    let wide = ModelConfig { hidden: vec![13], ..config(networks::MLP, 1, 4) };
    refused(&saved_as("wide", &wide), "`fc1.bias` has shape [13]");
    let deep = ModelConfig { hidden: vec![12, 12], ..config(networks::MLP, 1, 4) };
    refused(&saved_as("deep", &deep), "`fc3.bias` is not in this model");
    let linear = ModelConfig { hidden: vec![], ..config(networks::MLP, 1, 4) };
    refused(&saved_as("linear", &linear), "`fc2.bias` is missing");
    assert_eq!(state(&model)?, before);

    let mut changed = whole;
    let end = changed.len();
    changed[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&write("changed", &changed), "checksum");
    let mut nan = model.state()?;
    nan.insert("fc2.bias".into(), Tensor::new(f32::NAN, &Device::Cpu)?.broadcast_as(10)?);
    refused(&write("nan", &TensorFile::new(nan, metadata()).to_bytes()?), "not finite");
    assert_eq!(state(&model)?, before);
    Ok(())
}

#[test]
fn another_norm_is_another_model() -> Result<()> {
    let dir = tempfile::tempdir().expect("folder");
    let batch = build(&config(networks::RESNET20, 3, 8), DType::F32)?;
    let group = build(&ModelConfig { norm: Norm::Group, ..config(networks::RESNET20, 3, 8) }, DType::F32)?;
    assert!(!group.has_batch_norm() && batch.has_batch_norm());
    assert!(group.load(&saved(dir.path(), &batch)).is_err());
    Ok(())
}

#[test]
fn state_is_a_copy_and_set_state_is_all_or_nothing() -> Result<()> {
    let model = build(&config(networks::MLP, 1, 4), DType::F32)?;
    let copy = model.state()?;
    let before = state(&model)?;
    let mut changed = copy.clone();
    changed.insert("fc1.bias".into(), Tensor::ones(12, DType::F32, &Device::Cpu)?);
    model.set_state(&changed)?;
    assert_eq!(model.state()?["fc1.bias"].to_vec1::<f32>()?, [1.0; 12]);
    model.set_state(&copy)?;
    assert_eq!(state(&model)?, before);
    changed.insert("fc2.bias".into(), Tensor::new(f32::INFINITY, &Device::Cpu)?.broadcast_as(10)?);
    assert!(model.set_state(&changed).is_err());
    assert_eq!(state(&model)?, before);
    Ok(())
}

#[test]
fn a_file_of_another_program_has_no_checksum_and_is_read_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("theirs");
    let tensors = build(&config(networks::MLP, 1, 4), DType::F32)?.state()?;
    let said = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(&tensors, Some(said)).expect("bytes");
    std::fs::write(&path, &bytes).expect("written");
    let theirs = TensorFile::read(&path, &Device::Cpu)?;
    assert!(!theirs.checked && theirs.metadata["format"] == "pt");
    assert_eq!(theirs.tensors.len(), tensors.len());
    // written again with a checksum it has the same tensors
    let again = TensorFile::parse(&theirs.to_bytes()?, &Device::Cpu)?;
    assert!(again.checked && again.metadata == theirs.metadata);
    for (name, tensor) in &tensors {
        assert_eq!(again.tensors[name].dims(), tensor.dims());
        assert_eq!(again.tensors[name].dtype(), tensor.dtype());
    }
    Ok(())
}

#[test]
fn no_bit_of_a_file_can_flip_unnoticed() -> Result<()> {
    let hidden = ModelConfig { hidden: vec![2], ..config(networks::MLP, 1, 2) };
    let file = TensorFile::new(build(&hidden, DType::F32)?.state()?, metadata());
    let whole = file.to_bytes()?;
    assert_eq!(whole, file.to_bytes()?, "the same contents give the same bytes");
    for i in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[i / 8] ^= 1 << (i % 8);
        // a flipped bit in an escape of a letter may be the same letter
        if let Ok(found) = TensorFile::parse(&bytes, &Device::Cpu) {
            assert_eq!(found.to_bytes()?, whole, "bit {} of byte {}", i % 8, i / 8);
        }
    }
    Ok(())
}

#[test]
fn a_header_that_announces_more_than_the_file_has_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().expect("folder");
    for (n, header) in [0, 1, 1 << 20, 99_999_999, 1 << 40, u64::MAX].into_iter().enumerate() {
        let path = dir.path().join(n.to_string());
        std::fs::write(&path, [&header.to_le_bytes()[..], b"{}"].concat()).expect("written");
        let error = TensorFile::read(&path, &Device::Cpu).expect_err("no header").to_string();
        assert!(error.contains("not a safetensors file") || error.contains("cut short"), "{header}: {error}");
    }
    // a file without end, and one of a petabyte that takes no room on the disk
    assert!(TensorFile::read(Path::new("/dev/zero"), &Device::Cpu).is_err());
    let sparse = dir.path().join("sparse");
    let file = std::fs::File::create(&sparse).expect("made");
    std::io::Write::write_all(&mut &file, &2u64.to_le_bytes()).expect("written");
    if file.set_len(1 << 43).is_ok() {
        let error = TensorFile::read(&sparse, &Device::Cpu).expect_err("too large").to_string();
        assert!(error.contains("of memory"), "{error}");
    }
}
