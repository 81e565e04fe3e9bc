//! State dicts from elsewhere: strips a prefix, maps other layer names, and sets aside entries that belong to no
//! layer.

mod difference;
mod names;

use crate::network::AnyNetwork;
use crate::{Error, Model, Result};
use candle_core::{Device, Tensor};
use difference::compare;
use names::{Names, Set};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Segments of the names of an optimizer's state, which has the parameters' own names and shapes.
const OPTIMIZER: [&str; 8] = [
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_state_dict",
    "optim",
    "exp_avg",
    "exp_avg_sq",
    "momentum_buffer",
];
/// Segments of the names of averaged weights, beside which a file has the weights themselves.
const AVERAGES: [&str; 8] =
    ["ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "swa_model", "averaged_model", "model_avg"];
/// Names of what a layer holds: a tensor of such a name that no layer of the model asks for is of another network.
const OF_LAYERS: [&str; 6] = ["weight", "bias", "running_mean", "running_var", "gamma", "beta"];
/// The buffer that counts batches; files older than PyTorch 0.4.1 lack it, and nothing is computed with it.
const COUNTER: &str = "num_batches_tracked";

/// Shapes by name.
pub(crate) type Shapes = BTreeMap<String, Vec<usize>>;

/// Tensors under a model's own names, and what was done to get there.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// One tensor for each parameter and buffer of the model.
    pub state: BTreeMap<String, Tensor>,
    /// What came before the names, such as `state_dict.module.`; empty where nothing did.
    pub prefix: String,
    /// Entries that belong to no parameter, by their names in the file.
    pub ignored: Vec<String>,
    /// What comes before the names of averaged weights that the file holds beside these.
    pub averages: Vec<String>,
}

impl Model {
    /// Finds the model's parameters and buffers among a file's tensors; changes nothing.
    ///
    /// One prefix common to all names is taken off, whatever it is: `module.`, `_orig_mod.`, `state_dict.model.`. Layers go by the
    /// names of torchvision (`downsample`, `fc`), of kuangliu's pytorch-cifar (`shortcut`, `linear`) and the like, and
    /// those of a sequence (`0.weight`, `2.weight`) by their order. A missing `num_batches_tracked` is 0. Ignored are scalars,
    /// tensors that are no layer's (`normalize.mean`), those outside the prefix, and optimizer state. Of weights and
    /// their average (`model_ema`) the weights are taken.
    ///
    /// # Errors
    /// [`Error::OtherModel`] with what was expected and seen; [`Error::Ambiguous`] where the model is there under several
    /// prefixes.
    pub fn adopt(&self, tensors: &BTreeMap<String, Tensor>) -> Result<Adopted> {
        let known: Shapes = self.named().map(|(name, var)| (name.to_string(), var.dims().to_vec())).collect();
        let parameters = self.params().layout().entries().iter().map(|e| e.name.clone()).collect();
        let known = Known { known, parameters, last_layer: self.last_layer().to_string() };
        let matched = known.find(&shapes(tensors))?;
        let mut state: BTreeMap<String, Tensor> =
            matched.names.into_iter().map(|(own, name)| (own, tensors[&name].clone())).collect();
        for name in known.known.into_keys().filter(|name| name.ends_with(COUNTER)) {
            if let Entry::Vacant(absent) = state.entry(name) {
                absent.insert(Tensor::new(0i64, &Device::Cpu)?);
            }
        }
        Ok(Adopted { state, prefix: matched.prefix, ignored: matched.ignored, averages: matched.averages })
    }
}

/// The shapes of tensors.
pub(crate) fn shapes(tensors: &BTreeMap<String, Tensor>) -> Shapes {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect()
}

/// The tensors that a network has.
pub(crate) struct Known {
    /// Parameters and buffers.
    pub(crate) known: Shapes,
    parameters: BTreeSet<String>,
    last_layer: String,
}

/// Where a file has a network's tensors.
pub(crate) struct Matched {
    /// The file's full names by the network's.
    names: BTreeMap<String, String>,
    pub(crate) prefix: String,
    pub(crate) ignored: Vec<String>,
    pub(crate) averages: Vec<String>,
}

