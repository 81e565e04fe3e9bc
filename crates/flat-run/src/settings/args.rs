//! Settings of commands that load a checkpoint.

use super::choice::{BnModeName, Float, HvpName, LossName, NormalizeName, SplitName};
use super::config::RunConfig;
use crate::device::DeviceChoice;
use flat_core::setting::{Needs, Range, Text};
use flat_data::{ImageSize, Images};
use flat_nn::{Activation, Arch, Norm, Stem};
use std::path::PathBuf;

/// Where a network's description comes from, where no flag has it.
const FILE: &str = "what the file says";
const MODEL: Needs = Needs::Set("model");

flat_core::settings! {
    /// A checkpoint and the data to look at it with.
    #[derive(Debug, Clone)]
    pub struct EvalArgs {
        /// A run directory, its model.safetensors, one of its checkpoints, or weights from elsewhere (.pt, .pth, .safetensors).
        checkpoint as "checkpoint": PathBuf = PathBuf::new(), required: true, metavar: "RUN_OR_FILE";
        /// What the names of the weights begin with, where a file holds several networks or an average (model_ema.).
        prefix as "prefix": Option<Text<String>> = None, default_in_words: "any one; the weights rather than their average";
        dataset as "dataset" of RunConfig: Option<Images> = None, default_in_words: "the run's";
        data_dir as "data-dir" of RunConfig: Option<PathBuf> = None,
            default_in_words: "the run's, else $FLAT_DATA_DIR, ./data, the download cache";
        image_size as "image-size" of RunConfig: Option<Text<ImageSize>> = None,
            default_in_words: "the run's, else theirs, which must be one";
        image_channels as "image-channels" of RunConfig: Option<usize> = None,
            default_in_words: "the run's, else 3 where any has colours";
        test_fraction as "test-fraction" of RunConfig: Option<f64> = None, default_in_words: "the run's, else 0.2";
        /// Which part of the data set.
        split as "split": Option<SplitName> = None, default_in_words: "eval: test; metrics and landscape: the run's own \
            training images, else train";
        /// Use only the first N images.
        limit as "limit": Option<usize> = None, range: Range::AtLeast(1), default_in_words: "all; metrics and landscape without \
            --split: those of the run's own trace, else 1024; metrics dimension: 2000", aliases: &["examples"];
        /// Images a batch; changes memory and speed, not the result beyond rounding, but for --bn-mode batch.
        batch_size as "batch-size": usize = 256, range: Range::AtLeast(1);
        model as "model" of RunConfig: Option<Arch> = None, default_in_words: FILE;
        hidden as "hidden" of RunConfig: Option<Vec<usize>> = None, default_in_words: FILE, needs: MODEL;
        channels as "channels" of RunConfig: Option<usize> = None, default_in_words: FILE, needs: MODEL;
        activation as "activation" of RunConfig: Option<Activation> = None, default_in_words: "what the file says, else relu";
        stem as "stem" of RunConfig: Option<Stem> = None, default_in_words: FILE, needs: MODEL;
        patch as "patch" of RunConfig: Option<usize> = None, default_in_words: FILE, needs: MODEL;
        norm as "norm" of RunConfig: Option<Norm> = None, default_in_words: FILE, needs: MODEL;
        groups as "groups" of RunConfig: Option<usize> = None, default_in_words: FILE, needs: MODEL;
        normalize as "normalize" of RunConfig: Option<NormalizeName> = None,
            default_in_words: "that of --mean and --std, the run's or the file's, else dataset";
        mean as "mean" of RunConfig: Option<Vec<f64>> = None;
        std as "std" of RunConfig: Option<Vec<f64>> = None;
        device as "device" of RunConfig: Text<DeviceChoice> = Text(DeviceChoice::Auto);
        dtype as "dtype" of RunConfig: Option<Float> = None, default_in_words: "the run's, else that of the weights";
        loss as "loss" of RunConfig: Option<LossName> = None, default_in_words: "the run's, else cross-entropy";
        label_smoothing as "label-smoothing" of RunConfig: Option<f64> = None,
            needs: Needs::OneOf("loss", &["cross-entropy"]), default_in_words: "the run's, else 0";
    }
}

/// An estimator that takes products with the matrix.
pub(crate) const BY_PRODUCTS: Needs = Needs::OneOf("estimator", &["hutchinson", "hutchpp", "xtrace"]);
/// Something that takes products with the Hessian.
const PRODUCTS: Needs =
    Needs::All(&[Needs::OneOf("operator", &["hessian"]), BY_PRODUCTS, Needs::OneOf("directions", &["eigen"])]);

flat_core::settings! {
    /// What every measure of the Hessian takes.
    #[derive(Debug, Clone)]
    pub struct HessianArgs {
        /// Seed of the random vectors.
        seed as "seed": Option<u64> = None, default_in_words: "the run's, else 0";
        /// BatchNorm: eval uses the running statistics, batch those of each batch of --batch-size images.
        bn_mode as "bn-mode": BnModeName = BnModeName::Eval, metavar: "MODE";
        /// Hessian-vector products: exact (forward over reverse), double (double backward) or difference (of gradients).
        hvp as "hvp": HvpName = HvpName::Exact, metavar: "HOW", needs: PRODUCTS;
    }
    with {
        /// The checkpoint and the data.
        on: EvalArgs;
    }
}
