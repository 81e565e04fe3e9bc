//! ResNets for CIFAR with the shortcuts of option A (He et al. 2016, section 4.2), which have no weights. They take every other
//! pixel, and zeros for the new channels, half of them on either side.

use super::residual::padded;
use super::resnet::{RESNET20, RESNET32, RESNET44, RESNET56, RESNET110};
use crate::NetworkSpec;

pub(super) const RESNET20_A: NetworkSpec = NetworkSpec {
    name: "resnet20-a",
    title: "ResNet-20 (A)",
    about: "as resnet20, with shortcuts without weights: every other pixel, zeros for new channels (option A)",
    build: padded,
    ..RESNET20
};

pub(super) const RESNET32_A: NetworkSpec = NetworkSpec {
    name: "resnet32-a",
    title: "ResNet-32 (A)",
    about: "as resnet32, with shortcuts without weights (option A)",
    stages: RESNET32.stages,
    ..RESNET20_A
};

pub(super) const RESNET44_A: NetworkSpec = NetworkSpec {
    name: "resnet44-a",
    title: "ResNet-44 (A)",
    about: "as resnet44, with shortcuts without weights (option A)",
    stages: RESNET44.stages,
    ..RESNET20_A
};

pub(super) const RESNET56_A: NetworkSpec = NetworkSpec {
    name: "resnet56-a",
    title: "ResNet-56 (A)",
    about: "as resnet56, with shortcuts without weights (option A)",
    stages: RESNET56.stages,
    ..RESNET20_A
};

pub(super) const RESNET110_A: NetworkSpec = NetworkSpec {
    name: "resnet110-a",
    title: "ResNet-110 (A)",
    about: "as resnet110, with shortcuts without weights (option A)",
    stages: RESNET110.stages,
    ..RESNET20_A
};
