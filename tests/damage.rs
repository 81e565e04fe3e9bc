//! Checkpoints that a disk, a copy or a program damaged: none is taken for whole.

use crate::tool::{Room, SMALL, bytes, fails, json};
use candle_core::{Device, Tensor};
use flat_nn::TensorFile;
use std::collections::BTreeMap;
use std::path::Path;

/// Ways in which a file is damaged, each from a number of its own.
pub const KINDS: [&str; 9] =
    ["bit flipped", "bits flipped", "zeros", "ones", "noise", "moved", "stale", "cut", "longer"];

/// The next of a row of numbers that looks random (Steele, Lea & Flood 2014, SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A damaged copy of `whole`, never equal to it, and what was done to it: the same for the same number. A stale block comes from
/// `other`, an earlier version of the file.
pub fn damaged(whole: &[u8], other: &[u8], number: u64) -> (Vec<u8>, String) {
    let mut state = number;
    let mut below = |end: usize| (next(&mut state) % end.max(1) as u64) as usize;
    loop {
        let kind = KINDS[number as usize % KINDS.len()];
        let mut bytes = whole.to_vec();
        // half of the places are in the header, which is a small part of the file
        let header = whole.first_chunk().map_or(0, |n| u64::from_le_bytes(*n) as usize + 8).min(whole.len());
        let at = if below(2) == 0 { below(header) } else { below(whole.len()) };
        let block = [1, 8, 64, 512, 4096][below(5)].min(whole.len() - at);
        match kind {
            "bit flipped" => bytes[at] ^= 1 << below(8),
            "bits flipped" => (0..8).for_each(|_| bytes[below(whole.len())] ^= 1 << below(8)),
            "zeros" => bytes[at..at + block].fill(0),
            "ones" => bytes[at..at + block].fill(0xff),
            "noise" => bytes[at..at + block].iter_mut().for_each(|byte| *byte = below(256) as u8),
            "moved" => {
                let from = below(whole.len() - block + 1);
                bytes.copy_within(from..from + block, at);
            }
            "stale" => {
                let end = (at + 4096).min(whole.len()).min(other.len());
                if at < end {
                    bytes[at..end].copy_from_slice(&other[at..end]);
                }
            }
            "cut" => bytes.truncate(at),
            _ => bytes.extend((0..=below(4096)).map(|i| i as u8)),
        }
        if bytes != whole {
            return (bytes, format!("{kind} at {at}, block of {block}, number {number}"));
        }
    }
}

/// A run with much state, whose checkpoints are those after 2 and 4 steps.
const RICH: &str = "--optimizer looksam --base adamw --ema 0.9 --steps 4 --checkpoint-every 2 --keep-checkpoints 9";

fn step(run: &Path, step: u64) -> std::path::PathBuf {
    run.join(format!("checkpoints/step-{step:010}.safetensors"))
}

#[test]
fn of_a_thousand_damaged_checkpoints_and_models_none_is_read() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} {RICH} --out {}", out.display()));
    let earlier = bytes(&step(&out, 2));
    for file in [step(&out, 4), out.join("model.safetensors"), out.join("checkpoints/best.safetensors")] {
        let whole = bytes(&file);
        assert!(TensorFile::parse(&whole, &Device::Cpu).expect("whole").checked, "{}", file.display());
        for number in 0..1000 {
            let (damaged, what) = damaged(&whole, &earlier, number);
            assert!(TensorFile::parse(&damaged, &Device::Cpu).is_err(), "{}: {what}", file.display());
        }
    }
}

#[test]
fn a_run_goes_on_from_the_checkpoint_before_a_damaged_one_to_the_same_weights() {
    let room = Room::new();
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    for out in [&whole, &cut] {
        json(&format!("{SMALL} {RICH} --out {}", out.display()));
    }
    let expected = bytes(&whole.join("model.safetensors"));
    let (newest, other) = (bytes(&step(&cut, 4)), bytes(&step(&cut, 2)));
    for number in 0..KINDS.len() as u64 {
        let (damaged, what) = damaged(&newest, &other, number);
        std::fs::write(step(&cut, 4), damaged).expect("written");
        std::fs::remove_file(cut.join("model.safetensors")).expect("there");
        let out = crate::tool::run(&format!("train --resume {}", cut.display()));
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && said.contains("going on from the one before"), "{what}: {said}");
        assert!(bytes(&cut.join("model.safetensors")) == expected, "{what}: other weights");
    }
}

