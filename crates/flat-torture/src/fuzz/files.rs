//! Readers of a run's files.

use super::scratch::file;
use candle_core::{DType, Device};
use flat_core::Streams;
use flat_nn::{Model, ModelConfig, WeightsFile, networks};
use flat_run::RunConfig;
use flat_run::store::{checkpoint_step, read_journal};

thread_local! {
    /// The network that the corpus has weights of.
    static MODEL: Model = network();
}

fn network() -> Model {
    let config = ModelConfig {
        arch: networks::MLP,
        in_channels: 1,
        height: 28,
        width: 28,
        classes: 10,
        hidden: vec![1],
        ..ModelConfig::default()
    };
    Model::new(&config, DType::F32, &Device::Cpu, &Streams::new(0)).expect("a network")
}

/// Weights: their header, and loading them into a network.
pub(super) fn safetensors(bytes: &[u8]) {
    for bytes in [Some(bytes), unsealed(bytes).as_deref()].into_iter().flatten() {
        let input = file("weights", bytes);
        let _ = flat_nn::read_config(&input);
        MODEL.with(|model| {
            if model.load(&input).is_ok() {
                assert!(model.state().is_ok_and(|state| !state.is_empty()));
            }
        });
    }
}

/// Weights in the files of other programs: PyTorch's archives, and the network that they are of.
pub(super) fn torch(bytes: &[u8]) {
    if let Ok(found) = WeightsFile::read(&file("weights.pt", bytes), &Device::Cpu) {
        let _ = ModelConfig::detect(&found.file.tensors, None);
    }
}

/// Checkpoints of a run.
pub(super) fn checkpoint(bytes: &[u8]) {
    for bytes in [Some(bytes), unsealed(bytes).as_deref()].into_iter().flatten() {
        let _ = checkpoint_step(&file("checkpoint", bytes));
    }
}

/// The same bytes as of a program that writes no checksum, so that what is behind the checksum is reached; `None` where they
/// have none.
fn unsealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let mut sealed = false;
    for word in [&b"flat.checksum"[..], b"xxh64:"] {
        let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(word)).collect();
        sealed |= !places.is_empty();
        places.iter().for_each(|&at| bytes[at] = b'_');
    }
    sealed.then_some(bytes)
}

/// `config.toml`, which read and written again is the same.
pub(super) fn config(bytes: &[u8]) {
    if let Ok(config) = RunConfig::read(&file("config.toml", bytes)) {
        let text = config.to_toml().expect("what was read can be written");
        let again = RunConfig::read(&file("again.toml", text.as_bytes())).expect("what was written can be read");
        assert_eq!(again.to_toml().ok(), Some(text));
    }
}

/// `metrics.jsonl`, of a run that has ended and of one in progress.
pub(super) fn journal(bytes: &[u8]) {
    let input = file("metrics.jsonl", bytes);
    let (ended, going) = (read_journal(&input, false), read_journal(&input, true));
    if let Ok(lines) = ended {
        assert!(going.is_ok_and(|more| more.len() == lines.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;

    #[test]
    fn the_corpus_is_of_files_that_are_read() -> Result<()> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        for name in ["model", "with-checksum"] {
            network().load(&folder.join(format!("safetensors/{name}.safetensors")))?;
        }
        for name in ["step-0000000003", "with-checksum"] {
            assert_eq!(checkpoint_step(&folder.join(format!("checkpoint/{name}.safetensors")))?, 3);
        }
        let sealed = std::fs::read(folder.join("checkpoint/with-checksum.safetensors"))?;
        let mut changed = sealed.clone();
        *changed.last_mut().expect("bytes") ^= 1;
        assert!(checkpoint_step(&file("changed", &changed)).is_err(), "its checksum is another");
        let changed = unsealed(&changed).expect("a checksum");
        assert_eq!(checkpoint_step(&file("unsealed", &changed))?, 3, "what is behind the checksum is reached");
        assert!(unsealed(&changed).is_none());
        RunConfig::read(&folder.join("config/config.toml"))?;
        assert!(read_journal(&folder.join("journal/metrics.jsonl"), false)?.len() > 5);
        Ok(())
    }
}
