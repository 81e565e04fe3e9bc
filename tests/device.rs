//! One suite for every device: on the CPU always, on CUDA where it opens. `cargo test --release --features cuda` on a
//! machine with a GPU is the acceptance of that machine.
//!
//! Nothing is compared with this library's own CPU numbers alone: models with numbers of PyTorch, steps with the rules'
//! formulas in plain f64, curvature with a closed form. Whole training runs beside PyTorch are in `parity.rs`, which takes
//! the same list of devices.

use crate::tool::{Room, SMALL, fails, json, run, step_losses};
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{Layout, ParamVec, Params, Purpose, Space, Stream, Streams};
use flat_data::{Augment, DatasetKind, Loader, LoaderOptions, Split};
use flat_nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, Norm, networks};
use flat_optim::{AdamW, Base, GradientRule, Nso, Optimizer, Plain, Query, Rsp, Sam, Sap, Sgd, WithRows};
use std::sync::Arc;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The CPU, and the first CUDA device where one opens. `FLAT_REQUIRE_CUDA=1` makes its absence a failure, so that an
/// acceptance cannot pass without a GPU.
pub fn devices() -> Vec<Device> {
    let mut all = vec![Device::Cpu];
    let cuda =
        if cfg!(feature = "cuda") { Device::new_cuda(0).map_err(|e| e.to_string()) } else { Err("not built".into()) };
    match cuda {
        Ok(device) => all.push(device),
        Err(e) if std::env::var_os("FLAT_REQUIRE_CUDA").is_some() => {
            panic!("FLAT_REQUIRE_CUDA is set and CUDA does not open: {e}")
        }
        Err(_) => {}
    }
    all
}

fn model_config(arch: Arch, in_channels: usize, side: usize, norm: Norm) -> ModelConfig {
    let hidden = if arch == networks::MLP { vec![12] } else { vec![] };
    let activation = if arch == networks::MLP { Activation::Gelu } else { Activation::Relu };
    ModelConfig {
        arch,
        in_channels,
        height: side,
        width: side,
        classes: 10,
        hidden,
        activation,
        norm,
        ..ModelConfig::default()
    }
}

/// The formula of `crates/flat-nn/tests/reference/models.py`.
fn formula(n: usize, phase: f64) -> Vec<f64> {
    (0..n).map(|i| (0.7 * i as f64 + phase).sin()).collect()
}

fn tensor(x: Vec<f64>, shape: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_vec(x, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
}

fn number(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(DType::F64)?.to_scalar()?)
}

/// What `models.py` printed: a logit, loss, mean squared error, |g|, <g, v>, |Hv|, <v, Hv>, loss in evaluation mode.
const PYTORCH: [(Arch, usize, usize, Norm, [f64; 8]); 5] = [
    (
        networks::LENET,
        1,
        16,
        Norm::Batch,
        [
            0.147365904904056,
            2.5571417530989,
            0.32428743472727,
            3.35312552770824,
            -0.276153810579588,
            24.444662419073,
            219.622505536399,
            2.57538433723316,
        ],
    ),
    (
        networks::MLP,
        1,
        16,
        Norm::Batch,
        [
            1.08257612324192,
            4.28805367887989,
            2.04502002690532,
            9.11936544189582,
            -5.8186149496447,
            51.7490657959813,
            158.62202183099,
            4.43533664905085,
        ],
    ),
    (
        networks::RESNET20,
        3,
        8,
        Norm::Batch,
        [
            -0.720203894517383,
            2.74567994235892,
            0.454622241331938,
            5.85812820416241,
            -0.510330312805072,
            45.2634679585569,
            -94.4844229611878,
            13.2462864302193,
        ],
    ),
    (
        networks::RESNET20,
        3,
        8,
        Norm::Group,
        [
            -0.574378551557454,
            2.65442093736479,
            0.331402933903333,
            6.67427642053285,
            0.0137301940146966,
            30.6221937329186,
            -46.6553446997475,
            2.68405197156873,
        ],
    ),
    (
        networks::WRN_16_4,
        3,
        8,
        Norm::Group,
        [
            0.0995533024835866,
            2.62035006910301,
            0.310757606069443,
            24.1747810289337,
            -7.31848841805256,
            697.011621873021,
            941.475305486,
            2.64758909744058,
        ],
    ),
];

