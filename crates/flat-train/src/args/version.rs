//! What `--version` says of the build: version, revision and features.

use std::sync::LazyLock;

/// The features of this package, and `hub` of `flat-data`, which the tool always has; with whether the build has them.
pub(super) const FEATURES: [(&str, bool); 4] = [
    ("hub", true),
    ("cuda", cfg!(feature = "cuda")),
    ("cudnn", cfg!(feature = "cudnn")),
    ("nccl", cfg!(feature = "nccl")),
];

/// The text after the name of the program. The revision is what `FLAT_REVISION` named at build time, as `scripts/revision` prints it.
pub(super) static LONG: LazyLock<String> = LazyLock::new(|| said(option_env!("FLAT_REVISION")));

fn said(revision: Option<&str>) -> String {
    let revision = revision.filter(|r| !r.is_empty()).map_or_else(String::new, |r| format!(" ({r})"));
    let features: Vec<&str> = FEATURES.iter().filter(|(_, built)| *built).map(|(name, _)| *name).collect();
    format!("{}{revision}\nfeatures: {}", env!("CARGO_PKG_VERSION"), features.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{FEATURES, said};
    use std::collections::BTreeSet;

    #[test]
    fn every_feature_of_the_package_is_named() {
        let package: toml::Table = include_str!("../../Cargo.toml").parse().expect("TOML");
        let declared: BTreeSet<&str> =
            package["features"].as_table().expect("features").keys().map(String::as_str).collect();
        let named: BTreeSet<&str> = FEATURES.iter().map(|(name, _)| *name).filter(|name| *name != "hub").collect();
        assert_eq!(named, declared);
    }

    #[test]
    fn the_revision_is_said_where_the_build_was_told_one() {
        let version = env!("CARGO_PKG_VERSION");
        assert!(said(Some("018adba")).starts_with(&format!("{version} (018adba)\nfeatures: hub")));
        for unknown in [None, Some("")] {
            assert!(said(unknown).starts_with(&format!("{version}\nfeatures: hub")));
        }
    }
}
