//! The settings of a run: every flag of `train` and key of `config.toml`, with its default, range and need.

use super::choice::{
    FlatnessName, Float, LogName, LossName, NormalizeName, PerturbByName, PerturbName, RadiusScheduleName, SamplerName,
    ScheduleName, SumName,
};
use super::graph::{GraphName, StrategyName};
use super::recipe::Recipe;
use super::rule_schedule::RuleSchedule;
use crate::device::DeviceChoice;
use crate::value::epochs::{Epochs, MOST};
use crate::value::every::Every;
use flat_comm::{Graph, MOST_AGENTS};
use flat_core::setting::{Needs, Range, Text, Value, Values, in_words};
use flat_data::{Augment, DatasetKind, ImageSize, Images};
use flat_nn::{Activation, Arch, ModelConfig, Norm, Precision, Stem, networks};
use flat_optim::{BaseKind, LESS_BIASED, Need, RuleKind};
use std::path::PathBuf;
use std::sync::LazyLock;

/// A network that has the option.
macro_rules! models {
    ($option:literal) => {
        Needs::That(|values| is_taken(values, $option), takers($option))
    };
}

flat_core::settings! {
    /// Everything that decides a run. The options of its rule and base optimizer are those of [`flat_optim::RULES`] and
    /// [`flat_optim::BASES`]; they lie in `options`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RunConfig {
        /// Passes over the training set, as in 3 or 1.5; parts of one are rounded to whole steps.
        epochs as "epochs": Option<Epochs> = None, range: Range::PositiveUpTo(MOST), default_in_words: "2", metavar: "N";
        /// Optimizer steps, instead of --epochs.
        steps as "steps": Option<u64> = None, aliases: &["step"];
        /// Gradient evaluations of a batch to spend, instead of --epochs. They pay for so many steps, half as many for a rule with
        /// two gradients a step. Where the data decide what a step costs, the schedules go by evaluations too.
        evals as "evals": Option<u64> = None, range: Range::AtLeast(1);
        /// Settings that reached an accuracy; those of --config and the flags lie over them. `flat-train recipes` lists them.
        recipe as "recipe": Option<Recipe> = None;
        /// End the run where an evaluation finds this accuracy, a share of the test images, or of those of
        /// --validation.
        target_accuracy as "target-accuracy": Option<f64> = None, range: Range::Share, metavar: "SHARE";
        /// Seed of every random draw.
        seed as "seed": u64 = 0, range: Range::Between(0, i64::MAX as u64);
        /// Where to compute; auto is CUDA where a device can be opened, otherwise the CPU.
        device as "device": Text<DeviceChoice> = Text(DeviceChoice::Auto), metavar: DeviceChoice::FORMS;
        /// Element type of weights and activations.
        dtype as "dtype": Float = Float::F32, metavar: "TYPE";
        /// Arithmetic of the products of f32 weights and activations, tf32 on CUDA alone. Everything else stays f32,
        /// and flatness is always measured with f32 products.
        precision as "precision": Precision = Precision::F32,
            needs: Needs::That(is_f32, "--dtype f32: products of f64 are never rounded");
        /// Steps between evaluations on the test set, or on the images of --validation; epochs as in 1ep; 0 only at
        /// the end.
        eval_every as "eval-every": Text<Every> = Text(Every::Epochs(1)), metavar: "EVERY";
        /// Write a checkpoint after so many steps, or epochs as in 1ep; 0 only at the end.
        checkpoint_every as "checkpoint-every": Text<Every> = Text(Every::Epochs(1)), metavar: "EVERY";
        /// Newest checkpoints to keep, besides the one with the best accuracy of its evaluations.
        keep_checkpoints as "keep-checkpoints": usize = 2, range: Range::AtLeast(1);
        /// Write a line of metrics.jsonl for every step.
        log_steps as "log-steps": bool = false;
        /// Seconds of training between two lines of a step in metrics.jsonl; 0 writes none. After ten minutes they come
        /// further apart in proportion to the time, so that a day has less than four thousand.
        log_interval as "log-interval": f64 = 1.0, range: Range::NonNegative, metavar: "SECONDS",
            needs: Needs::That(logs_not_every_step, "a run without --log-steps, which writes every step");
        /// Formats to write the lines of metrics.jsonl in too: tensorboard is an event file, csv are metrics.csv and
        /// summary.csv, all in the run directory.
        log as "log": Vec<LogName> = Vec::new(), default_in_words: "none", metavar: "FORMATS";
        /// Read losses and accuracies from the device every N steps. Between reads the host does not wait for it, and
        /// lines of metrics.jsonl are written N at a time.
        log_every as "log-every": Option<usize> = None, range: Range::AtLeast(1),
            default_in_words: "1 on the CPU, 50 on CUDA";

        /// Data set, or a path to own images: a folder of PNG or JPEG files for each class, perhaps within train/
        /// and test/; an .npz; IDX files; CIFAR's as downloaded.
        dataset as "dataset": Images = Images::default();
        /// Folder with the data.
        data_dir as "data-dir": Option<PathBuf> = None, metavar: "DIR",
            default_in_words: "$FLAT_DATA_DIR, ./data, the download cache",
            needs: Needs::That(is_known, "a --dataset with a name: one's own is a path already");
        /// Size of images of one's own: N makes the shorter side N long and takes the square in the centre, HxW makes both
        /// sides so. Bilinear with antialiasing.
        image_size as "image-size": Option<Text<ImageSize>> = None, metavar: ImageSize::FORMS, needs: OWN,
            default_in_words: "theirs, which must be one";
        /// Channels of images of one's own: 1 for grey, 3 for colours.
        image_channels as "image-channels": Option<usize> = None, range: Range::Between(1, 3), metavar: "1|3", needs: OWN,
            default_in_words: "3 where any has colours";
        /// Share of images of one's own that is held out to test on where they have no such part, classes in proportion.
        test_fraction as "test-fraction": Option<f64> = None, range: Range::Share, metavar: "SHARE", needs: OWN,
            aliases: &["val-fraction"], default_in_words: "0.2";
        /// Names of the classes of images of one's own, which those found must have.
        class_names as "class-names": Option<Vec<Text<String>>> = None, metavar: "NAMES", needs: OWN,
            default_in_words: "those found, by name";
        /// Use only the first N training images.
        train_limit as "train-limit": Option<usize> = None, range: Range::AtLeast(1);
        /// Use only the first N test images.
        test_limit as "test-limit": Option<usize> = None, range: Range::AtLeast(1);
        /// Hold out N of the training images, classes in proportion, and evaluate on them along the run. The test set
        /// is looked at once, at the end.
        validation as "validation": Option<usize> = None, range: Range::AtLeast(1);
        /// Seed of their choice, apart from --seed: runs of different seeds hold out the same images.
        validation_seed as "validation-seed": u64 = 0, range: Range::Between(0, i64::MAX as u64), needs: DRAWS_HELD_OUT;
        /// Leave the test set alone.
        no_test as "no-test": bool = false, needs: VALIDATES;
        /// Images a step.
        batch_size as "batch-size": usize = 128, range: Range::AtLeast(1), aliases: &["bs"];
        /// Normalisation of the pixels.
        normalize as "normalize": Option<NormalizeName> = None, default_in_words: "dataset, or --mean and --std";
        /// Subtracted from pixels in [0, 1], one number a channel, as in 0.49,0.48,0.45; with --std.
        mean as "mean": Option<Vec<f64>> = None;
        /// What they are divided by then, one number a channel; with --mean.
        std as "std": Option<Vec<f64>> = None;
        /// Augmentations of the training images.
        augment as "augment": Text<Augment> = Text(Augment::default()), metavar: Augment::FORMS;
        /// Take the training images in file order every epoch.
        no_shuffle as "no-shuffle": bool = false, needs: Needs::All(&[Needs::Is("sampler", "shuffle"), DRAWS_NOT]);
        /// How the images of a batch are drawn: shuffle takes each once an epoch, biased and balanced draw with
        /// replacement, classes alike. The attributes of a class are as in the data with biased and alike with
        /// balanced.
        sampler as "sampler": SamplerName = SamplerName::Shuffle,
            needs: Needs::All(&[
                Needs::That(has_groups, "a --dataset with groups, as colored-mnist"),
                Needs::That(is_not_full_batch, "a run without --full-batch"),
                DRAWS_NOT,
            ]);

        /// Network.
        model as "model": Arch = networks::LENET;
        /// Widths of the hidden layers, as in 256,128.
        hidden as "hidden": Vec<usize> = vec![256], range: Range::Between(1, 1 << 16), needs: models!("hidden");
        /// Channels of the first convolution, all others in proportion: a narrower network is a faster one.
        channels as "channels": Option<usize> = None, range: Range::Between(1, 1 << 12),
            needs: models!("channels"),
            default_in_words: &WIDTHS;
        /// Activation of the hidden layers.
        activation as "activation": Activation = Activation::Relu, needs: models!("activation");
        /// How the network begins: cifar is for small images, imagenet is torchvision's for large ones, with its initial weights.
        stem as "stem": Stem = Stem::Cifar, needs: models!("stem");
        /// Side of the square patches of a vision transformer, which divides the sides of the images.
        patch as "patch": usize = ModelConfig::default().patch, range: Range::Between(1, 1 << 12), needs: models!("patch");
        /// Normalisation of the ResNets and VGG.
        norm as "norm": Norm = Norm::Batch, needs: models!("norm");
        /// Groups of group normalisation, a divisor of every layer's channels.
        groups as "groups": Option<usize> = None, range: Range::AtLeast(1),
            needs: Needs::All(vec![Needs::Is("norm", "group"), models!("groups")].leak()),
            default_in_words: "at most 32, with 4 channels each at least";
        /// Start from the weights in this safetensors file, or those of a run directory.
        init as "init": Option<PathBuf> = None, metavar: "FILE";
        /// Write the weights before the first step to init.safetensors in the run directory.
        save_init as "save-init": bool = false;
        /// Loss; mse is against the one-hot label.
        loss as "loss": LossName = LossName::CrossEntropy;
        /// Label smoothing of the cross entropy.
        label_smoothing as "label-smoothing": f64 = 0.0, range: Range::BelowOne, needs: Needs::Is("loss", "cross-entropy");

        /// Gradient rule; a base optimizer's name means the plain gradient over that base. At their defaults sam and sap end
        /// flatter than sgd in the mean, rsp on one of two networks and nso on neither, and none is shown to have 0.8 of sgd's
        /// Hessian trace on both (docs/results/defaults); a larger --rho or --sigma is flatter and may cost accuracy.
        optimizer as "optimizer": RuleKind = RuleKind::default(), needs: Needs::Unset("rule-schedule"), default_in_words: "sgd", short: Some('o');
        /// Rules one after another, each with its epochs up to and without the last, as in plain:0-40,sam:40-50; in place of
        /// --optimizer. Options belong to every phase whose rule has them.
        rule_schedule as "rule-schedule": Option<Text<RuleSchedule>> = None, metavar: "PHASES";
        /// Empty the base optimizer's buffers where a phase of --rule-schedule begins, as two optimizers in a row would.
        reset_base as "reset-base": bool = false, needs: Needs::Set("rule-schedule");
        /// Perturb at every K-th step alone, from the first on; the steps between are plain.
        rule_every as "rule-every": u64 = 1, range: Range::AtLeast(1), metavar: "K",
            needs: Needs::That(has_rule, "a rule other than plain as --optimizer");
        /// m-sharpness: the rule perturbs for each part of the batch apart, and the results are averaged by the sizes of the parts.
        /// The parts are as few as hold at most M images each, their sizes differ by at most 1: 100 images at --m 32 are 4 of 25.
        m as "m": Option<usize> = None, range: Range::AtLeast(1), metavar: "M",
            needs: Needs::All(&[Needs::That(has_rule, "a rule other than plain as --optimizer"), STREAMS_NOT]);
        /// Which parameters are perturbed: all, those of normalisation layers, or weights of linear and convolution layers.
        perturb as "perturb": PerturbName = PerturbName::All, needs: PERTURBS;
        /// Base optimizer that takes the rule's gradient.
        base as "base": BaseKind = BaseKind::default();
        /// The loss is that of the whole training set, streamed in batches: one step an epoch.
        full_batch as "full-batch": bool = false;
        /// Images a micro-batch: gradients are accumulated over them, which saves memory and changes nothing but rounding and
        /// BatchNorm's statistics.
        micro_batch as "micro-batch": Option<usize> = None, range: Range::AtLeast(1), needs: STREAMS_NOT;
        /// Parts of a batch whose gradients are added up as a tree, shared out over the ranks that `mpirun` starts: at least as many as
        /// ranks. BatchNorm normalises each by itself. A run has the same bits on any number of ranks.
        grains as "grains": Option<usize> = None, range: Range::Between(1, 1 << 16), metavar: "G",
            needs: CENTRALISED,
            default_in_words: "1, under mpirun the number of ranks";
        /// Perturb by the gradient of the whole batch, or each grain by its own (m-sharpness, one exchange between ranks in place of two).
        perturb_by as "perturb-by": PerturbByName = PerturbByName::Batch,
            needs: Needs::All(&[CENTRALISED, Needs::That(has_rule, "a rule other than plain as --optimizer"), STREAMS_NOT]);
        /// Order in which ranks add up gradients.
        sum as "sum": SumName = SumName::Tree;
        /// Clip the step's gradient to this norm.
        clip as "clip": Option<f64> = None, range: Range::Positive, metavar: "NORM";
        /// Find the dominant subspace of the Hessian anew every so many steps, from the one before; between, it is used as it is.
        subspace_every as "subspace-every": u64 = 1, range: Range::AtLeast(1), needs: PROJECTS;
        /// Dimensions of the dominant subspace of the Hessian: eigenvectors of its largest eigenvalues.
        subspace_k as "subspace-k": Option<usize> = None, range: Range::AtLeast(1), needs: PROJECTS,
            default_in_words: "the number of classes";
        /// Largest residual of such an eigenvector, as a fraction of the largest eigenvalue.
        subspace_tol as "subspace-tol": f64 = 1e-3, range: Range::Positive, needs: PROJECTS;
        /// Average the weights with this decay a step, and evaluate and save the average.
        ema as "ema": Option<f64> = None, range: Range::BelowOne, metavar: "DECAY";
        /// Average the weights equally (SWA) from this step on, or epoch as in 75ep, and evaluate and save the
        /// average. Weights after every --swa-every further steps join it.
        swa_start as "swa-start": Option<Text<Every>> = None, metavar: "EVERY";
        /// Steps, or epochs as in 1ep, from one of the averaged weights to the next.
        swa_every as "swa-every": Text<Every> = Text(Every::Epochs(1)), needs: Needs::Set("swa-start"), metavar: "EVERY";
        /// Whose weights are trained. centralised has one set of them; with consensus and diffusion each of --agents has its own,
        /// starts where the others do, sees its part of a batch, and mixes its weights with its neighbours' before its step or
        /// after it. The run evaluates and saves the agents' mean.
        strategy as "strategy": StrategyName = StrategyName::Centralised,
            needs: Needs::That(is_not_full_batch, "a run without --full-batch, which has one gradient");
        /// Agents of the network; --batch-size is what all of them see in a step.
        agents as "agents": usize = 16, range: Range::Between(1, MOST_AGENTS as u64), needs: NETWORK, metavar: "K";
        /// Who mixes with whom, by Metropolis weights; or a file with a line of weights an agent, symmetric, each adding up to 1.
        graph as "graph": Text<GraphName> = Text(GraphName::Of(Graph::Ring)), needs: NETWORK, metavar: GraphName::FORMS;

        /// Schedule of the learning rate; a schedule-free base takes constant alone.
        schedule as "schedule": ScheduleName = ScheduleName::Cosine,
            default_in_words: "cosine, over a schedule-free base constant";
        /// Linear warm-up of the learning rate over so many steps, or epochs as in 1ep.
        warmup as "warmup": Text<Every> = Text(Every::Steps(0)), metavar: "EVERY";
        /// step: multiply after so many steps, or epochs as in 30ep.
        step_size as "step-size": Option<Text<Every>> = None, needs: STEPPED, metavar: "EVERY",
            default_in_words: "a third of the run";
        /// step: the factor.
        gamma as "gamma": f64 = 0.1, range: Range::Positive, needs: STEPPED;
        /// cosine: the last learning rate.
        min_lr as "min-lr": f64 = 0.0, range: Range::NonNegative, needs: Needs::Is("schedule", "cosine");
        /// Schedule of rho (of sigma for nso); step takes --step-size and --gamma. follow-lr goes with the learning
        /// rate between rho and --min-rho, as in GSAM.
        rho_schedule as "rho-schedule": RadiusScheduleName = RadiusScheduleName::Constant, needs: PERTURBS;
        /// Linear warm-up of rho (of sigma for nso) over so many steps, or epochs as in 1ep.
        rho_warmup as "rho-warmup": Text<Every> = Text(Every::Steps(0)), metavar: "EVERY",
            needs: Needs::All(&[
                Needs::OneOf("rho-schedule", &["constant", "step", "cosine", "rising", "exponential"]),
                PERTURBS,
            ]);
        /// cosine: the last rho; follow-lr: rho at the lowest learning rate of its schedule.
        min_rho as "min-rho": f64 = 0.0, range: Range::NonNegative,
            needs: Needs::All(&[Needs::OneOf("rho-schedule", &["cosine", "follow-lr"]), PERTURBS]);
        /// rising: the last rho over the first, as in LPF-SGD.
        rho_end as "rho-end": f64 = 15.0, range: Range::Positive,
            needs: Needs::All(&[Needs::Is("rho-schedule", "rising"), PERTURBS]);
        /// exponential: growth of rho a step, which multiplies it by 1 + X, as the scope of Entropy-SGD.
        rho_growth as "rho-growth": f64 = 1e-3, range: Range::NonNegative, needs: GROWS;
        /// exponential: the largest rho.
        max_rho as "max-rho": Option<f64> = None, range: Range::Positive, needs: GROWS, default_in_words: "no limit";

        /// Probes of the Hessian trace measured at the end; 0 measures none.
        trace_probes as "trace-probes": u64 = 16, metavar: "K";
        /// Training images the trace is measured on.
        trace_examples as "trace-examples": usize = 1024, range: Range::AtLeast(1),
            needs: Needs::That(has_trace, "--trace-probes above 0");
        /// Measures taken along the run and written to metrics.jsonl.
        flatness as "flatness": Vec<FlatnessName> = Vec::new(), default_in_words: "none";
        /// Take them after so many steps, or epochs as in 1ep.
        flatness_every as "flatness-every": Text<Every> = Text(Every::Epochs(1)), needs: ALONG, metavar: "EVERY";
        /// Training images they are taken on.
        flatness_examples as "flatness-examples": usize = 1024, range: Range::AtLeast(1), needs: ALONG;
        /// Probes of the trace along the run.
        flatness_probes as "flatness-probes": u64 = 16, range: Range::AtLeast(2), metavar: "K",
            needs: Needs::That(has_trace_along, "--flatness with trace");
    }
    state {
        /// Options of the rule and of the base optimizer, by their names.
        pub options: Values = Values::default();
    }
}

