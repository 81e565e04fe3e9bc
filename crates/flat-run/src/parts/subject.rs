//! A loaded checkpoint: the trained model, its loss and the data to evaluate it on.

use crate::device::Opened;
use crate::parts::setup;
use crate::parts::weights::Weights;
use crate::settings::args::{EvalArgs, HessianArgs};
use crate::settings::choice::SplitName;
use crate::settings::config::RunConfig;
use crate::settings::{own, pixels};
use crate::ui::Ui;
use crate::usage::usage;
use anyhow::Result;
use candle_core::{DType, Device};
use flat_core::Streams;
use flat_data::{Images, Loader, Normalisation, Split, sha256_file};
use flat_nn::{Loss, Model, ModelConfig, Norm};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model with weights, data and loss. What the flags leave open is the run's where the weights are of one.
pub struct LoadedCheckpoint {
    /// The model.
    pub model: Model,
    /// The file that the weights were read from.
    pub file: PathBuf,
    /// Its sha256 then.
    pub sha256: String,
    /// The data.
    pub data: Loader,
    /// The loss.
    pub loss: Loss,
    /// The data set.
    pub dataset: Images,
    /// The part of it that the data are of.
    pub split: SplitName,
    /// How pixels become the numbers that the network sees.
    pub pixels: Normalisation,
    /// What neither the flags nor the file say, and is assumed; empty where nothing is.
    pub assumed: Option<String>,
    /// The settings of the images: the run's where they are its own.
    pub(crate) images: RunConfig,
    /// The configuration of the run that the weights are of.
    pub run: Option<RunConfig>,
    /// Device, and why it is that one.
    pub device_note: String,
    /// The entries of the file that are no weights of the model, in one line.
    pub weights_note: Option<String>,
}

impl LoadedCheckpoint {
    /// Loads what `args` name, with the images to score it on: all test images where no flag says otherwise.
    ///
    /// # Errors
    /// A missing or damaged file, a model that cannot be told, data that does not fit it.
    pub fn to_score(args: &EvalArgs) -> Result<Self> {
        Self::load(args, Usual::Test)
    }

    /// Loads what `args` name, with the images to measure its loss surface on. Where no flag says otherwise they are
    /// the images of the run's own trace.
    ///
    /// # Errors
    /// As [`Self::to_score`].
    pub fn to_measure(args: &EvalArgs) -> Result<Self> {
        Self::load(args, Usual::TrainedOn)
    }

