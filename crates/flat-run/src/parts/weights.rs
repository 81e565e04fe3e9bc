//! Weights on disk: a run directory, one of its files, or a file from elsewhere: PyTorch's archive, safetensors, an index of shards.

use crate::parts::setup;
use crate::parts::statistics;
use crate::settings::config::RunConfig;
use crate::settings::{own, pixels};
use crate::store::checkpoint::{self, Checkpoint};
use crate::usage::usage;
use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use flat_core::Streams;
use flat_data::Normalisation;
use flat_nn::{Error, Format, Model, ModelConfig, WeightsFile};
use flat_optim::Averaging;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Tensors by PyTorch name, with the model, run and normalisation that they belong to.
pub struct Weights {
    /// The file they were read from.
    pub file: PathBuf,
    /// Parameters and BatchNorm buffers; of a checkpoint of a run that averages them, the averaged
    /// parameters.
    pub tensors: BTreeMap<String, Tensor>,
    /// The model they belong to, where the file or the run says it.
    pub model: Option<ModelConfig>,
    /// Whether the buffers do not belong to the parameters: an average, or the work of a rule that evaluates beside them.
    averaged: bool,
    /// The normalisation of the pixels they were trained on, where the file or the run says it.
    pub pixels: Option<Normalisation>,
    /// The names of the classes, where they are of images of one's own and the file says them.
    pub classes: Option<Vec<String>>,
    /// The configuration of the run they are of.
    pub run: Option<RunConfig>,
    /// Why the `config.toml` beside them is not used, where there is one.
    pub passed_over: Option<String>,
    /// Whether this program wrote them before it wrote checksums.
    unchecked: bool,
    /// What kind of file it is.
    pub format: Format,
    /// How many tensors of each element type the file has.
    pub dtypes: BTreeMap<String, usize>,
    /// What was left out or converted as the file was read.
    notes: Vec<String>,
}

/// What to know of a file without a checksum.
const UNCHECKED: &str = "an earlier version wrote the file without a checksum: damage to it would go unnoticed";

/// The configuration beside a file, or why it cannot be read.
type Beside = Option<Result<RunConfig, String>>;

