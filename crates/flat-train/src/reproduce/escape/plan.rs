//! Sizes, grids and recipes of the study at each scale.

use super::method::{BATCH, Method, Setting};
use crate::args::ReproduceArgs;
use crate::choice::{LossName, ScheduleName};
use crate::config::TrainConfig;
use crate::every::Every;
use crate::reproduce::Scale;
use crate::reproduce::bad_minimum::Spoiling;
use crate::reproduce::training::plain_sgd;
use crate::text::Text;
use flat_data::DatasetKind;
use flat_nn::Arch;

/// What the study does at a scale.
pub(super) struct Plan {
    /// The data set.
    pub dataset: DatasetKind,
    /// Training, validation and test images.
    pub images: [usize; 3],
    /// Independent bad minima, each with its own run of every method.
    pub seeds: u64,
    /// The losses and what is tried with each.
    pub losses: Vec<LossPlan>,
}

/// What is done with one loss.
pub(super) struct LossPlan {
    /// The loss.
    pub loss: LossName,
    /// The network in words.
    pub network: &'static str,
    /// Hidden widths, where the network is a multilayer perceptron.
    pub hidden: Vec<usize>,
    /// The methods that are compared, the reference first.
    pub methods: Vec<Method>,
    /// Gradient evaluations of a run of the search.
    pub search_evals: f64,
    /// Gradient evaluations of a run of the comparison.
    pub evals: f64,
    /// Measurements along it.
    pub points: u64,
    /// Steps of plain SGD after them, the same for every method, at the learning rate of the bad minimum's last part: the
    /// phase of plain descent that Algorithm 2 ends with.
    pub settle: u64,
    /// How its bad minimum is made.
    pub spoiling: Spoiling,
    /// What the search tries.
    pub grid: Vec<Setting>,
    /// Whether the ablations are run.
    pub ablations: bool,
}

impl Plan {
    /// The plan of a scale.
    pub fn of(scale: Scale) -> Self {
        match scale {
            Scale::Smoke => Self {
                dataset: DatasetKind::Mnist,
                images: [100, 100, 200],
                seeds: 1,
                losses: vec![LossPlan {
                    loss: LossName::CrossEntropy,
                    network: "multilayer perceptron 784-32-10, ReLU",
                    hidden: vec![32],
                    methods: Method::PAPER.to_vec(),
                    search_evals: 40.0,
                    evals: 80.0,
                    points: 2,
                    settle: 4,
                    spoiling: Spoiling {
                        copies: 2,
                        lr: 0.1,
                        epochs: 50,
                        true_lr: 0.05,
                        true_epochs: 50,
                        more_epochs: 0,
                        good_epochs: 20,
                    },
                    grid: Method::PAPER.into_iter().flat_map(|m| grid(m, &[0.01], &[0.1], None)).collect(),
                    ablations: true,
                }],
            },
            Scale::Cpu => Self {
                dataset: DatasetKind::Mnist,
                images: [1000, 2000, 10_000],
                seeds: 3,
                losses: vec![
                    LossPlan {
                        loss: LossName::CrossEntropy,
                        network: "multilayer perceptron 784-128-10, ReLU",
                        hidden: vec![128],
                        methods: Method::PAPER.to_vec(),
                        search_evals: 1600.0,
                        evals: 4000.0,
                        points: 5,
                        settle: 0,
                        spoiling: Spoiling {
                            copies: 8,
                            lr: 0.1,
                            epochs: 350,
                            true_lr: 0.05,
                            true_epochs: 200,
                            more_epochs: 0,
                            good_epochs: 200,
                        },
                        grid: perturbations(&[0.003, 0.01], [&[20.0, 40.0], &[1.0, 2.0], &[0.1], &[0.2, 0.5]]),
                        ablations: true,
                    },
                    LossPlan {
                        loss: LossName::Mse,
                        network: "multilayer perceptron 784-256-10, ReLU",
                        hidden: vec![256],
                        methods: vec![
                            Method::Sgd,
                            Method::Rs,
                            Method::Sa(BATCH),
                            Method::Sa(64),
                            Method::Sa(8),
                            Method::Sa(1),
                            Method::Sam,
                            Method::Nso,
                        ],
                        search_evals: 2000.0,
                        evals: 6000.0,
                        points: 5,
                        settle: 1500,
                        spoiling: Spoiling {
                            copies: 4,
                            lr: 0.3,
                            epochs: 600,
                            true_lr: 0.3,
                            true_epochs: 300,
                            more_epochs: 40,
                            good_epochs: 300,
                        },
                        grid: squared_loss(),
                        ablations: false,
                    },
                ],
            },
            Scale::Paper => Self {
                dataset: DatasetKind::Cifar10,
                images: [45_000, 5_000, 10_000],
                seeds: 3,
                losses: vec![LossPlan {
                    loss: LossName::CrossEntropy,
                    network: "ResNet-18 with batch normalisation",
                    hidden: vec![],
                    methods: Method::PAPER.to_vec(),
                    search_evals: 10_000.0,
                    evals: 80_000.0,
                    points: 20,
                    settle: 0,
                    spoiling: Spoiling {
                        copies: 1,
                        lr: 0.1,
                        epochs: 350,
                        true_lr: 0.01,
                        true_epochs: 200,
                        more_epochs: 0,
                        good_epochs: 200,
                    },
                    grid: perturbations(
                        &[0.001],
                        [&[5.0, 20.0, 80.0], &[0.1, 0.5, 2.0], &[0.1, 0.5], &[0.05, 0.1, 0.5]],
                    ),
                    ablations: true,
                }],
            },
        }
    }

