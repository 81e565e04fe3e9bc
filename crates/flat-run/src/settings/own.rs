//! Images of one's own in a configuration: what was found of them is filled in, and is checked whenever they are read.

use super::config::RunConfig;
use super::pixels::PIXELS;
use super::reading::watched;
use crate::usage::usage;
use anyhow::{Context, Result};
use flat_core::setting::{Text, Values};
use flat_data::{ImageSize, Images, Normalisation, OwnImages, OwnOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Settings that say what was found of images of one's own, which other images do not share.
pub(crate) const FOUND: [&str; 4] = ["class-names", "image-size", "image-channels", "test-fraction"];

/// What a weights file calls the classes of the images that it was trained on.
const CLASSES: &str = "class_names";

/// Images that were read, with what they were read from and brought to.
type Kept = (PathBuf, Vec<OwnOptions>, Arc<OwnImages>);

/// The images that were read last: a configuration is filled in before its run reads the same.
static LAST: Mutex<Option<Kept>> = Mutex::new(None);

fn options(config: &RunConfig) -> OwnOptions {
    OwnOptions {
        size: config.image_size.map(|size| size.0),
        channels: config.image_channels,
        test_fraction: config.test_fraction,
        seed: config.validation_seed,
    }
}

fn kept_or_read(path: &Path, options: OwnOptions) -> Result<Arc<OwnImages>> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, own)) = last.as_ref().filter(|(of, known, _)| of == path && known.contains(&options)) {
        return Ok(own.clone());
    }
    // two sets of images need not be in memory at once
    *last = None;
    let own = Arc::new(watched(|watch| OwnImages::read_watched(path, &options, watch)).context("--dataset")?);
    let [channels, height, width] = own.shape();
    let filled = OwnOptions {
        size: options.size.or(Some(ImageSize::of([height, width]))),
        channels: Some(channels),
        test_fraction: own.held_out,
        ..options
    };
    *last = Some((path.into(), vec![options, filled], own.clone()));
    Ok(own)
}

/// The images of one's own of a configuration; `None` for a data set by its name.
///
/// # Errors
/// Images that cannot be read, or of other classes than `class-names` says.
pub fn images(config: &RunConfig) -> Result<Option<Arc<OwnImages>>> {
    let Some(path) = config.dataset.own() else { return Ok(None) };
    let own = kept_or_read(path, options(config))?;
    let named = |names: &[Text<String>]| names.iter().map(|name| name.0.clone()).collect::<Vec<_>>();
    if let Some(names) = config.class_names.as_deref().map(named) {
        same_classes(path, &own.classes, &names)?;
    }
    Ok(Some(own))
}

/// Refuses images of other classes than these.
///
/// # Errors
/// A usage error that names both.
pub fn same_classes(path: &Path, found: &[String], names: &[String]) -> Result<()> {
    if found == names {
        return Ok(());
    }
    Err(usage(format!(
        "--dataset {}: its classes are {}, where {} are expected: give images of the same classes",
        path.display(),
        few(found),
        few(names)
    )))
}

/// Names in a line, the first of many.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// Fills in what images of one's own are found to be, where the configuration does not say all of it.
///
/// That is size, channels, classes, the share that is held out, and the mean and deviation of the training images.
///
/// # Errors
/// As [`images`].
pub fn fill(config: &mut RunConfig) -> Result<()> {
    let Some(path) = config.dataset.own() else { return Ok(()) };
    let path = std::path::absolute(path)?;
    config.dataset = Images::Own(path);
    let pixels = config.mean.is_some() || config.std.is_some();
    let computes = !pixels && config.normalize != Some(super::choice::NormalizeName::None);
    if config.class_names.is_some() && config.image_size.is_some() && config.image_channels.is_some() && !computes {
        return Ok(());
    }
    let Some(own) = images(config)? else { return Ok(()) };
    let [channels, height, width] = own.shape();
    config.image_size.get_or_insert(Text(ImageSize::of([height, width])));
    config.image_channels = Some(channels);
    config.test_fraction = own.held_out;
    config.class_names = Some(own.classes.iter().cloned().map(Text).collect());
    if computes {
        let Normalisation { mean, std } = Normalisation::of(&own.train).context("--dataset")?;
        (config.normalize, config.mean, config.std) = (None, Some(mean), Some(std));
    }
    Ok(())
}

/// What to say of images of one's own before they are trained on; nothing of a known data set.
///
/// # Errors
/// As [`images`].
pub fn in_words(config: &RunConfig) -> Result<Vec<String>> {
    let Some(own) = images(config)? else { return Ok(Vec::new()) };
    let [channels, height, width] = own.shape();
    let numbers = |all: &[f64]| all.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>().join(",");
    let Normalisation { mean, std } = super::pixels::of_run(config)?;
    let images = format!(
        "images: {} classes, {channels}x{height}x{width}, {} of memory; pixels in [0, 1] less {} over {}",
        own.classes.len(),
        flat_core::memory::in_words(own.bytes()),
        numbers(&mean),
        numbers(&std)
    );
    Ok([images].into_iter().chain(own.notes.iter().cloned()).collect())
}

/// The settings of a file that other flags leave without meaning: what was found of its images, where the flags name others.
pub(crate) fn stale(file: &Values, flags: &Values) -> Vec<&'static str> {
    let changed = |key: &str| {
        let [there, given] = [file, flags].map(|values| values.get(key).map(ToString::to_string));
        there.is_some() && given.is_some() && there != given
    };
    let own = |values: &Values| {
        values.get("dataset").is_some_and(|v| v.to_string().parse().is_ok_and(|i: Images| i.own().is_some()))
    };
    match (own(file), changed("dataset"), changed("image-channels")) {
        (true, true, _) => FOUND.into_iter().chain(PIXELS).collect(),
        (true, false, true) => PIXELS.into(),
        _ => Vec::new(),
    }
}

/// The classes as a weights file records them; nothing for a data set by its name.
pub fn to_metadata(config: &RunConfig) -> BTreeMap<String, String> {
    let names = config.class_names.as_ref().filter(|_| config.dataset.own().is_some());
    let text =
        |names: &Vec<Text<String>>| serde_json::json!(names.iter().map(|name| &name.0).collect::<Vec<_>>()).to_string();
    names.map(|names| (CLASSES.to_string(), text(names))).into_iter().collect()
}

/// The classes that a weights file records; `None` where it records none.
pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Vec<String>> {
    serde_json::from_str(metadata.get(CLASSES)?).ok()
}

impl RunConfig {
    /// Channels, height and width of an image, once it is filled in.
    pub fn shape(&self) -> [usize; 3] {
        match self.dataset.known() {
            Some(kind) => kind.shape(),
            None => {
                let [height, width] = self.image_size.map_or([1, 1], |size| size.sides());
                [self.image_channels.unwrap_or(1), height, width]
            }
        }
    }

    /// Whether its images are those of another configuration, as far as the two can tell.
    ///
    /// They are of the same data set, or images of one's own of the same classes and shape.
    pub fn is_of_same_images(&self, other: &Self) -> bool {
        let alike = self.class_names == other.class_names && self.shape() == other.shape();
        self.dataset == other.dataset || (self.dataset.own().is_some() && other.dataset.own().is_some() && alike)
    }

    /// The number of classes, once it is filled in.
    pub fn classes(&self) -> usize {
        match self.dataset.known() {
            Some(kind) => kind.classes,
            None => self.class_names.as_ref().map_or(0, Vec::len),
        }
    }
}