impl Weights {
    /// Reads the weights of a run directory, one of its files, or a file of weights from elsewhere.
    ///
    /// # Errors
    /// No such file, a damaged file, a run without weights.
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        if path.is_dir() {
            return Self::of_run(path, device);
        }
        let beside = beside(path);
        let file = path.to_path_buf();
        let WeightsFile { file: found, notes, format, dtypes } =
            WeightsFile::read(path, device).map_err(|e| match e {
                Error::Checkpoint { reason, path } => {
                    anyhow!(reason).context(format!("cannot read {}", path.display()))
                }
                e => anyhow::Error::from(e).context("cannot read weights"),
            })?;
        // this program says of its files which model they hold; others write no checksum
        let model = flat_nn::ModelConfig::from_metadata(|key| found.metadata.get(key).map(String::as_str)).ok();
        let (said, checked) = (found.metadata.clone(), found.checked);
        let classes = own::from_metadata(&said);
        let tensors = match Checkpoint::of(found.clone()) {
            Ok(None) => found.tensors,
            Ok(Some(found)) => {
                // a run keeps its checkpoints in a folder; elsewhere the configuration may be a neighbour's
                let in_place = path.parent().is_some_and(|parent| parent.ends_with("checkpoints"));
                let (run, passed_over) = owned(beside, |run| in_place || fits(run, &found.model));
                let model = run.as_ref().map(setup::model_config_of);
                let pixels = run.as_ref().map(pixels::of_run).transpose()?;
                let (tensors, averaged) = evaluated(found)?;
                let lags = |run: &RunConfig| run.has_network() || run.rules().iter().any(|rule| rule.lags_statistics());
                let averaged = averaged || run.as_ref().is_some_and(lags);
                let averaged = averaged && tensors.keys().any(|name| name.ends_with("running_var"));
                return Ok(Self {
                    file,
                    tensors,
                    model,
                    averaged,
                    pixels,
                    classes,
                    run,
                    passed_over,
                    unchecked: !checked,
                    notes,
                    format,
                    dtypes,
                });
            }
            Err(e) => return Err(e.context(format!("cannot read {}", path.display()))),
        };
        // a file from elsewhere says nothing of its model, and the run that it was put beside is not its own
        let (run, passed_over) = owned(beside, |run| model.as_ref() == Some(&setup::model_config_of(run)));
        let pixels = match pixels::from_metadata(&said) {
            Some(said) => Some(said),
            None => run.as_ref().map(pixels::of_run).transpose()?,
        };
        let unchecked = model.is_some() && !checked;
        Ok(Self {
            file,
            tensors,
            model,
            averaged: false,
            pixels,
            classes,
            run,
            passed_over,
            unchecked,
            notes,
            format,
            dtypes,
        })
    }

    /// Those whose names begin with `prefix`, without it.
    ///
    /// # Errors
    /// A usage error where there are none.
    pub fn under(mut self, prefix: &str) -> Result<Self> {
        let strip = |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor.clone()));
        let under: BTreeMap<String, Tensor> = self.tensors.iter().filter_map(strip).collect();
        if under.is_empty() {
            let starts: BTreeSet<&str> =
                self.tensors.keys().filter_map(|name| name.split('.').next()).take(200).collect();
            let starts: Vec<String> = starts.into_iter().take(6).map(|s| format!("`{}.`", s.escape_debug())).collect();
            let file = self.file.display();
            return Err(usage(format!(
                "--prefix {prefix}: no name in {file} begins with it; names begin with {}",
                starts.join(", ")
            )));
        }
        self.tensors = under;
        Ok(self)
    }

    fn of_run(root: &Path, device: &Device) -> Result<Self> {
        if !root.join("config.toml").is_file() {
            bail!("{} is no run directory (config.toml is missing)", root.display());
        }
        let (model, folder) = (root.join("model.safetensors"), root.join("checkpoints"));
        let (first, best) = (checkpoint::file(&folder, 0), folder.join("best.safetensors"));
        let mut seen: Option<PathBuf> = None;
        loop {
            // before its first step a run has nothing to show
            let newest = checkpoint::list(&folder)?.pop().filter(|file| *file != first);
            let there = |file: &PathBuf| Some(file.clone()).filter(|file| file.is_file());
            let Some(file) = there(&model).or(newest).or_else(|| there(&best)) else {
                bail!("{}: the run has written no weights yet", root.display());
            };
            match Self::read(&file, device) {
                // a run in progress deletes its old checkpoints as it writes new ones: take the next
                Err(_) if !file.exists() && seen.as_ref() != Some(&file) => seen = Some(file),
                read => return read,
            }
        }
    }

    /// Puts the weights into a model, converted to its element type. Gives a line on what is to be known of the file, such
    /// as entries that are no weights of the model. `images` says where images are, which may be the run's,
    /// if not where it read them.
    ///
    /// # Errors
    /// Weights of another model, more than one set of them, weights that are not finite.
    pub fn load_into(&self, model: &Model, images: Option<&RunConfig>) -> Result<Option<String>> {
        let of_file = |e: Error| match e {
            e @ (Error::OtherModel { .. } | Error::BadState(_)) => {
                anyhow::Error::from(e).context(format!("{} is of another model", self.file.display()))
            }
            e => anyhow::Error::from(e).context(self.file.display().to_string()),
        };
        let adopted = model.adopt(&self.tensors).map_err(of_file)?;
        model.set_state(&adopted.state).map_err(of_file)?;
        if self.averaged {
            // the checkpoint's statistics are those of the raw weights
            let run = self.run.as_ref().with_context(|| match &self.passed_over {
                None => format!("{}: its run has no config.toml", self.file.display()),
                Some(why) => format!("{}: {why}", self.file.display()),
            })?;
            let dtype = model.params().space().dtype;
            let train = setup::training(images.filter(|told| told.is_of_same_images(run)).unwrap_or(run))?;
            let device = &model.params().space().device;
            let train = setup::plain_loader(train, pixels::of_run(run)?, setup::EVAL_BATCH, dtype, device)?;
            if !statistics::refresh(model, &train)? {
                return Err(flat_metrics::Error::Interrupted.into());
            }
        }
        let unchecked = self.unchecked.then(|| UNCHECKED.to_string());
        let average = adopted.averages.first().map(|average| {
            format!("the file holds an average of the weights too: --prefix {} takes it", average.escape_debug())
        });
        let notes =
            ignored(&adopted.ignored).into_iter().chain(unchecked).chain(average).chain(self.notes.iter().cloned());
        let notes: Vec<String> = notes.collect();
        Ok((!notes.is_empty()).then(|| notes.join("; ")))
    }

    /// What was left out or converted as the file was read.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Element type of the weights.
    pub fn dtype(&self) -> Option<DType> {
        self.tensors.values().map(Tensor::dtype).find(|d| d.is_float())
    }
}

