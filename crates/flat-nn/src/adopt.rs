//! State dicts from elsewhere: strips a prefix, maps other layer names, and sets aside entries that belong to no
//! layer.

use crate::{Difference, Error, Model, Result};
use candle_core::{Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// Segments within names that wrappers put in: `DataParallel`, `torch.compile`, FSDP and activation checkpoints.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
/// Segments of the names of an optimizer's state, which has the parameters' own names and shapes.
pub(crate) const OPTIMIZER: [&str; 8] = [
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_state_dict",
    "optim",
    "exp_avg",
    "exp_avg_sq",
    "momentum_buffer",
];
/// Names that others give the layer of the logits.
const LAST: [&str; 5] = ["fc", "linear", "classifier", "head", "output"];
/// Names of what a layer holds: a tensor of such a name that no layer of the model asks for is of another network.
const OF_LAYERS: [&str; 6] = ["weight", "bias", "running_mean", "running_var", "gamma", "beta"];
/// The buffer that counts batches; files older than PyTorch 0.4.1 lack it, and nothing is computed with it.
const COUNTER: &str = "num_batches_tracked";

/// Tensors under a model's own names, and what was done to get there.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// One tensor for each parameter and buffer of the model.
    pub state: BTreeMap<String, Tensor>,
    /// What came before the names, such as `state_dict.module.`; empty where nothing did.
    pub prefix: String,
    /// Entries that belong to no parameter, by their names in the file.
    pub ignored: Vec<String>,
}

impl Model {
    /// Finds the model's parameters and buffers among a file's tensors; changes nothing.
    ///
    /// One prefix common to all names is taken off, whatever it is: `module.`, `_orig_mod.`, `state_dict.model.`. Layers go by the
    /// names of torchvision (`downsample`, `fc`), of kuangliu's pytorch-cifar (`shortcut`, `linear`) and the like, and
    /// those of a sequence (`0.weight`, `2.weight`) by their order. A missing `num_batches_tracked` is 0. Ignored are scalars,
    /// tensors that are no layer's (`normalize.mean`), those outside the prefix, and optimizer state.
    ///
    /// # Errors
    /// [`Error::OtherModel`] with what was expected and seen; [`Error::Ambiguous`] where the model is there under several
    /// prefixes.
    pub fn adopt(&self, tensors: &BTreeMap<String, Tensor>) -> Result<Adopted> {
        let known: BTreeMap<&str, &[usize]> = self.named().map(|(name, var)| (name, var.dims())).collect();
        let parameters: BTreeSet<&str> = self.params().layout().entries().iter().map(|e| e.name.as_str()).collect();
        let names = Names::of(self, tensors, &known);
        let sets = names.sets(tensors, &known);
        let whole = |set: &&Set| parameters.iter().all(|name| set.fitting.contains(*name));
        let whole: Vec<&Set> = sets.values().filter(whole).collect();
        let chosen = choose(&sets, &whole)?;

        let mut found = Adopted { state: BTreeMap::new(), prefix: String::new(), ignored: vec![] };
        let mut used = BTreeSet::new();
        if let Some(set) = chosen {
            found.prefix = set.prefix.to_string();
            for (own, name) in &set.names {
                found.state.insert(own.clone(), tensors[*name].clone());
                used.insert(*name);
            }
        }
        let mut strange = Vec::new();
        for (name, tensor) in tensors.iter().filter(|(name, _)| !used.contains(name.as_str())) {
            let elsewhere = !name.starts_with(&found.prefix)
                || name.split('.').any(|segment| OPTIMIZER.contains(&segment))
                || whole.iter().any(|set| set.prefix != found.prefix && name.starts_with(set.prefix));
            match !elsewhere && tensor.elem_count() > 1 && of_layer(name) {
                true => strange.push((name.clone(), tensor.dims().to_vec())),
                false => found.ignored.push(name.clone()),
            }
        }
        for name in known.keys().filter(|name| name.ends_with(COUNTER)) {
            if !found.state.contains_key(*name) {
                found.state.insert((*name).to_string(), Tensor::new(0i64, &Device::Cpu)?);
            }
        }
        match compare(self.last_layer(), &known, &found, &strange) {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }
}

/// What a file has under one prefix.
struct Set<'a> {
    prefix: &'a str,
    /// The file's full names by the model's.
    names: BTreeMap<String, &'a str>,
    /// The model's names whose tensors have the right shape.
    fitting: BTreeSet<String>,
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

/// The names in a file, as a model's.
struct Names<'a> {
    last_layer: &'a str,
    /// Whether layers are numbered through, as in a sequence, rather than in blocks.
    plain: bool,
    /// Layers of a sequence by number, in the order of the model's layers.
    numbered: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    fn of(model: &'a Model, tensors: &BTreeMap<String, Tensor>, known: &BTreeMap<&str, &[usize]>) -> Self {
        let plain = known.keys().all(|name| name.split('.').count() == 2);
        let numbered = if plain { sequence(tensors, known) } else { BTreeMap::new() };
        Self { last_layer: model.last_layer(), plain, numbered }
    }

