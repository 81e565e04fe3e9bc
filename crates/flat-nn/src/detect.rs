//! The built-in network that a file's tensors are of, found by names and shapes alone.

use crate::adopt::{Known, Shapes, of_optimizer, shapes};
use crate::config::{Arch, ModelConfig};
use crate::kinds::{Norm, Stem};
use crate::networks::build;
use crate::{Error, Result};
use candle_core::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// Sides of images that are tried where nobody says the size.
const SIDES: [usize; 9] = [28, 32, 64, 224, 48, 96, 128, 160, 299];
/// Tensors that an error lists.
const LISTED: usize = 8;

/// A network that tensors are of.
#[derive(Debug, Clone)]
pub struct Detected {
    /// The network. Activation, and groups of group normalisation, are assumed: neither names nor shapes tell them.
    pub config: ModelConfig,
    /// What comes before the names, such as `module.`; empty where nothing does.
    pub prefix: String,
    /// What comes before the names of averaged weights beside them.
    pub averages: Vec<String>,
    /// Whether the weights are the same for images of any size, so that the size in [`Self::config`] is a guess.
    pub any_size: bool,
}

impl ModelConfig {
    /// Finds the built-in network that has just these tensors. `input` is channels, rows and columns of the images, where they are
    /// known. Builds no network; takes milliseconds.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`] with what the tensors are; [`Error::Ambiguous`] where they are of two networks.
    pub fn detect(tensors: &BTreeMap<String, Tensor>, input: Option<[usize; 3]>) -> Result<Detected> {
        let shapes: Shapes = shapes(tensors).into_iter().filter(|(name, _)| !of_optimizer(name)).collect();
        // a perceptron is in many a larger network: the one that most of the tensors are of is meant
        let mut best: Option<(usize, Result<Detected>)> = None;
        for config in candidates(&shapes, input) {
            let Ok(network) = build(&config) else { continue };
            let Ok(known) = Known::of(&*network) else { continue };
            let covered = known.known.len();
            if !known.may_be_in(&shapes) || best.as_ref().is_some_and(|(most, _)| covered <= *most) {
                continue;
            }
            match known.find(&shapes) {
                Ok(found) => {
                    let other = ModelConfig { height: config.height + 32, width: config.width + 32, ..config.clone() };
                    let other = build(&other).and_then(|network| Known::of(&*network));
                    let any_size = other.is_ok_and(|other| other.known == known.known);
                    let found = Detected { config, prefix: found.prefix, averages: found.averages, any_size };
                    best = Some((covered, Ok(found)));
                }
                Err(e @ Error::Ambiguous { .. }) => best = Some((covered, Err(e))),
                Err(_) => {}
            }
        }
        let unknown = || Error::UnknownNetwork { tensors: shapes.len(), holds: listed(&shapes) };
        best.map_or_else(|| Err(unknown()), |(_, found)| found)
    }
}

/// Every network that the tensors' sizes allow, the likelier ones first.
fn candidates(shapes: &Shapes, input: Option<[usize; 3]>) -> Vec<ModelConfig> {
    let convolutions = || shapes.values().filter(|shape| shape.len() == 4);
    let least = convolutions().map(|shape| shape[1]).min();
    let firsts = convolutions().filter(|shape| Some(shape[1]) == least);
    let firsts: BTreeSet<[usize; 3]> = firsts.map(|shape| [shape[0], shape[1], shape[2]]).collect();
    let classes: BTreeSet<usize> = shapes.values().filter(|shape| shape.len() == 2).map(|shape| shape[0]).collect();
    let statistics = shapes.keys().any(|name| name.ends_with("running_var"));
    let mut all = Vec::new();
    for arch in Arch::all().chain(wide(shapes)) {
        if arch.takes("hidden") {
            all.extend(chains(shapes).iter().filter_map(|chain| of_chain(arch, chain, input)));
            continue;
        }
        let norm = if arch.takes("norm") && !statistics { Norm::Group } else { Norm::Batch };
        let stems: &[Stem] = if arch.takes("stem") { Stem::ALL } else { &[Stem::Cifar] };
        for (&[first, in_channels, window], &stem) in
            firsts.iter().flat_map(|first| stems.iter().map(move |s| (first, s)))
        {
            let sides = match input {
                Some([_, height, width]) => vec![[height, width]],
                None => SIDES.map(|side| [side, side]).to_vec(),
            };
            for (&classes, [height, width]) in classes.iter().flat_map(|n| sides.iter().map(move |s| (n, *s))) {
                let channels = (first != arch.width && arch.takes("channels")).then_some(first);
                let usual = ModelConfig::default();
                let patch = if arch.takes("patch") { window } else { usual.patch };
                let sizes = ModelConfig { in_channels, height, width, classes, channels, patch, ..usual };
                all.push(ModelConfig { arch, norm, stem, ..sizes });
            }
        }
    }
    all
}

