//! ResNets (He et al. 2016, arXiv 1512.03385): those of their section 4.2 for CIFAR, and those that torchvision has.

use super::residual::{basic, bottleneck};
use crate::NetworkSpec;

/// Three stages of basic blocks.
pub(super) const RESNET20: NetworkSpec = NetworkSpec {
    name: "resnet20",
    others: &[],
    title: "ResNet-20",
    about: "CIFAR ResNet-20 (section 4.2), channels 16-32-64, shortcuts by 1x1 convolutions",
    paper: "He, Zhang, Ren & Sun 2016, arXiv 1512.03385",
    options: &["activation", "channels", "groups", "norm", "stem"],
    width: 16,
    stages: &[(1, 3), (2, 3), (4, 3)],
    in_channels: 3,
    assumed: &[],
    build: basic,
};

pub(super) const RESNET32: NetworkSpec = NetworkSpec {
    name: "resnet32",
    title: "ResNet-32",
    about: "CIFAR ResNet-32, as resnet20 with five blocks a stage",
    stages: &[(1, 5), (2, 5), (4, 5)],
    ..RESNET20
};

pub(super) const RESNET44: NetworkSpec = NetworkSpec {
    name: "resnet44",
    title: "ResNet-44",
    about: "CIFAR ResNet-44, as resnet20 with seven blocks a stage",
    stages: &[(1, 7), (2, 7), (4, 7)],
    ..RESNET20
};

pub(super) const RESNET56: NetworkSpec = NetworkSpec {
    name: "resnet56",
    title: "ResNet-56",
    about: "CIFAR ResNet-56, as resnet20 with nine blocks a stage",
    stages: &[(1, 9), (2, 9), (4, 9)],
    ..RESNET20
};

pub(super) const RESNET110: NetworkSpec = NetworkSpec {
    name: "resnet110",
    title: "ResNet-110",
    about: "CIFAR ResNet-110, as resnet20 with eighteen blocks a stage",
    stages: &[(1, 18), (2, 18), (4, 18)],
    ..RESNET20
};

/// torchvision's, four stages of basic blocks.
pub(super) const RESNET18: NetworkSpec = NetworkSpec {
    name: "resnet18",
    title: "ResNet-18",
    about: "channels 64-512; --stem imagenet is torchvision's, cifar has no pooling in front",
    width: 64,
    stages: &[(1, 2), (2, 2), (4, 2), (8, 2)],
    ..RESNET20
};

pub(super) const RESNET34: NetworkSpec = NetworkSpec {
    name: "resnet34",
    title: "ResNet-34",
    about: "channels 64-512, as resnet18 with 3, 4, 6 and 3 blocks",
    stages: &[(1, 3), (2, 4), (4, 6), (8, 3)],
    ..RESNET18
};

/// torchvision's of bottleneck blocks, whose stride is in the 3x3 convolution.
pub(super) const RESNET50: NetworkSpec = NetworkSpec {
    name: "resnet50",
    title: "ResNet-50",
    about: "bottleneck blocks, channels 256-2048, stride in the 3x3 convolutions as in torchvision",
    build: bottleneck,
    ..RESNET34
};