/// The first setting of each group of flags.
pub(super) const HEADINGS: [(&str, &str); 6] = [
    ("epochs", "Run"),
    ("dataset", "Data"),
    ("model", "Model"),
    ("optimizer", "Optimizer"),
    ("schedule", "Schedules"),
    ("trace-probes", "Flatness"),
];

/// Whether the network has the option.
fn is_taken(values: &Values, option: &str) -> bool {
    values.get("model").is_none_or(|name| name.to_string().parse().is_ok_and(|arch: Arch| arch.takes(option)))
}

/// The networks that have the option, as a flag.
fn takers(option: &str) -> &'static str {
    let models: Vec<_> = Arch::all().filter(|arch| arch.takes(option)).map(Arch::name).collect();
    format!("--model {}", in_words(&models)).leak()
}

/// The channels of every network that has any, in words.
static WIDTHS: LazyLock<String> = LazyLock::new(|| {
    let widths = Arch::all().filter(|arch| arch.takes("channels")).map(|arch| format!("{arch} {}", arch.width));
    widths.collect::<Vec<_>>().join(", ")
});

const STEPPED: Needs =
    Needs::Any(&[Needs::Is("schedule", "step"), Needs::All(&[Needs::Is("rho-schedule", "step"), PERTURBS])]);
const DRAWS_NOT: Needs =
    Needs::That(draws_not, "another --optimizer than gerne, which draws its batches by groups itself");