    fn load(args: &EvalArgs, usual: Usual) -> Result<Self> {
        let Opened { device, note: device_note } = Opened::new(*args.device)?;
        let (weights, sha256) = read(&args.checkpoint, &device)?;
        let weights = match &args.prefix {
            Some(prefix) => weights.under(&prefix.0)?,
            None => weights,
        };
        let run = weights.run.as_ref();
        let Some(images) = images(args, run)? else {
            let why = weights.passed_over.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            return Err(usage(format!("--dataset: a file by itself does not say its data set; name it{why}")));
        };
        let config = match (args.model, &weights.model) {
            (Some(arch), _) => {
                let usual = setup::usual_model(arch, images.shape(), images.classes());
                ModelConfig {
                    hidden: args.hidden.clone().unwrap_or(usual.hidden),
                    channels: args.channels,
                    groups: args.groups,
                    activation: args.activation.unwrap_or(usual.activation),
                    norm: args.norm.unwrap_or(usual.norm),
                    stem: args.stem.unwrap_or(usual.stem),
                    patch: args.patch.unwrap_or(usual.patch),
                    ..usual
                }
            }
            (None, Some(config)) => match args.activation.filter(|given| *given != config.activation) {
                None => config.clone(),
                Some(given) => {
                    let (file, own) = (weights.file.display(), config.activation);
                    return Err(usage(format!(
                        "--activation {given}: {file} says {own}; leave the flag out, or name the network with --model"
                    )));
                }
            },
            (None, None) => {
                let input = images.shape();
                let found = ModelConfig::detect(&weights.tensors, Some(input)).map_err(|e| {
                    let why = weights.passed_over.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
                    usage(format!("{}: the file does not say which model it holds: {e}{why}", weights.file.display()))
                })?;
                ModelConfig { activation: args.activation.unwrap_or(found.config.activation), ..found.config }
            }
        };
        fits(&weights.file, &config, &images)?;
        if let (Some(names), Some(path)) = (&weights.classes, images.dataset.own()) {
            let found: Vec<String> = images.class_names.iter().flatten().map(|name| name.0.clone()).collect();
            own::same_classes(path, &found, names)?;
        }
        let dtype =
            args.dtype.map(|f| f.dtype()).or(run.map(|r| r.dtype.dtype())).or(weights.dtype().filter(is_supported));
        let model = Model::new(&config, dtype.unwrap_or(DType::F32), &device, &Streams::new(0))?;
        let weights_note = weights.load_into(&model, Some(&images))?;
        let given = pixels::of_flags(&images, args.normalize, args.mean.as_deref(), args.std.as_deref())?;
        let known = given.or(weights.pixels.clone());
        let assumed = assumed(args, &weights, &config, known.is_none() && weights.model.is_none());
        let pixels = known.unwrap_or_else(|| pixels::of_dataset(&images));
        let (part, split) = match (args.split, usual) {
            (None, Usual::TrainedOn) => {
                let own = run.filter(|run| images.is_of_same_images(run));
                let limit = args.limit.unwrap_or_else(|| own.unwrap_or(&RunConfig::default()).trace_examples);
                (SplitName::Train, setup::limited(&trained_on(own.is_some(), &images)?, Some(limit))?)
            }
            (part, _) => {
                let part = part.unwrap_or(SplitName::Test);
                (part, setup::split(&images, part == SplitName::Train, args.limit)?)
            }
        };
        let data = setup::plain_loader(split, pixels.clone(), args.batch_size, dtype.unwrap_or(DType::F32), &device)?;
        let loss = match (args.loss, args.label_smoothing, run) {
            (None, None, Some(run)) => setup::loss(run),
            (name, smoothing, _) => setup::loss_of(name.unwrap_or_default(), smoothing.unwrap_or(0.0)),
        };
        Ok(Self {
            model,
            file: weights.file.clone(),
            sha256,
            data,
            loss,
            dataset: images.dataset.clone(),
            split: part,
            pixels,
            assumed,
            images,
            run: weights.run,
            device_note,
            weights_note,
        })
    }

    /// The images that the network was trained on, as far as that is known, without augmentation.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub fn training(&self) -> Result<Loader> {
        let own = self.run.as_ref().is_some_and(|run| self.images.is_of_same_images(run));
        let split = trained_on(own, &self.images)?;
        let space = self.model.params().space();
        setup::plain_loader(split, self.pixels.clone(), setup::EVAL_BATCH, space.dtype, &space.device)
    }

    /// Seed of the random vectors: the flag's, else the run's.
    pub fn seed(&self, args: &HessianArgs) -> u64 {
        args.seed.or(self.run.as_ref().map(|run| run.seed)).unwrap_or(0)
    }

    /// The data in words: split, data set and normalisation.
    pub fn data_in_words(&self) -> String {
        format!("{} images of {}, {}", self.split, self.dataset, pixels::in_words(&self.pixels))
    }

    /// The same, once its device and the reason for it were printed.
    #[must_use]
    pub fn announced(self, ui: Ui) -> Self {
        ui.say(format!("device: {}", self.device_note));
        if let Some(assumed) = &self.assumed {
            ui.say(format!("note: {assumed}"));
        }
        self.weights_note.iter().for_each(|note| ui.say(note.clone()));
        self
    }
}

/// The images where `--split` does not name a part of the data set.
#[derive(Clone, Copy)]
enum Usual {
    /// The test images.
    Test,
    /// The images that the run trained on, as many as its own trace takes.
    TrainedOn,
}

/// The images that a run trained on where they are its `own`, else all training images.
fn trained_on(own: bool, images: &RunConfig) -> Result<Arc<Split>> {
    if own { setup::training(images) } else { setup::split(images, true, None) }
}