/// A checkpoint with some of its contents changed, under a checksum that is right, or under none as in an earlier version.
fn rewritten(path: &Path, checksum: bool, change: impl FnOnce(&mut TensorFile)) {
    let mut file = TensorFile::read(path, &Device::Cpu).expect("whole");
    change(&mut file);
    match checksum {
        true => file.write(path).expect("written"),
        false => {
            let (tensors, metadata) = (file.tensors, file.metadata.into_iter().collect());
            let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
            std::fs::write(path, safetensors::serialize(&tensors, Some(metadata)).expect("bytes")).expect("written");
        }
    }
}

#[test]
fn a_checkpoint_of_an_earlier_version_without_a_checksum_is_read_and_said_to_be_one() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} {RICH} --out {}", out.display()));
    let expected = bytes(&out.join("model.safetensors"));
    rewritten(&step(&out, 4), false, |_| ());
    std::fs::remove_file(out.join("model.safetensors")).expect("there");
    let resumed = crate::tool::run(&format!("train --resume {}", out.display()));
    let said = String::from_utf8_lossy(&resumed.stderr).into_owned();
    assert!(resumed.status.success(), "{said}");
    assert_eq!(said.matches("checksum").count(), 1, "{said}");
    assert!(bytes(&out.join("model.safetensors")) == expected);
    rewritten(&out.join("model.safetensors"), false, |_| ());
    let evaluated = crate::tool::run(&format!("eval --checkpoint {}", out.join("model.safetensors").display()));
    let said = String::from_utf8_lossy(&evaluated.stderr).into_owned();
    assert!(evaluated.status.success() && said.matches("checksum").count() == 1, "{said}");
}

#[test]
fn state_that_is_not_finite_is_damage_whatever_its_checksum_says() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} {RICH} --out {}", out.display()));
    let whole = bytes(&step(&out, 4));
    let names: Vec<String> = TensorFile::parse(&whole, &Device::Cpu).expect("whole").tensors.into_keys().collect();
    let state: Vec<&String> = names.iter().filter(|name| name.ends_with("fc2.bias")).collect();
    assert!(state.len() >= 5, "weights, average, two moments and what the rule keeps: {names:?}");
    for (name, (value, checksum)) in
        state.into_iter().zip([(f32::NAN, true), (f32::INFINITY, false)].into_iter().cycle())
    {
        std::fs::write(step(&out, 4), &whole).expect("written");
        rewritten(&step(&out, 4), checksum, |file| {
            let tensor = Tensor::new(value, &Device::Cpu).and_then(|t| t.broadcast_as(file.tensors[name].shape()));
            file.tensors.insert(name.clone(), tensor.and_then(|t| t.contiguous()).expect("a tensor"));
        });
        let resumed = crate::tool::run(&format!("train --resume {}", out.display()));
        let said = String::from_utf8_lossy(&resumed.stderr).into_owned();
        let own = name.split_once('.').expect("a prefix").1;
        let fault = said.contains(&format!("`{own}` holds values that are not finite"));
        assert!(resumed.status.success() && fault && said.contains("going on from the one before"), "{name}: {said}");
    }
    rewritten(&step(&out, 4), true, |file| {
        let tensors = file.tensors.iter_mut().filter(|(_, tensor)| tensor.dtype().is_float());
        tensors.for_each(|(_, tensor)| *tensor = tensor.affine(0.0, f64::NAN).expect("a tensor"));
    });
    let text = fails(&format!("eval --checkpoint {}", step(&out, 4).display()), 1);
    assert!(text.contains("not finite"), "{text}");
}