const STREAMS_NOT: Needs = Needs::That(is_not_full_batch, "a run without --full-batch, which streams by --batch-size");
const PERTURBS: Needs = Needs::That(perturbs, "an --optimizer that perturbs");
const CENTRALISED: Needs =
    Needs::That(is_centralised, "--strategy centralised, as agents have parts of a batch of their own");
const NETWORK: Needs = Needs::OneOf("strategy", &["consensus", "diffusion"]);
const GROWS: Needs = Needs::All(&[Needs::Is("rho-schedule", "exponential"), PERTURBS]);
const PROJECTS: Needs = Needs::That(projects, "--optimizer dom-sgd or bulk-sgd");
const VALIDATES: Needs = Needs::That(validates, "--validation");
/// Images of one's own.
const OWN: Needs = Needs::That(is_own, "a --dataset that is a path to images of one's own");
/// Images are held out of the training images, along the run or to test on.
const DRAWS_HELD_OUT: Needs = Needs::Any(&[VALIDATES, OWN]);
const ALONG: Needs = Needs::That(has_flatness, "--flatness");

fn is(values: &Values, name: &str, accept: impl Fn(&Value) -> bool) -> bool {
    values.get(name).is_some_and(accept)
}

fn is_f32(values: &Values) -> bool {
    is(values, "dtype", |v| v.to_string() == "f32")
}