/// The settings of the images that the flags or the run name, filled in: the run's where its own are meant, perhaps elsewhere.
fn images(args: &EvalArgs, run: Option<&RunConfig>) -> Result<Option<RunConfig>> {
    let own_run = run.filter(|run| run.dataset.own().is_some());
    let moved = |dir: &Path| Images::Own(dir.into());
    let dataset = match (&args.dataset, own_run, args.data_dir.as_deref()) {
        (None, Some(_), Some(dir)) => moved(dir),
        (None, ..) => match run {
            Some(run) => run.dataset.clone(),
            None => return Ok(None),
        },
        (Some(dataset), ..) => dataset.clone(),
    };
    let same = |run: &&RunConfig| run.dataset == dataset || (run.dataset.own().is_some() && dataset.own().is_some());
    let mut images = run.filter(same).cloned().unwrap_or_default();
    let shaped = args.image_size.is_some() || args.image_channels.is_some() || args.test_fraction.is_some();
    if dataset.known().is_some() {
        images.data_dir = args.data_dir.clone().or(images.data_dir);
        if shaped {
            return Err(usage(format!(
                "--image-size, --image-channels and --test-fraction are for images of one's own: --dataset {dataset} has a size"
            )));
        }
    } else if args.data_dir.is_some() && args.dataset.is_some() {
        return Err(usage("--data-dir beside a --dataset that is a path: give the path alone"));
    }
    images.dataset = dataset;
    images.image_size = args.image_size.or(images.image_size);
    images.image_channels = args.image_channels.or(images.image_channels);
    images.test_fraction = args.test_fraction.or(images.test_fraction);
    own::fill(&mut images)?;
    Ok(Some(images))
}

/// Refuses a network for other images.
fn fits(file: &Path, config: &ModelConfig, images: &RunConfig) -> Result<()> {
    let ([channels, height, width], classes) = (images.shape(), images.classes());
    let takes = ([config.in_channels, config.height, config.width], config.classes);
    if takes == ([channels, height, width], classes) {
        return Ok(());
    }
    let remedy = match (images.dataset.own().is_some(), takes.0 != [channels, height, width]) {
        (true, true) => {
            let size = flat_data::ImageSize::of([config.height, config.width]);
            format!("; --image-size {size} --image-channels {} makes its images so", config.in_channels)
        }
        _ => String::new(),
    };
    Err(usage(format!(
        "{}: a network of {} classes for {}x{} images of {} channels does not fit --dataset {}, which has {classes} classes of \
         {height}x{width} images of {channels} channels{remedy}",
        file.display(),
        config.classes,
        config.height,
        config.width,
        config.in_channels,
        images.dataset,
    )))
}

/// Weights with the sha256 of their file, which a run in progress may delete after either.
fn read(path: &Path, device: &Device) -> Result<(Weights, String)> {
    loop {
        let weights = Weights::read(path, device)?;
        match sha256_file(&weights.file) {
            Err(_) if path.is_dir() && !weights.file.exists() => {}
            sum => return Ok((weights, sum?)),
        }
    }
}

/// What is assumed of weights that do not say it themselves: the file's shapes tell none of these, and another one gives other
/// numbers without any error.
fn assumed(args: &EvalArgs, weights: &Weights, config: &ModelConfig, pixels: bool) -> Option<String> {
    let given = |flag: &str| match flag {
        "activation" => args.activation.is_some(),
        // found by names and shapes, the normalisation is the file's
        "norm" => args.norm.is_some() || args.model.is_none(),
        "groups" => args.groups.is_some(),
        _ => args.loss.is_some(),
    };
    let parts = match (weights.model.is_none(), pixels) {
        (true, _) => unsaid(config, &given, pixels),
        (false, true) => vec![PIXELS.into()],
        (false, false) => Vec::new(),
    };
    (!parts.is_empty()).then(|| format!("assumed, as {} does not say it: {}", weights.file.display(), parts.join(", ")))
}

/// What is assumed of pixels.
const PIXELS: &str = "the data set's normalisation of pixels (--normalize, --mean, --std)";

/// What neither the names nor the shapes of weights say, but for what was `given`, by flag.
pub(super) fn unsaid(config: &ModelConfig, given: &dyn Fn(&str) -> bool, pixels: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = |given: bool, text: String| parts.extend((!given).then_some(text));
    if config.arch.takes("activation") {
        part(given("activation"), format!("activation {} (--activation)", config.activation));
    }
    config.arch.assumed.iter().for_each(|of| part(false, (*of).into()));
    if config.arch.takes("norm") {
        part(given("norm"), format!("{} normalisation (--norm)", config.norm));
    }
    if config.norm == Norm::Group && config.arch.takes("groups") {
        part(given("groups"), "at most 32 groups of at least 4 channels (--groups)".into());
    }
    part(given("loss"), "cross entropy (--loss)".into());
    part(!pixels, PIXELS.into());
    parts
}

fn is_supported(dtype: &DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}
