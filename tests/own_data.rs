//! Images of one's own: trained on, measured, swept, resumed and refused.

use crate::tool::{Room, bytes, fails, json, last_checkpoint, run};
use std::path::Path;

const MLP: &str = "--model mlp --hidden 32 --batch-size 16 --trace-probes 0 --device cpu";

/// An image of a class: noise with a bright band whose place is the class.
fn picture(class: u32, i: u32, [height, width]: [u32; 2]) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let noise = ((x + 31 * y + 977 * i).wrapping_mul(2_654_435_761) >> 27) as u8;
        let band = if y * 3 / height == class { 200 } else { 0 };
        image::Rgb([noise + band, noise + band, noise + band / 2])
    })
}

/// Folders of three classes, to train on and to test on; the sizes take turns.
fn write_folder(dir: &Path, classes: [&str; 3], sizes: &[[u32; 2]]) {
    for (part, n) in [("train", 24), ("val", 8)] {
        for (class, name) in classes.into_iter().enumerate() {
            let folder = dir.join(part).join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            for i in 0..n {
                let size = sizes[i as usize % sizes.len()];
                let file = folder.join(format!("{i:02}.{}", if i % 2 == 0 { "png" } else { "jpg" }));
                picture(class as u32, i, size).save(file).expect("written");
            }
        }
    }
}

#[test]
fn a_folder_of_images_is_trained_on_measured_resumed_and_swept() {
    let room = Room::new();
    let (data, out) = (room.path("flowers"), room.path("run"));
    write_folder(&data, ["aster", "broom", "clover"], &[[20, 24], [18, 18]]);
    let text = fails(&format!("train {MLP} --dataset {}", data.display()), 1);
    assert!(text.contains("--image-size") && text.contains("2 sizes"), "{text}");
    let train = format!("train {MLP} --image-size 32 --augment flip,crop --dataset {}", data.display());
    let summary = json(&format!("{train} --lr 0.003 --steps 60 --checkpoint-every 20 --out {}", out.display()));
    assert!(summary["test_accuracy"].as_f64() > Some(0.9), "the bands are easy to tell: {summary}");
    let config: toml::Table = std::fs::read_to_string(out.join("config.toml")).expect("read").parse().expect("TOML");
    let names: Vec<&str> = config["class-names"].as_array().expect("names").iter().filter_map(|v| v.as_str()).collect();
    assert_eq!(names, ["aster", "broom", "clover"]);
    let shown = json(&format!("data show {} --image-size 32", data.display()));
    for key in ["mean", "std"] {
        let list = |v: &toml::Value| {
            v.as_array().expect("numbers").iter().filter_map(toml::Value::as_float).collect::<Vec<_>>()
        };
        let there: Vec<f64> = shown[key].as_array().expect("numbers").iter().filter_map(|x| x.as_f64()).collect();
        assert_eq!((list(&config[key]), there.len()), (there, 3), "{key}: as data show says");
    }
    let scored = json(&format!("eval --checkpoint {}", out.display()));
    assert_eq!(scored["accuracy"], summary["test_accuracy"], "{scored}");
    let trace = json(&format!("metrics trace --probes 4 --checkpoint {}", out.display()));
    assert!(trace["data"].to_string().contains("flowers"), "{trace}");
    // moved, it is found again; other classes and other images are refused
    let moved = room.path("moved");
    std::fs::rename(&data, &moved).expect("moved");
    fails(&format!("eval --checkpoint {}", out.display()), 1);
    let again = json(&format!("eval --checkpoint {} --dataset {}", out.display(), moved.display()));
    assert_eq!(again["accuracy"], scored["accuracy"]);
    json(&format!("train --resume {} --steps 80 --data-dir {}", out.display(), moved.display()));
    assert_eq!(last_checkpoint(&out), Some(80));
    let weights = room.path("alone.safetensors");
    std::fs::write(&weights, bytes(&out.join("model.safetensors"))).expect("copied");
    let other = room.path("other");
    write_folder(&other, ["aster", "broom", "daisy"], &[[16, 16]]);
    for from in [&out, &weights] {
        let text =
            fails(&format!("eval --checkpoint {} --dataset {} --image-size 32", from.display(), other.display()), 2);
        assert!(text.contains("aster, broom, daisy") && text.contains("aster, broom, clover"), "{text}");
    }
    let text =
        fails(&format!("eval --checkpoint {} --dataset {} --image-size 12", weights.display(), moved.display()), 2);
    assert!(text.contains("12x12") && text.contains("--image-size 32"), "{text}");
    let file = moved.join("train/aster/00.png");
    picture(1, 99, [20, 24]).save(&file).expect("written");
    let text = fails(&format!("train --resume {} --steps 100", out.display()), 2);
    assert!(text.contains("training images are others"), "{text}");
    let board = json(&format!(
        "sweep {MLP} --steps 4 --seeds 0..1 --grid lr=0.1,0.2 --image-size 32 --dataset {} --out {}",
        moved.display(),
        room.path("sweep").display()
    ));
    assert_eq!(board["rows"].as_array().map(Vec::len), Some(2), "{board}");
}

#[test]
fn flags_of_images_of_ones_own_want_a_path_and_say_so() {
    for flag in ["--image-size 16", "--image-channels 1", "--test-fraction 0.1", "--class-names a,b"] {
        let text = fails(&format!("train {MLP} --steps 1 {flag}"), 2);
        assert!(text.contains(flag.split(' ').next().expect("a flag")) && text.contains("path"), "{text}");
    }
    let text = fails(&format!("train {MLP} --steps 1 --dataset ./nowhere-at-all"), 1);
    assert!(text.contains("nowhere-at-all"), "{text}");
    let text = fails(&format!("train {MLP} --steps 1 --dataset minst"), 2);
    assert!(text.contains("mnist"), "{text}");
}

#[test]
fn idx_files_of_a_known_set_read_as_ones_own_have_the_same_images() {
    let room = Room::new();
    let run_of = |dataset: &str, name: &str| {
        let out = room.path(name);
        let words = format!(
            "train {MLP} --steps 3 --train-limit 64 --test-limit 64 --mean 0.1307 --std 0.3081 --dataset {dataset}"
        );
        json(&format!("{words} --out {}", out.display()));
        bytes(&out.join("model.safetensors"))
    };
    let model = |bytes: Vec<u8>| {
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors").names().len();
        let end = bytes.len() - 4 * (784 * 32 + 32 + 320 + 10);
        (file, bytes[end..].to_vec())
    };
    assert_eq!(model(run_of("mnist", "named")), model(run_of("./data/mnist", "own")), "bit for bit the same weights");
    let out = run("data show data/mnist");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && text.contains("28x28, grey") && text.contains("0.1307"), "{text}");
}