fn is_not_full_batch(values: &Values) -> bool {
    !is(values, "full-batch", |v| *v == Value::Switch(true))
}

fn is_centralised(values: &Values) -> bool {
    is(values, "strategy", |v| v.to_string() == "centralised")
}

fn logs_not_every_step(values: &Values) -> bool {
    !is(values, "log-steps", |v| *v == Value::Switch(true))
}

fn draws_not(values: &Values) -> bool {
    !rules_of(values).iter().any(|rule| rule.asks_for(Need::Source(LESS_BIASED)))
}

fn has_groups(values: &Values) -> bool {
    is(values, "dataset", |v| v.to_string().parse().is_ok_and(|kind: DatasetKind| kind.attributes > 0))
}

fn is_known(values: &Values) -> bool {
    values.get("dataset").is_none_or(|v| v.to_string().parse::<DatasetKind>().is_ok())
}

fn is_own(values: &Values) -> bool {
    !is_known(values)
}

fn validates(values: &Values) -> bool {
    is(values, "validation", |_| true)
}

fn has_trace(values: &Values) -> bool {
    !is(values, "trace-probes", |v| *v == Value::Count(0))
}

fn has_flatness(values: &Values) -> bool {
    is(values, "flatness", |v| !matches!(v, Value::List(all) if all.is_empty()))
}

fn has_trace_along(values: &Values) -> bool {
    Needs::Is("flatness", "trace").met(values)
}

/// The rules of a run: those of its schedule, or the one of --optimizer.
fn rules_of(values: &Values) -> Vec<RuleKind> {
    let text = |key: &str| values.get(key).map(Value::to_string);
    match text("rule-schedule").map(|s| s.parse::<RuleSchedule>()) {
        Some(Ok(schedule)) => schedule.rules(),
        Some(Err(_)) => Vec::new(),
        None => text("optimizer").and_then(|name| name.parse().ok()).into_iter().collect(),
    }
}

fn has_rule(values: &Values) -> bool {
    rules_of(values).iter().any(|rule| *rule != "plain")
}

fn perturbs(values: &Values) -> bool {
    rules_of(values).iter().any(|rule| rule.perturbs())
}

fn projects(values: &Values) -> bool {
    rules_of(values).iter().any(|rule| rule.asks_for(Need::Subspace))
}
