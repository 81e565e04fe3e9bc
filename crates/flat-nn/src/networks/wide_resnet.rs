//! Wide ResNets of any depth and width (Zagoruyko & Komodakis 2016, arXiv 1605.07146).

use super::NETWORKS;
use super::residual::pre_activation;
use super::resnet::RESNET20;
use crate::NetworkSpec;
use std::sync::{Mutex, PoisonError};

/// The one of the table. [`of_family`] has the others.
pub(super) const WRN_16_4: NetworkSpec = NetworkSpec {
    name: "wrn-16-4",
    others: &["wide-resnet-16-4", "wideresnet16-4"],
    title: "wide ResNet 16-4",
    about: "wide ResNet 16-4, pre-activation, channels 16-64-128-256; wrn-28-10 and the like too",
    paper: "Zagoruyko & Komodakis 2016, arXiv 1605.07146",
    stages: &[(4, 2), (8, 2), (16, 2)],
    build: pre_activation,
    ..RESNET20
};

/// What a name of the family is like.
pub(super) const FAMILY: &str = "wrn-D-K with D = 6 n + 4";
/// The deepest and the widest, beyond any that somebody trains.
const MOST: (usize, usize) = (1000, 256);

/// `wrn-D-K`: D layers in blocks of two, K times the channels of a ResNet for CIFAR. The same entry for the same name.
pub(super) fn of_family(typed: &str) -> Option<&'static NetworkSpec> {
    static MADE: Mutex<Vec<&NetworkSpec>> = Mutex::new(Vec::new());
    let (depth, factor) = numbers(typed)?;
    let name = format!("wrn-{depth}-{factor}");
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = NETWORKS.iter().chain(made.iter().copied()).find(|entry| entry.name == name) {
        return Some(known);
    }
    let blocks = (depth - 4) / 6;
    let channels = [1, 2, 4].map(|ratio| 16 * ratio * factor);
    let entry = Box::leak(Box::new(NetworkSpec {
        name: name.leak(),
        others: &[],
        title: format!("wide ResNet {depth}-{factor}").leak(),
        about: format!(
            "wide ResNet {depth}-{factor}, pre-activation, channels 16-{}-{}-{}",
            channels[0], channels[1], channels[2]
        )
        .leak(),
        stages: vec![(factor, blocks), (2 * factor, blocks), (4 * factor, blocks)].leak(),
        ..WRN_16_4
    }));
    made.push(entry);
    Some(entry)
}

/// Depth and factor of a name, where there is such a network.
fn numbers(typed: &str) -> Option<(usize, usize)> {
    let name = typed.trim().to_lowercase().replace(['_', ' '], "-");
    let rest = ["wrn", "wideresnet", "wide-resnet"].iter().find_map(|start| name.strip_prefix(start))?;
    let (depth, factor) = rest.trim_start_matches('-').split_once('-')?;
    let (depth, factor): (usize, usize) = (depth.parse().ok()?, factor.parse().ok()?);
    let takes = (10..=MOST.0).contains(&depth) && depth % 6 == 4 && (1..=MOST.1).contains(&factor);
    takes.then_some((depth, factor))
}

#[cfg(test)]
mod tests {
    use crate::{Arch, networks};

    #[test]
    fn any_depth_of_whole_blocks_and_any_factor_is_one_entry() {
        let wide: Arch = "WRN28-10".parse().expect("a depth of 6 n + 4");
        assert_eq!((wide.name(), wide.stages), ("wrn-28-10", &[(10, 4), (20, 4), (40, 4)][..]));
        let again: Arch = "wide_resnet_28_10".parse().expect("by another name");
        assert!(std::ptr::eq(&raw const *wide, &raw const *again), "made once");
        assert_eq!("wrn-16-4".parse::<Arch>().expect("of the table"), networks::WRN_16_4);
        for wrong in ["wrn-17-4", "wrn-4-4", "wrn-28-0", "wrn-28", "wrn-28-10-2", "wrn-1006-1", "wrn-28-257"] {
            let error = wrong.parse::<Arch>().expect_err(wrong).to_string();
            assert!(error.ends_with("wrn-D-K with D = 6 n + 4"), "{error}");
        }
    }
}