    /// A run with this loss and seed, before it is given a method.
    pub fn config(&self, part: &LossPlan, seed: u64, args: &ReproduceArgs) -> TrainConfig {
        let config = TrainConfig {
            loss: part.loss,
            device: args.device,
            data_dir: args.data_dir.clone(),
            batch_size: BATCH,
            ..plain_sgd(self.dataset, seed)
        };
        match part.hidden.is_empty() {
            true => TrainConfig { model: Text(Arch::ResNet18), ..config },
            false => TrainConfig { model: Text(Arch::Mlp), hidden: part.hidden.clone(), ..config },
        }
    }

    /// The same for fitting from random weights: at the paper's scale the learning rate falls.
    pub fn fitting(&self, config: TrainConfig, scale: Scale) -> TrainConfig {
        match scale {
            Scale::Paper => {
                TrainConfig { schedule: ScheduleName::Step, step_size: Some(Text(Every::Epochs(125))), ..config }
            }
            _ => config,
        }
    }
}

/// What the search tries, from radii of RS, of SA with 64 and 128 examples, of SA with one, and of SAM.
fn perturbations(lrs: &[f64], [rs, sa, sa1, sam]: [&[f64]; 4]) -> Vec<Setting> {
    // RS's radii over the square root of the small network's 101,770 parameters: noise of the same norm
    let sigmas: Vec<f64> = rs.iter().map(|rho| (1000.0 * rho / 319.0).round() / 1000.0).collect();
    // one example's gradient is noise of the size of eta: without a gate it undoes the fit
    let gates = [Some(0.03), Some(0.1), None];
    [
        grid(Method::Sgd, lrs, &[0.0], None),
        grid(Method::Rs, lrs, rs, None),
        grid(Method::Sa(BATCH), lrs, sa, None),
        grid(Method::Sa(64), lrs, sa, None),
        gates.into_iter().flat_map(|eps0| grid(Method::Sa(1), lrs, sa1, eps0)).collect(),
        grid(Method::Sam, lrs, sam, None),
        grid(Method::Nso, lrs, &sigmas, None),
    ]
    .concat()
}

/// What the search tries with the squared loss.
fn squared_loss() -> Vec<Setting> {
    let lr = &[0.3];
    [
        grid(Method::Sgd, lr, &[0.0], None),
        grid(Method::Rs, lr, &[2.0, 5.0, 10.0], None),
        grid(Method::Sa(BATCH), lr, &[0.1, 0.2, 0.3], None),
        grid(Method::Sa(64), lr, &[0.1, 0.2, 0.3], None),
        // a smaller sample is more noise, which a smaller rate averages out
        grid(Method::Sa(8), &[0.1, 0.3], &[0.05, 0.1], None),
        grid(Method::Sa(1), &[0.03, 0.1], &[0.02, 0.05], None),
        grid(Method::Sam, lr, &[0.1, 0.3], None),
        // RS's two larger radii over the square root of the network's 203,530 parameters
        grid(Method::Nso, lr, &[0.011, 0.022], None),
    ]
    .concat()
}

fn grid(method: Method, lrs: &[f64], rhos: &[f64], eps0: Option<f64>) -> Vec<Setting> {
    let rhos: &[f64] = if method == Method::Sgd { &[0.0] } else { rhos };
    lrs.iter().flat_map(|&lr| rhos.iter().map(move |&rho| Setting { method, lr, rho, eps0 })).collect()
}
