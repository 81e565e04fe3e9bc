//! The names in a file as a model's: prefixes, wrappers, synonyms, places in a sequence.

use super::{COUNTER, Shapes, of_optimizer};
use std::collections::{BTreeMap, BTreeSet};

/// Segments within names that wrappers put in: `DataParallel`, `torch.compile`, FSDP and activation checkpoints.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];
/// Names that others give the layer of the logits.
const LAST: [&str; 5] = ["fc", "linear", "classifier", "head", "output"];

/// What a file has under one prefix.
pub(super) struct Set<'a> {
    pub(super) prefix: &'a str,
    /// The file's full names by the model's.
    pub(super) names: BTreeMap<String, &'a str>,
    /// The model's names whose tensors have the right shape.
    pub(super) fitting: BTreeSet<String>,
}

/// The names in a file, as a model's.
pub(super) struct Names<'a> {
    last_layer: &'a str,
    /// Whether layers are numbered through, as in a sequence, rather than in blocks.
    plain: bool,
    /// Layers of a sequence by number, in the order of the model's layers.
    numbered: BTreeMap<String, String>,
}

impl<'a> Names<'a> {
    pub(super) fn of(last_layer: &'a str, tensors: &Shapes, known: &Shapes) -> Self {
        let plain = known.keys().all(|name| name.split('.').count() == 2);
        let numbered = if plain { sequence(tensors, known) } else { BTreeMap::new() };
        Self { last_layer, plain, numbered }
    }

    /// What there is of the model under each prefix, but for an optimizer's state.
    pub(super) fn sets<'t>(&self, tensors: &'t Shapes, known: &Shapes) -> BTreeMap<&'t str, Set<'t>> {
        let mut sets: BTreeMap<&str, Set> = BTreeMap::new();
        for (name, seen) in tensors {
            let ends = std::iter::once(0).chain(name.match_indices('.').map(|(i, _)| i + 1));
            for (prefix, suffix) in ends.map(|end| name.split_at(end)) {
                let own = self.own(suffix);
                let Some(shape) = known.get(&own) else { continue };
                if of_optimizer(prefix) {
                    continue;
                }
                let set = sets.entry(prefix).or_insert_with(|| Set {
                    prefix,
                    names: BTreeMap::new(),
                    fitting: BTreeSet::new(),
                });
                // the model's own name goes before others for the same
                if own == suffix || !set.names.contains_key(&own) {
                    let fits = shape == seen && !own.ends_with(COUNTER);
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
fn sequence(tensors: &Shapes, known: &Shapes) -> BTreeMap<String, String> {
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
