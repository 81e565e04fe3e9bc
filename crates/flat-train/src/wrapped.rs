//! Weights under the names of a wrapper or of another implementation.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;

/// Names that public implementations use for what torchvision calls otherwise.
const ALIASES: [(&str, &str); 3] = [("shortcut.", "downsample."), ("linear.", "fc."), ("classifier.", "fc.")];

/// The tensors under the names of `expected`: what a wrapper put before a name is dropped (`module.`, `_orig_mod.`,
/// `state_dict.model.` and the like), names of other implementations are translated, a missing `num_batches_tracked` is 0, and
/// scalars and integers that belong to nothing are left out. Tensors that cannot be told stay as they are.
///
/// # Errors
/// Two tensors for one name.
pub fn unwrapped(
    tensors: &BTreeMap<String, Tensor>,
    expected: &BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut found: BTreeMap<String, (&str, Tensor)> = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(own) = own_name(name, expected) else {
            if tensor.elem_count() > 1 && tensor.dtype().is_float() {
                found.insert(name.clone(), (name, tensor.clone()));
            }
            continue;
        };
        if let Some((other, _)) = found.insert(own.clone(), (name, tensor.clone())) {
            bail!("both {other} and {name} could be {own}: leave one of them out of the file");
        }
    }
    let mut found: BTreeMap<String, Tensor> = found.into_iter().map(|(own, (_, tensor))| (own, tensor)).collect();
    for name in expected.keys().filter(|name| name.ends_with("num_batches_tracked")) {
        if !found.contains_key(name) {
            found.insert(name.clone(), Tensor::zeros((), DType::I64, &Device::Cpu)?);
        }
    }
    Ok(found)
}

/// The longest end of a name that is expected, as it is or translated.
fn own_name(name: &str, expected: &BTreeMap<String, Tensor>) -> Option<String> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    starts.map(|start| &name[start..]).find_map(|end| {
        let translated = ALIASES.iter().fold(end.to_string(), |name, (theirs, ours)| renamed(&name, theirs, ours));
        [end.to_string(), translated].into_iter().find(|name| expected.contains_key(name))
    })
}

/// The name with one of its whole parts replaced.
fn renamed(name: &str, theirs: &str, ours: &str) -> String {
    match name.strip_prefix(theirs) {
        Some(rest) => format!("{ours}{rest}"),
        None => name.replace(&format!(".{theirs}"), &format!(".{ours}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(names: &[&str]) -> Result<BTreeMap<String, Tensor>> {
        names.iter().map(|n| Ok((n.to_string(), Tensor::zeros(2, DType::F32, &Device::Cpu)?))).collect()
    }

    #[test]
    fn wrappers_and_other_names_are_seen_through_and_another_model_is_not() -> Result<()> {
        let expected = map(&[
            "conv1.weight",
            "layer1.0.conv1.weight",
            "layer1.0.downsample.0.weight",
            "fc.weight",
            "bn1.num_batches_tracked",
        ])?;
        for wrapper in ["", "module.", "_orig_mod.module.", "state_dict.model.", "net."] {
            let theirs = ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.shortcut.0.weight", "linear.weight"];
            let mut theirs = map(&theirs.map(|n| format!("{wrapper}{n}")).each_ref().map(String::as_str))?;
            theirs.insert("epoch".into(), Tensor::zeros((), DType::F32, &Device::Cpu)?);
            let found = unwrapped(&theirs, &expected)?;
            assert!(found.keys().eq(expected.keys()), "{wrapper}: {:?}", found.keys());
        }
        let twice = map(&["ema.fc.weight", "model.fc.weight"])?;
        assert!(unwrapped(&twice, &expected).is_err());
        let more = unwrapped(&map(&["layer9.0.other.weight"])?, &expected)?;
        assert!(more.contains_key("layer9.0.other.weight"), "what belongs to another model is not hidden");
        Ok(())
    }
}