#[test]
fn layers_gradients_and_hessian_products_are_those_of_pytorch() -> Result {
    for device in devices() {
        for (arch, channels, side, norm, expected) in PYTORCH {
            for dtype in [DType::F64, DType::F32] {
                let model = Model::new(&model_config(arch, channels, side, norm), dtype, &device, &Streams::new(0))?;
                let params = model.params();
                for (k, (entry, var)) in params.layout().entries().iter().zip(params.vars()).enumerate() {
                    let dims = entry.shape.dims();
                    let a = match dims.len() {
                        1 => 0.1,
                        _ => 1.0 / (dims[1..].iter().product::<usize>() as f64).sqrt(),
                    };
                    let shift = if dims.len() == 1 && entry.name.ends_with("weight") { 1.0 } else { 0.0 };
                    let x = formula(entry.len, 1.3 * k as f64 + 0.5).into_iter().map(|s| a * s + shift).collect();
                    var.set(&tensor(x, dims, dtype, &device)?)?;
                }
                let x = tensor(formula(4 * channels * side * side, 0.1), &[4, channels, side, side], dtype, &device)?;
                let y = Tensor::new(&[0u32, 3, 9, 3], &device)?;
                let smooth = Loss::CrossEntropy { label_smoothing: 0.1 };
                let v = (0..params.layout().len()).map(|i| (0.3 * i as f64).cos()).collect();
                let v = ParamVec::from_f64(params.space(), v)?;
                let pass = model.pullback(&x, Mode::Train)?;
                let loss = smooth.mean(pass.logits(), &y)?;
                let (logit, mse) = (pass.logits().get(1)?.get(2)?, Loss::Mse.mean(pass.logits(), &y)?);
                let (logit, mse, value) = (number(&logit)?, number(&mse)?, number(&loss)?);
                let g = pass.gradient(&loss)?;
                let hv = model.hessian_product(smooth, &x, &y, &v, Mode::BatchStats)?;
                let plain = Loss::CrossEntropy { label_smoothing: 0.0 };
                let eval = number(&plain.mean(&model.logits_no_grad(&x, Mode::Eval)?, &y)?)?;
                let got = [logit, value, mse, g.norm()?, g.dot(&v)?, hv.norm()?, hv.dot(&v)?, eval];
                let (vs, gs) = (v.norm()?, g.norm()?);
                let names = ["logit", "loss", "mse", "|g|", "<g, v>", "|Hv|", "<v, Hv>", "eval loss"];
                for (name, (got, expected)) in names.iter().zip(got.iter().zip(expected)) {
                    // Rounding, grown through twenty layers, relative to what is summed: <g, v> cancels to far less than
                    // |g| |v|, <v, Hv> to less than |v| |Hv|. In f32 a relu or a maximum may fall on the other side.
                    let size = match *name {
                        "<g, v>" => vs * gs,
                        "<v, Hv>" => vs * hv.norm()?,
                        _ => expected.abs(),
                    };
                    let tolerance = if dtype == DType::F64 { 1e-8 } else { 2e-3 };
                    let error = (got - expected).abs() / size;
                    assert!(
                        error < tolerance,
                        "{arch} {norm} {dtype:?} on {device:?}: {name} {got}, PyTorch {expected}"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Linear regression on four examples, in plain f64: `f_i(w) = (x_i . w - y_i)^2`.
struct Regression {
    x: [[f64; 3]; 4],
    y: [f64; 4],
}

const DATA: Regression = Regression {
    x: [[1.0, 0.5, -0.25], [-0.5, 2.0, 0.75], [0.25, -1.0, 1.5], [2.0, 0.125, -1.0]],
    y: [1.0, -2.0, 0.5, 3.0],
};

fn along(by: f64, u: &[f64], w: &[f64]) -> Vec<f64> {
    w.iter().zip(u).map(|(w, u)| w + by * u).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Regression {
    fn gradient(&self, w: &[f64], rows: &[usize]) -> Vec<f64> {
        let mut g = vec![0.0; 3];
        for &i in rows {
            let residual = dot(&self.x[i], w) - self.y[i];
            g = along(2.0 * residual / rows.len() as f64, &self.x[i], &g);
        }
        g
    }

    fn loss(&self, w: &[f64]) -> f64 {
        (0..4).map(|i| (dot(&self.x[i], w) - self.y[i]).powi(2)).sum::<f64>() / 4.0
    }

    /// The surrogate gradient of each rule as its paper has it, with the draws of the streams.
    fn surrogate(&self, rule: &Rule, w: &[f64], step: u64, streams: Streams, host: &Space) -> Result<Vec<f64>> {
        const ALL: [usize; 4] = [0, 1, 2, 3];
        let g = self.gradient(w, &ALL);
        let project = |v: Vec<f64>| along(-dot(&g, &v) / dot(&g, &g), &g, &v);
        Ok(match rule {
            Rule::Sam(rho) => self.gradient(&along(rho / dot(&g, &g).sqrt(), &g, w), &ALL),
            Rule::Rsp(rho) => {
                let z = ParamVec::noise(host, &streams.at2(Purpose::Perturb, step, 0))?.to_f64()?;
                along(1.0, &g, &project(self.gradient(&along(rho / dot(&z, &z).sqrt(), &z, w), &ALL)))
            }
            Rule::Sap(rho) => {
                let i = streams.at(Purpose::Sample, step).below(4);
                let sign = streams.at(Purpose::Sign, step).sign();
                let own = self.gradient(w, &[i]);
                let there = along(sign * rho / dot(&own, &own).sqrt(), &own, w);
                along(1.0, &g, &project(self.gradient(&there, &[i])))
            }
            Rule::Nso(sigma) => {
                let u = ParamVec::noise(host, &streams.at2(Purpose::Perturb, step, 0))?.to_f64()?;
                let (up, down) =
                    (self.gradient(&along(*sigma, &u, w), &ALL), self.gradient(&along(-sigma, &u, w), &ALL));
                up.iter().zip(down).map(|(a, b)| 0.5 * (a + b)).collect()
            }
            Rule::Plain => g,
        })
    }
}

/// A rule with its radius.
#[derive(Debug)]
enum Rule {
    Plain,
    Sam(f64),
    Rsp(f64),
    Sap(f64),
    Nso(f64),
}

impl Rule {
    fn of_the_library(&self) -> Box<dyn GradientRule> {
        match *self {
            Self::Plain => Plain.into(),
            Self::Sam(rho) => Sam::new(rho).into(),
            Self::Rsp(rho) => Rsp::new(rho).into(),
            Self::Sap(rho) => Sap::new(rho).examples(1).into(),
            Self::Nso(sigma) => Nso::new(sigma).into(),
        }
    }
}

#[test]
fn three_steps_of_each_rule_are_those_of_its_formula() -> Result {
    let rules = [Rule::Plain, Rule::Sam(0.1), Rule::Rsp(0.3), Rule::Sap(0.2), Rule::Nso(0.1)];
    for device in devices() {
        for (rule, adam) in rules.iter().flat_map(|r| [(r, false), (r, true)]) {
            for dtype in [DType::F64, DType::F32] {
                let start = [0.3, -0.7, 0.2];
                let var = Var::from_tensor(&tensor(start.to_vec(), &[3], dtype, &device)?)?;
                let x = tensor(DATA.x.concat(), &[4, 3], dtype, &device)?;
                let y = tensor(DATA.y.to_vec(), &[4, 1], dtype, &device)?;
                let w = var.clone();
                let mut f = WithRows::new(4, move |q: Query| {
                    let r = q.rows.range(4).map_err(candle_core::Error::wrap)?;
                    let (x, y) = (x.narrow(0, r.start, r.len())?, y.narrow(0, r.start, r.len())?);
                    (x.matmul(&w.reshape((3, 1))?)? - y)?.sqr()?.mean_all()
                });
                let params = Params::new([("w".to_string(), var)])?;
                let (lr, mu, decay) = (0.05, 0.9, 0.01);
                let base: Box<dyn Base> = match adam {
                    false => Sgd::new(lr).momentum(mu).weight_decay(decay).into(),
                    true => AdamW::new(lr).weight_decay(decay).into(),
                };
                let mut optimizer =
                    Optimizer::builder(&params).rule(rule.of_the_library()).base(base).seed(5).build()?;
                let host = Space { device: Device::Cpu, ..params.space().clone() };
                let (mut at, mut m, mut s) = (start.to_vec(), vec![0.0; 3], vec![0.0; 3]);
                let (mut losses, mut launched) = (Vec::new(), Vec::new());
                for step in 0..3u64 {
                    losses.push(DATA.loss(&at));
                    let g = DATA.surrogate(rule, &at, step, Streams::new(5), &host)?;
                    if adam {
                        let t = step as i32 + 1;
                        at.iter_mut().for_each(|w| *w -= lr * decay * *w);
                        m = m.iter().zip(&g).map(|(m, g)| 0.9 * m + 0.1 * g).collect();
                        s = s.iter().zip(&g).map(|(s, g)| 0.999 * s + 0.001 * g * g).collect();
                        for ((w, m), s) in at.iter_mut().zip(&m).zip(&s) {
                            let (m, s) = (m / (1.0 - 0.9f64.powi(t)), s / (1.0 - 0.999f64.powi(t)));
                            *w -= lr * m / (s.sqrt() + 1e-8);
                        }
                    } else {
                        m = m.iter().zip(&g).zip(&at).map(|((m, g), w)| mu * m + g + decay * w).collect();
                        at = along(-lr, &m, &at);
                    }
                    launched.push(optimizer.launch(&mut f)?);
                }
                let reports = optimizer.read(launched)?;
                // three steps of a few roundings each; Adam's first step divides by numbers that may be small
                let tolerance = if dtype == DType::F64 { 1e-11 } else { 1e-4 };
                let context = format!("{rule:?} adam {adam} {dtype:?} on {device:?}");
                for (got, expected) in params.read()?.to_f64()?.iter().zip(&at) {
                    assert!(
                        (got - expected).abs() < tolerance,
                        "{context}: {got} by the optimizer, {expected} by hand"
                    );
                }
                for (report, loss) in reports.iter().zip(&losses).filter(|_| !matches!(rule, Rule::Nso(_))) {
                    assert!(
                        (report.loss - loss).abs() < 10.0 * tolerance,
                        "{context}: {report:?}, loss {loss} by hand"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Directions of `rsp` and `nso`, probes and masks, from the streams that draw them.
#[test]
fn random_vectors_have_the_bits_of_the_cpu_on_every_device() -> Result {
    // two whole sub-streams and a part that is no multiple of the generators
    let layout = Arc::new(Layout::new([("a".into(), (40, 1000).into()), ("b".into(), 77.into())])?);
    for dtype in [DType::F32, DType::F64] {
        let on = |device: &Device| Space { layout: layout.clone(), dtype, device: device.clone() };
        let drawn = |space: &Space, stream: &Stream| -> Result<Vec<Vec<f64>>> {
            let all = [
                ParamVec::noise(space, stream)?,
                ParamVec::rademacher(space, stream)?,
                ParamVec::bernoulli(space, 0.6, stream)?,
                ParamVec::gaussian(space, 0.5, stream)?,
                ParamVec::sphere(space, stream)?,
            ];
            Ok(all.iter().map(|v| v.to_f64()).collect::<std::result::Result<_, _>>()?)
        };
        for stream in [Streams::new(3).at2(Purpose::Perturb, 5, 0), Streams::new(u64::MAX).at(Purpose::Probe, 1)] {
            let expected = drawn(&on(&Device::Cpu), &stream)?;
            for device in devices() {
                assert!(drawn(&on(&device), &stream)? == expected, "{dtype:?} on {device:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_step_that_is_not_finite_changes_nothing() -> Result {
    for device in devices() {
        let var = Var::from_tensor(&tensor(vec![0.5, -0.25], &[2], DType::F32, &device)?)?;
        let params = Params::new([("w".to_string(), var.clone())])?;
        let (broken, w) = (std::rc::Rc::new(std::cell::Cell::new(false)), var.clone());
        let switch = broken.clone();
        let mut f = move |_: Query| w.sqr()?.sum_all()?.affine(if switch.get() { f64::INFINITY } else { 1.0 }, 0.0);
        let mut optimizer = Optimizer::new(&params, Plain, Sgd::new(0.1).momentum(0.9))?;
        let good = optimizer.launch(&mut f)?;
        // by hand: w - 0.1 * 2 w
        let first: Vec<f32> = var.to_device(&Device::Cpu)?.to_vec1()?;
        assert!((first[0] - 0.4).abs() < 1e-6 && (first[1] + 0.2).abs() < 1e-6, "{first:?} on {device:?}");
        broken.set(true);
        let bad = optimizer.launch(&mut f)?;
        assert_eq!(var.to_device(&Device::Cpu)?.to_vec1::<f32>()?, first, "on {device:?}");
        broken.set(false);
        let next = optimizer.launch(&mut f)?;
        // momentum of the first step is still there: m = 0.9 * 2 w0 + 2 w1, w1 - 0.1 m
        let second: Vec<f32> = var.to_device(&Device::Cpu)?.to_vec1()?;
        assert!((second[0] - (0.4 - 0.1 * (0.9 + 0.8))).abs() < 1e-6, "{second:?} on {device:?}");
        let reports = optimizer.read(vec![good, bad, next])?;
        let skipped: Vec<bool> = reports.iter().map(|r| r.skipped.is_some()).collect();
        assert_eq!((skipped, optimizer.skipped()), (vec![false, true, false], 1), "on {device:?}");
    }
    Ok(())
}

/// Softmax regression: the Hessian of the mean cross entropy is the mean of `(diag p - p p^T) (x) (x, 1)(x, 1)^T`.
#[test]
fn hessian_products_and_the_trace_of_softmax_regression_are_the_closed_form() -> Result {
    let (n, side, classes) = (5, 3, 4);
    let pixels = side * side;
    for device in devices() {
        let config = ModelConfig { hidden: vec![], classes, ..model_config(networks::MLP, 1, side, Norm::Batch) };
        let model = Model::new(&config, DType::F64, &device, &Streams::new(3))?;
        let images = formula(n * pixels, 0.4);
        let x = tensor(images.clone(), &[n, 1, side, side], DType::F64, &device)?;
        let labels = Tensor::new(&[0u32, 3, 1, 2, 3], &device)?;
        // by hand, from the weights: bias first, as the names are sorted
        let theta = model.params().read()?.to_f64()?;
        let (bias, weight) = theta.split_at(classes);
        let rows: Vec<(Vec<f64>, Vec<f64>)> = images
            .chunks(pixels)
            .map(|x| {
                let z: Vec<f64> = (0..classes).map(|k| bias[k] + dot(&weight[k * pixels..][..pixels], x)).collect();
                let e: Vec<f64> = z.iter().map(|z| z.exp()).collect();
                let sum: f64 = e.iter().sum();
                (x.to_vec(), e.iter().map(|e| e / sum).collect())
            })
            .collect();
        let product = |v: &[f64]| {
            let mut out = vec![0.0; theta.len()];
            for (x, p) in &rows {
                let dz: Vec<f64> = (0..classes).map(|k| v[k] + dot(&v[classes + k * pixels..][..pixels], x)).collect();
                let mean = dot(p, &dz);
                for k in 0..classes {
                    let a = p[k] * (dz[k] - mean) / n as f64;
                    out[k] += a;
                    (0..pixels).for_each(|j| out[classes + k * pixels + j] += a * x[j]);
                }
            }
            out
        };
        let trace: f64 = rows.iter().map(|(x, p)| (1.0 - dot(p, p)) * (1.0 + dot(x, x)) / n as f64).sum();
        let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
        let space = model.params().space();
        let mut sum = 0.0;
        for i in 0..theta.len() {
            let mut basis = vec![0.0; theta.len()];
            basis[i] = 1.0;
            let v = ParamVec::from_f64(space, basis.clone())?;
            let got = model.hessian_product(loss, &x, &labels, &v, Mode::Eval)?.to_f64()?;
            for (got, expected) in got.iter().zip(product(&basis)) {
                assert!((got - expected).abs() < 1e-13, "column {i} on {device:?}: {got} against {expected}"); // rounding
            }
            sum += got[i];
        }
        assert!((sum - trace).abs() < 1e-12, "trace {sum} on {device:?}, {trace} in closed form");
    }
    Ok(())
}

#[test]
fn batches_are_the_bytes_of_the_split_normalised_and_augmented() -> Result {
    let normalisation = DatasetKind::Cifar10.normalisation();
    let (n, size) = (40, 3 * 32 * 32);
    let bytes: Vec<u8> = (0..n * size).map(|i| (i * 7 % 251) as u8).collect();
    let split = Arc::new(Split::new(bytes.clone(), (0..n).map(|i| (i % 10) as u16).collect(), [3, 32, 32], 10)?);
    for device in devices() {
        for augment in [Augment::NONE, Augment { crop: true, flip: true, cutout: true }] {
            for dtype in [DType::F32, DType::F64] {
                let options = LoaderOptions { batch_size: 16, shuffle: true, augment, ..LoaderOptions::default() };
                let loader = |device: &Device| {
                    Loader::new(split.clone(), normalisation.clone(), options, Streams::new(2), dtype, device.clone())
                };
                let (there, here) = (loader(&device)?, loader(&Device::Cpu)?);
                for (epoch, index) in [(0, 0), (1, 2)] {
                    let (there, here) = (there.batch(epoch, index)?, here.batch(epoch, index)?);
                    let values = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
                    assert_eq!(there.labels.to_vec1::<u32>()?, here.labels.to_vec1::<u32>()?);
                    assert!(values(&there.images)? == values(&here.images)?, "{augment} {dtype:?} on {device:?}");
                    let labels: Vec<u32> = there.indices.iter().map(|i| (i % 10) as u32).collect();
                    assert_eq!(there.labels.to_vec1::<u32>()?, labels);
                    if augment.is_any() {
                        continue;
                    }
                    for (row, &i) in values(&there.images)?.chunks(size).zip(&there.indices) {
                        for (k, (got, &byte)) in row.iter().zip(&bytes[i * size..]).enumerate() {
                            let channel = k / 1024;
                            let exact =
                                (f64::from(byte) / 255.0 - normalisation.mean[channel]) / normalisation.std[channel];
                            // one rounding of a number below 3
                            assert!((got - exact).abs() < 2e-7, "{got} against {exact}");
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_run_says_on_which_device_it_is_and_why_and_writes_it_down() {
    let room = Room::new();
    let flags = format!("{SMALL} --steps 2 --device cpu --out {}", room.path("run").display());
    let said = String::from_utf8_lossy(&run(&flags).stderr).into_owned();
    assert!(said.lines().any(|line| line == "device: cpu (asked for)"), "{said}");
    let summary = std::fs::read_to_string(room.path("run").join("summary.json")).expect("summary.json");
    assert!(summary.contains("\"device_note\": \"cpu (asked for)\""), "{summary}");
    let eval = format!("eval --checkpoint {} --limit 64", room.path("run").display());
    let said = String::from_utf8_lossy(&run(&eval).stderr).into_owned();
    let line = said.lines().find(|line| line.starts_with("device: ")).unwrap_or_default();
    let why = if cfg!(feature = "cuda") { "CUDA" } else { "cargo build --release --features cuda" };
    assert!(line.contains(why), "{said}");
}

#[test]
fn bf16_products_change_the_losses_by_their_rounding_and_f64_has_none() {
    let room = Room::new();
    let losses = |precision: &str| {
        let out = room.path(precision);
        json(&format!(
            "{SMALL} --lr 0.01 --steps 8 --log-steps --device cpu --precision {precision} --out {}",
            out.display()
        ));
        step_losses(&out)
    };
    let (full, half) = (losses("f32"), losses("bf16"));
    for (a, b) in full.iter().zip(&half) {
        // operands of 8 bits: 2^-9 a product, on losses near 2
        assert!(a != b && (a - b).abs() < 0.05, "{a} in f32, {b} in bf16");
    }
    let said = fails(&format!("{SMALL} --precision bf16 --dtype f64"), 2);
    assert!(said.contains("--precision has no effect here: it needs --dtype f32"), "{said}");
    let said = fails(&format!("{SMALL} --precision tf32 --device cpu"), 2);
    assert!(said.contains("--precision tf32") && said.contains("use f32 or bf16"), "{said}");
    let said = fails(&format!("{SMALL} --log-every 0"), 2);
    assert!(said.contains("--log-every 0: give at least 1"), "{said}");
}
