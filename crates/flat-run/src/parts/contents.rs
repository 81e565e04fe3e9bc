//! What a file of weights holds, for a person who asks: format, tensors, the network that they are of.

use super::subject::unsaid;
use super::weights::Weights;
use crate::settings::pixels;
use anyhow::Result;
use candle_core::Device;
use flat_core::is_buffer;
use flat_nn::ModelConfig;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Layers that the text lists.
const LISTED: usize = 40;

/// The contents of a file of weights, as `flat-train inspect` prints them.
#[derive(Debug, Serialize)]
pub struct Contents {
    /// The file; of a run directory the one that is read.
    pub file: String,
    /// What kind of file it is.
    pub format: String,
    /// How many tensors are read.
    pub tensors: usize,
    /// Tensors by element type, as they are in the file.
    pub dtypes: BTreeMap<String, usize>,
    /// Numbers in the parameters, without the statistics of batch normalisation.
    pub parameters: usize,
    /// The network, field by field; `None` where none was found.
    pub network: Option<BTreeMap<String, String>>,
    /// Who says so: the file, or its names and shapes.
    pub found_by: Option<&'static str>,
    /// Why no network was found.
    pub unknown: Option<String>,
    /// Whether the network takes images of any size.
    pub any_size: bool,
    /// What comes before the names.
    pub prefix: String,
    /// What comes before the names of averaged weights beside them.
    pub averages: Vec<String>,
    /// What a measure assumes, as the file does not say it.
    pub assumed: Vec<String>,
    /// What was left out or converted.
    pub notes: Vec<String>,
    /// Normalisation of pixels, in words, where the file or its run says it.
    pub pixels: Option<String>,
    /// Data set and optimizer of the run that the file is of.
    pub run: Option<BTreeMap<&'static str, String>>,
    /// The layers in the order of their names.
    pub layers: Vec<Layer>,
}

/// Tensors whose names begin alike.
#[derive(Debug, Serialize)]
pub struct Layer {
    /// How their names begin.
    pub name: String,
    /// How many there are.
    pub tensors: usize,
    /// Numbers in all of them.
    pub numbers: usize,
    /// Shape of the largest.
    pub shape: Vec<usize>,
}

impl Contents {
    /// Reads a file of weights or a run directory; of the names those that begin with `prefix`.
    ///
    /// # Errors
    /// As a measure's: a missing or damaged file, no name with the prefix.
    pub fn read(path: &Path, prefix: Option<&str>) -> Result<Self> {
        let weights = Weights::read(path, &Device::Cpu)?;
        let weights = match prefix {
            Some(prefix) => weights.under(prefix)?,
            None => weights,
        };
        let mut contents = Self {
            file: weights.file.display().to_string(),
            format: weights.format.to_string(),
            tensors: weights.tensors.len(),
            dtypes: weights.dtypes.clone(),
            parameters: 0,
            network: None,
            found_by: None,
            unknown: None,
            any_size: false,
            prefix: String::new(),
            averages: Vec::new(),
            assumed: Vec::new(),
            notes: weights.notes().to_vec(),
            pixels: weights.pixels.as_ref().map(pixels::in_words),
            run: weights
                .run
                .as_ref()
                .map(|run| [("dataset", run.dataset.to_string()), ("optimizer", run.optimizer.to_string())].into()),
            layers: Vec::new(),
        };
        let fields = |config: &ModelConfig| Some(config.to_metadata().into_iter().collect());
        match (&weights.model, ModelConfig::detect(&weights.tensors, None)) {
            (Some(config), _) => {
                (contents.network, contents.found_by) = (fields(config), Some("file"));
            }
            (None, Ok(found)) => {
                (contents.network, contents.found_by) = (fields(&found.config), Some("names and shapes"));
                (contents.prefix, contents.averages) = (found.prefix, found.averages);
                contents.any_size = found.any_size;
                contents.assumed = unsaid(&found.config, &|flag| flag == "norm", weights.pixels.is_none());
            }
            (None, Err(e)) => contents.unknown = Some(e.to_string()),
        }
        let own = weights.tensors.iter().filter(|(name, _)| name.starts_with(&contents.prefix));
        contents.parameters = own.filter(|(name, _)| !is_buffer(name)).map(|(_, tensor)| tensor.elem_count()).sum();
        let mut layers: BTreeMap<String, Layer> = BTreeMap::new();
        for (name, tensor) in &weights.tensors {
            let beyond = name.strip_prefix(&contents.prefix).unwrap_or(name);
            let segments: Vec<&str> = beyond.split('.').collect();
            let kept = segments[..segments.len().saturating_sub(1).clamp(1, 2)].join(".");
            let key = format!("{}{kept}", &name[..name.len() - beyond.len()]);
            let layer = layers.entry(key.clone()).or_insert(Layer { name: key, tensors: 0, numbers: 0, shape: vec![] });
            layer.tensors += 1;
            layer.numbers += tensor.elem_count();
            if tensor.elem_count() >= layer.shape.iter().product() {
                layer.shape = tensor.dims().to_vec();
            }
        }
        contents.layers = layers.into_values().collect();
        Ok(contents)
    }

    /// For a person.
    pub fn text(&self) -> String {
        let dtypes: Vec<String> = self.dtypes.iter().map(|(dtype, n)| format!("{n} of {dtype}")).collect();
        let mut out = format!(
            "{}: {}, {} tensors ({}), {} parameters",
            self.file,
            self.format,
            self.tensors,
            dtypes.join(", "),
            self.parameters
        );
        if let (Some(network), Some(by)) = (&self.network, self.found_by) {
            let size = ["height", "width"];
            let told = network.iter().filter(|(k, v)| !(v.is_empty() || self.any_size && size.contains(&k.as_str())));
            let told: Vec<String> = told.map(|(key, value)| format!("{key} {value}")).collect();
            let any = if self.any_size { ", images of any size" } else { "" };
            let _ = write!(out, "\nnetwork, by its {by}: {}{any}", told.join(", "));
        }
        let mut line = |what: &str, text: &str| {
            let _ = write!(out, "\n{what}: {text}");
        };
        self.unknown.iter().for_each(|why| line("network unknown", why));
        if !self.prefix.is_empty() {
            line("prefix", &self.prefix);
        }
        self.averages.iter().for_each(|prefix| line("averaged weights beside them", &format!("--prefix {prefix}")));
        self.pixels.iter().for_each(|pixels| line("pixels", pixels));
        self.run.iter().flatten().for_each(|(what, value)| line(what, value));
        if !self.assumed.is_empty() {
            line("assumed where it is measured", &self.assumed.join(", "));
        }
        self.notes.iter().for_each(|note| line("note", note));
        let wide = self.layers.iter().take(LISTED).map(|layer| layer.name.chars().count()).max().unwrap_or(0);
        for layer in self.layers.iter().take(LISTED) {
            let _ = write!(
                out,
                "\n  {:<wide$}  {:>3} tensors  {:>10} numbers  {:?}",
                layer.name, layer.tensors, layer.numbers, layer.shape
            );
        }
        if let Some(more) = self.layers.len().checked_sub(LISTED).filter(|more| *more > 0) {
            let _ = write!(out, "\n  and {more} more; --json lists all");
        }
        out
    }
}
