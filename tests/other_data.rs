//! Data that changed between two sittings: nothing goes on with them.

use crate::tool::{Room, bytes, fails, json};
use std::path::Path;

/// A small MNIST: noise that tells the label by its first rows.
fn write_mnist(dir: &Path) {
    std::fs::create_dir_all(dir).expect("a folder");
    for (part, n) in [("train", 256u32), ("t10k", 64)] {
        let header = [0x0803, n, 28, 28].into_iter().flat_map(u32::to_be_bytes);
        let pixel =
            |i: u32| if i % 784 / 28 == i / 784 % 10 { 255 } else { (i.wrapping_mul(2_654_435_761) >> 27) as u8 };
        let images: Vec<u8> = header.chain((0..n * 784).map(pixel)).collect();
        std::fs::write(dir.join(format!("{part}-images-idx3-ubyte")), images).expect("written");
        let header = [0x0801, n].into_iter().flat_map(u32::to_be_bytes);
        let labels: Vec<u8> = header.chain((0..n).map(|i| (i % 10) as u8)).collect();
        std::fs::write(dir.join(format!("{part}-labels-idx1-ubyte")), labels).expect("written");
    }
}

/// Changes that leave every file readable: what is said to have changed, the file, and the bytes from here on turned by so many.
const CHANGES: [(&str, &str, usize, usize); 4] = [
    ("training images", "train-labels-idx1-ubyte", 8, 1),
    ("test images", "t10k-labels-idx1-ubyte", 8, 1),
    ("training images", "train-images-idx3-ubyte", 16, 784),
    ("test images", "t10k-images-idx3-ubyte", 16, 1),
];

/// Does something under each change, with what it is called, and puts the data back.
fn under_each(data: &Path, changes: &[(&str, &str, usize, usize)], mut check: impl FnMut(&str, &str)) {
    for (named, file, start, by) in changes {
        let file = data.join(file);
        let kept = bytes(&file);
        let mut changed = kept.clone();
        changed[*start..].rotate_left(*by);
        assert!(changed != kept);
        std::fs::write(&file, changed).expect("written");
        check(named, &file.display().to_string());
        std::fs::write(&file, kept).expect("written");
    }
}

const MLP: &str = "--model mlp --hidden 8 --batch-size 64 --trace-probes 0 --device cpu";

#[test]
fn a_run_is_not_resumed_on_turned_labels_or_images() {
    let room = Room::new();
    let (data, out) = (room.path("data"), room.path("run"));
    write_mnist(&data);
    json(&format!("train {MLP} --steps 6 --checkpoint-every 3 --data-dir {} --out {}", data.display(), out.display()));
    let journal = bytes(&out.join("metrics.jsonl"));
    under_each(&data, &CHANGES, |named, file| {
        let text = fails(&format!("train --resume {} --steps 12", out.display()), 2);
        assert!(text.contains(&format!("the {named} are others")), "{file}: {text}");
        assert!(bytes(&out.join("metrics.jsonl")) == journal, "{file}: the journal was touched");
    });
    json(&format!("train --resume {} --steps 12", out.display()));
}

#[test]
fn a_sweep_does_not_rank_runs_on_other_data_beside_those_it_has() {
    let room = Room::new();
    let (data, out) = (room.path("data"), room.path("sweep"));
    write_mnist(&data);
    let words = |rates: &str| {
        let (data, out) = (data.display(), out.display());
        format!("sweep {MLP} --steps 4 --seeds 0..1 --grid lr={rates} --data-dir {data} --out {out}")
    };
    json(&words("0.1"));
    under_each(&data, &CHANGES[..1], |named, file| {
        let text = fails(&words("0.1,0.2"), 2);
        assert!(text.contains(&format!("the {named} of mnist are others")), "{file}: {text}");
    });
    let board = json(&words("0.1,0.2"));
    assert_eq!(board["rows"].as_array().map(Vec::len), Some(2), "{board}");
}