impl Known {
    /// Those of a network of which no model was made.
    ///
    /// # Errors
    /// Sizes that the network cannot take.
    pub(crate) fn of(network: &dyn AnyNetwork) -> Result<Self> {
        let specs = network.specs()?;
        let parameters: BTreeSet<String> = specs.params.iter().map(|spec| spec.name.clone()).collect();
        let mut known: Shapes = specs.params.iter().map(|spec| (spec.name.clone(), spec.shape.clone())).collect();
        for (layer, norm) in specs.norms.iter().filter(|(_, norm)| norm.groups.is_none()) {
            known.insert(format!("{layer}.running_mean"), vec![norm.channels]);
            known.insert(format!("{layer}.running_var"), vec![norm.channels]);
            known.insert(format!("{layer}.{COUNTER}"), vec![]);
        }
        let last = specs.params.iter().rev().find(|spec| spec.shape.len() == 2);
        let last_layer = last.and_then(|spec| spec.name.strip_suffix(".weight")).unwrap_or_default().to_string();
        Ok(Self { known, parameters, last_layer })
    }

    /// Whether a file has for every parameter a tensor of its shape, which is soon found out.
    pub(crate) fn may_be_in(&self, tensors: &Shapes) -> bool {
        let mut left: BTreeMap<&[usize], usize> = BTreeMap::new();
        tensors.values().for_each(|shape| *left.entry(shape).or_insert(0) += 1);
        self.parameters.iter().all(|name| {
            let shape = self.known.get(name).map(Vec::as_slice).unwrap_or_default();
            left.get_mut(shape).filter(|n| **n > 0).map(|n| *n -= 1).is_some()
        })
    }

    /// Finds the network's tensors among a file's, of which the shapes suffice.
    ///
    /// # Errors
    /// As [`Model::adopt`].
    pub(crate) fn find(&self, tensors: &Shapes) -> Result<Matched> {
        let known = &self.known;
        let names = Names::of(&self.last_layer, tensors, known);
        let sets = names.sets(tensors, known);
        let whole = |set: &&Set<'_>| self.parameters.iter().all(|name| set.fitting.contains(name));
        let whole: Vec<&Set<'_>> = sets.values().filter(whole).collect();
        let (averages, raw): (Vec<&Set<'_>>, Vec<&Set<'_>>) = whole.iter().partition(|set| is_average(set.prefix));
        let averages = if raw.is_empty() { Vec::new() } else { averages };
        let candidates = if raw.is_empty() { &whole } else { &raw };
        let chosen = choose(&sets, candidates)?;

        let averages = averages.iter().map(|set| set.prefix.to_string()).collect();
        let mut found = Matched { names: BTreeMap::new(), prefix: String::new(), ignored: vec![], averages };
        if let Some(set) = chosen {
            found.prefix = set.prefix.to_string();
            found.names = set.names.iter().map(|(own, name)| (own.clone(), (*name).to_string())).collect();
        }
        let used: BTreeSet<&String> = found.names.values().collect();
        let (mut strange, mut ignored) = (Vec::new(), Vec::new());
        for (name, shape) in tensors.iter().filter(|(name, _)| !used.contains(*name)) {
            let elsewhere = !name.starts_with(&found.prefix)
                || of_optimizer(name)
                || whole.iter().any(|set| set.prefix != found.prefix && name.starts_with(set.prefix));
            let several = shape.iter().product::<usize>() > 1;
            match !elsewhere && several && of_layer(name) {
                true => strange.push((name.clone(), shape.clone())),
                false => ignored.push(name.clone()),
            }
        }
        let mut seen: Shapes = found.names.iter().map(|(own, name)| (own.clone(), tensors[name].clone())).collect();
        for name in known.keys().filter(|name| name.ends_with(COUNTER)) {
            seen.entry(name.clone()).or_default();
        }
        found.ignored = ignored;
        match compare(&self.last_layer, known, &seen, &strange) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }
}

/// Whether a name is of an optimizer's state, which is as large as the weights and never one of them.
pub(crate) fn of_optimizer(name: &str) -> bool {
    name.split('.').any(|segment| OPTIMIZER.contains(&segment))
}

fn is_average(prefix: &str) -> bool {
    prefix.split('.').any(|segment| AVERAGES.contains(&segment))
}

/// The set to read: the only whole one, the one under the model's own names, else the one that comes nearest.
fn choose<'s, 'a>(sets: &'s BTreeMap<&str, Set<'a>>, whole: &[&'s Set<'a>]) -> Result<Option<&'s Set<'a>>> {
    match whole {
        [only] => Ok(Some(only)),
        [first, ..] if first.prefix.is_empty() => Ok(Some(first)),
        [] => {
            let nearness = |set: &&Set| (set.fitting.len(), set.names.len(), std::cmp::Reverse(set.prefix.len()));
            Ok(sets.values().max_by_key(nearness))
        }
        several => Err(Error::Ambiguous { prefixes: several.iter().map(|set| set.prefix.to_string()).collect() }),
    }
}

fn of_layer(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|part| OF_LAYERS.contains(&part))
}