/// A checkpoint's weights where the run evaluated them, and whether that is elsewhere than where it trained: at an average of
/// the weights, or off theta by a base's offset.
fn evaluated(checkpoint: Checkpoint) -> Result<(BTreeMap<String, Tensor>, bool)> {
    let Checkpoint { model: mut tensors, optimizer, progress, .. } = checkpoint;
    let part = |prefix: &str| {
        let of = |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor.clone()));
        optimizer.iter().filter_map(of).collect::<Vec<_>>()
    };
    for kept in [Averaging::Exponential { decay: 0.0 }, Averaging::Equal { start: 0, every: 1 }].map(Averaging::name) {
        let average = part(&format!("{kept}.average."));
        let updates = optimizer.get(&format!("{kept}.updates")).map(Tensor::to_scalar::<i64>).transpose()?;
        if !average.is_empty() && updates.is_none_or(|updates| updates > 0) && progress.step > 0 {
            tensors.extend(average);
            return Ok((tensors, true));
        }
    }
    let offsets = part("base.offset.");
    let moved = !offsets.is_empty() && progress.step > 0;
    for (name, offset) in offsets {
        if let Some(theta) = tensors.get(&name) {
            let point = (theta - offset)?;
            tensors.insert(name, point);
        }
    }
    Ok((tensors, moved))
}

/// The entries that were left out, in one line.
fn ignored(names: &[String]) -> Option<String> {
    const LISTED: usize = 4;
    let more = names.len().saturating_sub(LISTED);
    let listed = names.iter().take(LISTED).map(|name| name.escape_debug().to_string()).collect::<Vec<_>>().join(", ");
    match (names.len(), more) {
        (0, _) => None,
        (_, 0) => Some(format!("not of the model, ignored: {listed}")),
        (_, more) => Some(format!("not of the model, ignored: {listed} and {more} more")),
    }
}

/// The configuration if it is the file's own, else why it is passed over.
fn owned(beside: Beside, own: impl FnOnce(&RunConfig) -> bool) -> (Option<RunConfig>, Option<String>) {
    match beside {
        None => (None, None),
        Some(Ok(run)) if own(&run) => (Some(run), None),
        Some(Ok(_)) => (None, Some("the config.toml beside it is of another model".into())),
        Some(Err(why)) => (None, Some(why)),
    }
}

/// Whether these are the weights of a run's model.
fn fits(run: &RunConfig, tensors: &BTreeMap<String, Tensor>) -> bool {
    let model = Model::new(&setup::model_config_of(run), DType::F32, &Device::Cpu, &Streams::new(0));
    model.is_ok_and(|model| model.adopt(tensors).is_ok())
}

/// The configuration of the run that a file seems to lie in.
fn beside(file: &Path) -> Beside {
    let parent = file.parent().unwrap_or(Path::new(""));
    let root = if parent.ends_with("checkpoints") { parent.parent().unwrap_or(Path::new("")) } else { parent };
    let config = root.join("config.toml");
    config.is_file().then(|| RunConfig::read(&config).map_err(|e| format!("{e:#}")))
}