    /// What there is of the model under each prefix, but for an optimizer's state.
    fn sets<'t>(
        &self,
        tensors: &'t BTreeMap<String, Tensor>,
        known: &BTreeMap<&str, &[usize]>,
    ) -> BTreeMap<&'t str, Set<'t>> {
        let mut sets: BTreeMap<&str, Set> = BTreeMap::new();
        for (name, tensor) in tensors {
            let ends = std::iter::once(0).chain(name.match_indices('.').map(|(i, _)| i + 1));
            for (prefix, suffix) in ends.map(|end| name.split_at(end)) {
                let own = self.own(suffix);
                let Some(shape) = known.get(own.as_str()) else { continue };
                if prefix.split('.').any(|segment| OPTIMIZER.contains(&segment)) {
                    continue;
                }
                let set = sets.entry(prefix).or_insert_with(|| Set {
                    prefix,
                    names: BTreeMap::new(),
                    fitting: BTreeSet::new(),
                });
                // the model's own name goes before others for the same
                if own == suffix || !set.names.contains_key(&own) {
                    let fits = *shape == tensor.dims() && !own.ends_with(COUNTER);
                    match fits {
                        true => set.fitting.insert(own.clone()),
                        false => set.fitting.remove(&own),
                    };
                    set.names.insert(own, name);
                }
            }
        }
        sets
    }

    /// The model's name for what a file calls `suffix`, as far as can be told.
    fn own(&self, suffix: &str) -> String {
        let mut segments: Vec<&str> = suffix.split('.').collect();
        // before the first segment it is a prefix
        let mut first = true;
        segments.retain(|segment| std::mem::take(&mut first) || !WRAPPERS.contains(segment));
        let n = segments.len();
        let segment = |(i, segment): (usize, &&str)| match *segment {
            "shortcut" if !self.plain => "downsample".to_string(),
            "gamma" if i + 1 == n => "weight".into(),
            "beta" if i + 1 == n => "bias".into(),
            name if i == 0 && n == 2 && LAST.contains(&name) => self.last_layer.to_string(),
            name if i == 0 && n == 2 && self.numbered.contains_key(name) => self.numbered[name].clone(),
            name if i == 0 && self.plain => match name.strip_prefix("linear").or(name.strip_prefix("lin")) {
                Some(number) if number.parse::<usize>().is_ok() => format!("fc{number}"),
                _ => name.to_string(),
            },
            name => name.to_string(),
        };
        segments.iter().enumerate().map(segment).collect::<Vec<_>>().join(".")
    }
}

/// `0`, `2`, ... of a sequence's weights onto the model's layers in their order; nothing where they are not as many.
fn sequence(tensors: &BTreeMap<String, Tensor>, known: &BTreeMap<&str, &[usize]>) -> BTreeMap<String, String> {
    let numbers: BTreeSet<usize> =
        tensors.keys().filter_map(|name| name.strip_suffix(".weight")?.rsplit('.').next()?.parse().ok()).collect();
    let count = |kind: &str| known.keys().filter(|n| n.starts_with(kind) && n.ends_with(".weight")).count();
    let layers: Vec<String> =
        ["conv", "fc"].into_iter().flat_map(|kind| (1..=count(kind)).map(move |i| format!("{kind}{i}"))).collect();
    match numbers.len() == layers.len() {
        true => numbers.into_iter().map(|number| number.to_string()).zip(layers).collect(),
        false => BTreeMap::new(),
    }
}

fn of_layer(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|part| OF_LAYERS.contains(&part))
}

/// Why the tensors are another model's; `None` where they are this one's.
fn compare(
    last: &str,
    known: &BTreeMap<&str, &[usize]>,
    found: &Adopted,
    strange: &[(String, Vec<usize>)],
) -> Option<Error> {
    let other = |difference, hint: String| Some(Error::OtherModel { difference, hint });
    let general = || "it differs in --model, --hidden, --channels, --norm or the data set".to_string();
    // a layer that is missing tells more than others of another size
    let missing = known.iter().find(|(name, _)| !found.state.contains_key(**name));
    let shapes = found.state.iter().filter(|(name, t)| known.get(name.as_str()).is_some_and(|s| *s != t.dims()));
    let mut shapes: Vec<(&String, &Tensor)> = shapes.collect();
    // the layer of the logits and the first one tell most
    shapes.sort_by_key(|(name, _)| (!name.starts_with(last), name.contains(".bias"), !name.contains("1.weight")));
    if let Some((name, tensor)) = shapes.first().filter(|_| missing.is_none()) {
        let (wanted, seen) = (known.get(name.as_str())?.to_vec(), tensor.dims().to_vec());
        let first = seen.len() == 4 && wanted.len() == 4 && *name == "conv1.weight";
        let hint = if name.starts_with(last) && seen.first() != wanted.first() && seen.get(1) == wanted.get(1) {
            format!("the network in the file tells {} classes apart, the model {}", seen[0], wanted[0])
        } else if first && seen[1] != wanted[1] {
            format!("the network in the file takes images of {} channels, the model of {}", seen[1], wanted[1])
        } else if first && seen[2..] != wanted[2..] {
            format!("its first convolution is {}x{}: a network for larger images has other layers", seen[2], seen[3])
        } else {
            general()
        };
        return other(Difference::Shape { name: (*name).clone(), wanted, seen }, hint);
    }
    match (missing, strange.first()) {
        (None, None) => None,
        (_, Some((name, seen))) if name.contains("running_") && !known.keys().any(|k| k.contains("running_")) => {
            let hint = "it has the statistics of batch normalisation: give --norm batch".into();
            other(Difference::Extra { name: name.clone(), seen: seen.clone() }, hint)
        }
        (Some((name, wanted)), stray) => {
            let hint = match stray {
                _ if name.contains("running_") => {
                    "it has no statistics of batch normalisation: give --norm group if it is of group normalisation"
                        .into()
                }
                _ if name.contains("downsample") => {
                    "its shortcuts may have no weights (option A of He et al. 2016); those of this model are 1x1 \
                     convolutions"
                        .into()
                }
                Some((extra, seen)) => format!("the file has `{extra}` of shape {seen:?} instead; {}", general()),
                None => general(),
            };
            other(Difference::Missing { name: (*name).to_string(), wanted: wanted.to_vec() }, hint)
        }
        (None, Some((name, seen))) => other(Difference::Extra { name: name.clone(), seen: seen.clone() }, general()),
    }
}
