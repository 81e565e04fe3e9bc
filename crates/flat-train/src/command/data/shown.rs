//! `flat-train data show`: what a path to images of one's own holds.

use crate::args::ShowArgs;
use crate::command::print;
use crate::exit::Outcome;
use anyhow::Result;
use flat_core::memory;
use flat_data::{ImageSize, Normalisation, OwnImages, OwnOptions, Sides, Split};
use flat_run::settings::watched;
use flat_run::usage;
use flat_run::value::table::{item, pairs};
use serde_json::{Value, json};

/// Reads the images and shows what they are.
pub(super) fn show(args: &ShowArgs, as_json: bool) -> Result<Outcome> {
    if args.test_fraction.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
        return Err(usage("--test-fraction: give a share above 0 and below 1"));
    }
    if args.image_channels.is_some_and(|n| n != 1 && n != 3) {
        return Err(usage("--image-channels: give 1 for grey or 3 for colours"));
    }
    // images of several sizes are shown at one that all have
    let mixed = OwnImages::survey(&args.path)?.filter(|sides| sides.smallest != sides.largest);
    let shorter = |sides: Sides| ImageSize::Square(sides.smallest.into_iter().min().unwrap_or(1));
    let options = OwnOptions {
        size: args.image_size.or(mixed.map(shorter)),
        channels: args.image_channels,
        test_fraction: args.test_fraction,
        seed: args.validation_seed,
    };
    let own = watched(|watch| OwnImages::read_watched(&args.path, &options, watch))?;
    let Normalisation { mean, std } = Normalisation::of(&own.train)?;
    let [channels, height, width] = own.shape();
    let value = json!({
        "path": own.path, "form": own.form, "classes": own.classes, "train": part(&own.train), "test": part(&own.test),
        "held_out": own.held_out, "found": own.found, "shape": [channels, height, width], "mean": mean, "std": std,
        "bytes": own.bytes(), "notes": own.notes,
    });
    print(as_json, &value, || {
        let numbers = |all: &[f64]| all.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>().join(",");
        let Sides { smallest: [h, w], largest: [tall, wide], channels: found } = own.found;
        let colors = |n: usize| if n == 1 { "grey" } else { "colours" };
        let were = if [h, w] == [tall, wide] { format!("{h}x{w}") } else { format!("from {h}x{w} to {tall}x{wide}") };
        let head = pairs([
            ("form", value["form"].as_str().unwrap_or_default().to_string()),
            ("classes", own.classes.len().to_string()),
            ("images", format!("{} to train on, {} to test on", own.train.len(), own.test.len())),
            ("sizes", format!("{were}, {}; read as {height}x{width}, {}", colors(found), colors(channels))),
            ("mean", numbers(&mean)),
            ("std", numbers(&std)),
            ("memory", memory::in_words(own.bytes())),
        ]);
        let [train, test] = [counts(&own.train), counts(&own.test)];
        let class =
            |(i, name): (usize, &String)| item(&format!("{name}: {} to train on, {} to test on", train[i], test[i]));
        let notes = own.notes.iter().map(|note| item(note));
        [head].into_iter().chain(notes).chain(own.classes.iter().enumerate().map(class)).collect::<Vec<_>>().join("\n")
    })
}

/// The number of images, and of those of each class.
fn part(split: &Split) -> Value {
    json!({ "images": split.len(), "per_class": counts(split) })
}

fn counts(split: &Split) -> Vec<usize> {
    let mut counts = vec![0; split.classes()];
    split.labels().iter().for_each(|label| counts[usize::from(*label)] += 1);
    counts
}