/// The wide ResNet of as many blocks and channels.
fn wide(shapes: &Shapes) -> Option<Arch> {
    let of_stage = |name: &str| {
        let (_, rest) = name.split_once("layer1.")?;
        rest.split('.').next()?.parse::<usize>().ok()
    };
    let blocks = shapes.keys().filter_map(|name| of_stage(name)).max()? + 1;
    let out = |end: &str| shapes.iter().find(|(name, s)| name.ends_with(end) && s.len() == 4).map(|(_, s)| s[0]);
    let factor = out("layer1.0.conv1.weight")?.checked_div(shapes.values().find(|s| s.len() == 4).map(|s| s[0])?)?;
    format!("wrn-{}-{factor}", 6 * blocks + 4).parse().ok()
}

/// The number in a layer's name, the name, and the layer's inputs and outputs.
type Layer<'a> = (u64, &'a str, (usize, usize));

/// Weights of fully connected layers of which each takes what the one before gives, as `(inputs, outputs)`.
fn chains(shapes: &Shapes) -> Vec<Vec<(usize, usize)>> {
    let mut layers: BTreeMap<&str, Vec<Layer<'_>>> = BTreeMap::new();
    for (name, shape) in shapes {
        let (Some(layer), [out, input]) = (name.strip_suffix(".weight"), shape.as_slice()) else { continue };
        let (prefix, layer) = layer.rsplit_once('.').unwrap_or(("", layer));
        let digits: String = layer.chars().filter(char::is_ascii_digit).collect();
        // a layer without a number is the last
        layers.entry(prefix).or_default().push((digits.parse().unwrap_or(u64::MAX), layer, (*input, *out)));
    }
    let chain = |mut layers: Vec<Layer<'_>>| {
        layers.sort();
        layers.into_iter().map(|(_, _, sizes)| sizes).collect::<Vec<_>>()
    };
    let fits = |chain: &Vec<(usize, usize)>| chain.windows(2).all(|pair| pair[0].1 == pair[1].0);
    layers.into_values().map(chain).filter(fits).collect()
}

fn of_chain(arch: Arch, chain: &[(usize, usize)], input: Option<[usize; 3]>) -> Option<ModelConfig> {
    let (inputs, classes) = (chain.first()?.0, chain.last()?.1);
    let hidden = chain[..chain.len() - 1].iter().map(|(_, out)| *out).collect();
    let square = |channels: usize| {
        let side = (inputs / channels).isqrt();
        (channels * side * side == inputs).then_some([channels, side, side])
    };
    let told = input.filter(|sides| sides.iter().product::<usize>() == inputs);
    let [in_channels, height, width] = told.or_else(|| square(1)).or_else(|| square(3)).unwrap_or([1, 1, inputs]);
    Some(ModelConfig { arch, in_channels, height, width, classes, hidden, ..ModelConfig::default() })
}

/// The first tensors and how many more there are.
fn listed(shapes: &Shapes) -> String {
    let one = |(name, shape): (&String, &Vec<usize>)| {
        let name: String = name.escape_debug().take(60).collect();
        format!("{name} {shape:?}")
    };
    // the layers' weights tell most
    let (weights, rest): (Vec<_>, Vec<_>) = shapes.iter().partition(|(_, shape)| shape.len() > 1);
    let listed: Vec<String> = weights.into_iter().chain(rest).take(LISTED).map(one).collect();
    match shapes.len().saturating_sub(LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}
