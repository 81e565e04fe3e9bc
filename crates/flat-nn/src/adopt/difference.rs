//! How a file's tensors differ from a model's, and what that tells.

use super::Shapes;
use crate::{Difference, Error};

/// Why the tensors are another model's; `None` where they are this one's.
pub(super) fn compare(last: &str, known: &Shapes, found: &Shapes, strange: &[(String, Vec<usize>)]) -> Option<Error> {
    let other = |difference, hint: String| Some(Error::OtherModel { difference, hint });
    let general = || "it differs in --model, --hidden, --channels, --norm or the data set".to_string();
    // a layer that is missing tells more than others of another size
    let missing = known.iter().find(|(name, _)| !found.contains_key(*name));
    let shapes = found.iter().filter(|(name, seen)| known.get(*name).is_some_and(|wanted| wanted != *seen));
    let mut shapes: Vec<(&String, &Vec<usize>)> = shapes.collect();
    // the layer of the logits and the first one tell most
    shapes.sort_by_key(|(name, _)| (!name.starts_with(last), name.contains(".bias"), !name.contains("1.weight")));
    if let Some((name, seen)) = shapes.first().filter(|_| missing.is_none()) {
        let (wanted, seen) = (known.get(*name)?.clone(), (*seen).clone());
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
