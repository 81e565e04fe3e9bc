//! Certificates of networks against dense eigen-decompositions, dense traces and an explicit flow.

use candle_core::{DType, Device, Tensor};
use flat_core::{ParamVec, Purpose, Streams};
use flat_metrics::{
    Certificate, CertificateConfig, Dense, GaussNewton, Judgement, Known, Lanczos, LanczosConfig, Measured,
    ModelObjective, Objective, Result, Silent, TangentHessian, Verdict, dense_of, gradient,
};
use flat_nn::{Activation, Loss, Mode, Model, ModelConfig, networks};

const CLASSES: usize = 3;

struct Case {
    model: Model,
    images: Tensor,
    labels: Tensor,
}

impl Case {
    /// A smooth network and random images of random classes.
    fn new(hidden: &[usize], activation: Activation, side: usize, images: usize, seed: u64) -> Result<Self> {
        let config = ModelConfig {
            arch: networks::MLP,
            in_channels: 1,
            height: side,
            width: side,
            classes: CLASSES,
            hidden: hidden.to_vec(),
            activation,
            ..ModelConfig::default()
        };
        let model = Model::new(&config, DType::F64, &Device::Cpu, &Streams::new(seed))?;
        let mut s = Streams::new(seed).at(Purpose::Test, 0);
        let pixels = s.normals(images * side * side);
        let labels: Vec<u32> = (0..images).map(|_| s.below(CLASSES) as u32).collect();
        Ok(Self {
            model,
            images: Tensor::from_vec(pixels, (images, 1, side, side), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, images, &Device::Cpu)?,
        })
    }

    fn objective(&self) -> Result<ModelObjective<'_>> {
        ModelObjective::new(&self.model, Loss::Mse, Mode::Eval, vec![(self.images.clone(), self.labels.clone())])
    }

    /// Trains by gradient descent with momentum until the loss is below `until`.
    fn train(&self, until: f64, lr: f64) -> Result<()> {
        let objective = self.objective()?;
        let params = objective.params();
        let mut velocity = ParamVec::zeros(params.space())?;
        for _ in 0..100_000 {
            let (loss, grad) = gradient(&objective)?;
            if loss < until {
                return Ok(());
            }
            velocity.scale(0.95)?;
            velocity.add_scaled(-lr, &grad)?;
            params.write(&params.read()?.plus(1.0, &velocity)?)?;
        }
        panic!("not trained: {}", gradient(&objective)?.0);
    }

    fn certify(&self, config: CertificateConfig, seed: u64) -> Result<Measured<Judgement>> {
        let objective = self.objective()?;
        let mut hessian = TangentHessian::new(&objective)?;
        Certificate::new(config)?.run(&objective, &mut hessian, &Streams::new(seed), &mut Silent)
    }

    fn dense(&self) -> Result<Dense> {
        dense_of(&mut TangentHessian::unchecked(&self.objective()?))
    }

    fn write(&self, x: &[f64]) -> Result<()> {
        let params = self.model.params();
        Ok(params.write(&ParamVec::from_f64(params.space(), x.to_vec())?)?)
    }
}

/// Eigenvalues and eigenvectors by Jacobi's rotations (Golub & Van Loan, section 8.5).
fn jacobi(a: &Dense) -> (Vec<f64>, Vec<Vec<f64>>) {
    let n = a.dim();
    let mut m: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| (a.at(i, j) + a.at(j, i)) / 2.0).collect()).collect();
    // row i becomes eigenvector i
    let mut v: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    let size: f64 = m.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..60 {
        let off: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| m[i][j].powi(2)).sum::<f64>().sqrt();
        if off <= 1e-13 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if m[p][q].abs() <= 1e-16 * size {
                    continue;
                }
                let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                for row in &mut m {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                for k in 0..n {
                    (m[p][k], m[q][k]) = (c * m[p][k] - s * m[q][k], s * m[p][k] + c * m[q][k]);
                    (v[p][k], v[q][k]) = (c * v[p][k] - s * v[q][k], s * v[p][k] + c * v[q][k]);
                }
            }
        }
    }
    ((0..n).map(|i| m[i][i]).collect(), v)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// What a dense computation says of a trained network: the distance to the limit of Gauss and Newton's method; the rank, `||P grad tr(H)|| / d`,
/// `tr(H) / d` and the smallest eigenvalue at a given limit.
struct Truth {
    distance: f64,
    rank: usize,
    slope: f64,
    trace: f64,
    smallest: f64,
}

fn truth(case: &Case, limit: &ParamVec) -> Result<Truth> {
    let start = case.model.params().read()?.to_f64()?;
    let mut x = start.clone();
    for _ in 0..4 {
        // the Gauss-Newton matrix has no eigenvalues from the residuals, so that its kernel is plain off the minimum too
        let (values, vectors) = jacobi(&dense_of(&mut GaussNewton::unchecked(&case.objective()?))?);
        let grad = gradient(&case.objective()?)?.1.to_f64()?;
        let top = values.iter().copied().fold(0.0, f64::max);
        for (value, q) in values.iter().zip(&vectors).filter(|(value, _)| **value > 1e-10 * top) {
            let along = dot(q, &grad) / value;
            x.iter_mut().zip(q).for_each(|(x, q)| *x -= along * q);
        }
        case.write(&x)?;
    }
    let moved: Vec<f64> = x.iter().zip(&start).map(|(x, s)| x - s).collect();
    let x = limit.to_f64()?;
    case.write(&x)?;
    let hessian = case.dense()?;
    let (values, vectors) = jacobi(&hessian);
    let top = values.iter().copied().fold(0.0, f64::max);
    // the gradient of the dense trace along every coordinate
    let (d, h) = (x.len(), 1e-4);
    let mut grad = vec![0.0; d];
    for i in 0..d {
        let mut y = x.clone();
        y[i] = x[i] + h;
        case.write(&y)?;
        let up = case.dense()?.trace();
        y[i] = x[i] - h;
        case.write(&y)?;
        grad[i] = (up - case.dense()?.trace()) / (2.0 * h);
    }
    case.write(&start)?;
    let kernel = values.iter().zip(&vectors).filter(|(value, _)| **value <= 1e-9 * top);
    let slope = kernel.map(|(_, q)| dot(q, &grad).powi(2)).sum::<f64>().sqrt();
    Ok(Truth {
        distance: dot(&moved, &moved).sqrt(),
        rank: values.iter().filter(|v| **v > 1e-9 * top).count(),
        slope: slope / d as f64,
        trace: hessian.trace() / d as f64,
        smallest: values.iter().copied().fold(f64::INFINITY, f64::min),
    })
}

/// The default certificate of a network trained to a loss of 1e-10 is decided, and as the dense computation decides.
fn default_is_right(hidden: &[usize], activation: Activation, side: usize, images: usize, seed: u64) -> Result<()> {
    let case = Case::new(hidden, activation, side, images, seed)?;
    case.train(1e-10, 0.05)?;
    let report = case.certify(CertificateConfig::default(), seed)?;
    let exact = truth(&case, &report.limit)?;
    let what = format!("{hidden:?} seed {seed}: {} {:?} {:?}", report.reason, report.flow, report.spectrum);
    let eps_prime = 0.1f64.sqrt() * exact.trace;
    let right = if exact.slope > eps_prime { Verdict::NotFlat } else { Verdict::Flat };
    assert!(exact.distance < 0.05 && (exact.slope / eps_prime - 1.0).abs() > 0.01, "{} {}", exact.slope, eps_prime);
    assert_eq!(report.verdict, right, "{what}");
    let spectrum = report.spectrum.as_ref().expect("a spectrum");
    assert_eq!((spectrum.rank, spectrum.complete), (exact.rank, true), "{what}");
    let [low, residual] = spectrum.smallest;
    assert!((low - exact.smallest).abs() <= residual + 1e-9 * spectrum.largest[0][0], "{low} {}", exact.smallest);
    let slope = report.slope.as_ref().expect("a slope");
    let [lo, hi] = slope.interval;
    // central differences of the dense trace with h = 1e-4 err by h^2
    let off = 1e-6 * exact.slope;
    assert!(
        slope.known == Known::Interval && lo <= exact.slope + off && exact.slope - off <= hi,
        "{} {slope:?}",
        exact.slope
    );
    assert!(hi - lo < 1e-3 * exact.slope, "{slope:?}");
    let [lo, hi] = report.distance_interval;
    // Gauss and Newton's limit differs from the flow's to second order
    let off = 10.0 * exact.distance.powi(2);
    assert!(lo <= exact.distance + off && exact.distance - off <= hi, "{} [{lo}, {hi}] {what}", exact.distance);
    assert!(hi - lo < 0.1 * exact.distance, "{} [{lo}, {hi}] {what}", exact.distance);
    // bounds on either side of the dense slope
    for (factor, verdict) in [(0.99, Verdict::NotFlat), (1.01, Verdict::Flat)] {
        let eps_prime = Some(factor * exact.slope);
        let report = case.certify(CertificateConfig { eps_prime, ..CertificateConfig::default() }, seed + 1)?;
        assert_eq!(report.verdict, verdict, "{factor} {what}");
    }
    Ok(())
}

#[test]
fn the_default_verdict_on_one_hidden_layer_is_that_of_a_dense_computation() -> Result<()> {
    (0..4).try_for_each(|seed| default_is_right(&[5], Activation::Tanh, 3, 5, seed))
}

#[test]
fn the_default_verdict_on_two_hidden_layers_is_that_of_a_dense_computation() -> Result<()> {
    (10..13).try_for_each(|seed| default_is_right(&[6, 5], Activation::Gelu, 3, 6, seed))
}

#[test]
fn the_default_verdict_on_two_hundred_parameters_is_that_of_a_dense_computation() -> Result<()> {
    default_is_right(&[10], Activation::Tanh, 4, 15, 20)
}

#[test]
fn twelve_thousand_parameters_are_decided_and_the_trace_falls_along_the_slope_as_said() -> Result<()> {
    let case = Case::new(&[16], Activation::Tanh, 28, 7, 1)?;
    case.train(1e-10, 0.002)?;
    let report = case.certify(CertificateConfig::default(), 0)?;
    assert!(
        report.provenance.dim > 10_000 && report.verdict != Verdict::Undecided,
        "{} {:?}",
        report.reason,
        report.flow
    );
    let (spectrum, slope) = (report.spectrum.as_ref().expect("a spectrum"), report.slope.as_ref().expect("a slope"));
    let rank = 7 * CLASSES;
    assert_eq!((spectrum.rank, spectrum.complete), (rank, true));
    // the trace by the eigenvalues that are not zero, on both sides along the direction of the slope
    let objective = case.objective()?;
    let (params, start) = (objective.params(), objective.params().read()?);
    let unit = slope.direction.scaled(1.0 / slope.direction.norm()?)?;
    let config = LanczosConfig { top: rank, bottom: 0, max_matvecs: 300, rel_tol: 1e-9 };
    let trace = |s: f64| -> Result<f64> {
        params.write(&report.limit.plus(s, &unit)?)?;
        let found = Lanczos::new(config.clone())?.run(
            &mut TangentHessian::unchecked(&objective),
            &Streams::new(5),
            &mut Silent,
        )?;
        Ok(found.top.iter().map(|p| p.value).sum::<f64>() / report.provenance.dim as f64)
    };
    let s = 1e-3;
    let along = (trace(s)? - trace(-s)?) / (2.0 * s);
    params.write(&start)?;
    // the central difference errs by s^2
    assert!((along - slope.value).abs() < 1e-4 * slope.value, "{along} {slope:?}");
    Ok(())
}

#[test]
fn the_flow_of_a_network_ends_where_small_explicit_steps_end() -> Result<()> {
    for (seed, until) in [(0, 1e-3), (3, 1e-2)] {
        let case = Case::new(&[5], Activation::Tanh, 3, 5, seed)?;
        case.train(until, 0.05)?;
        let report = case.certify(CertificateConfig::default(), seed)?;
        let objective = case.objective()?;
        let (params, start) = (objective.params(), objective.params().read()?);
        let (mut x, h) = (start.duplicate()?, 0.5 / report.spectrum.as_ref().expect("a spectrum").largest[0][0]);
        let slope = |x: &ParamVec| -> Result<ParamVec> {
            params.write(x)?;
            Ok(gradient(&objective)?.1)
        };
        // the classical method of Runge and Kutta
        let mut steps = 0;
        loop {
            let k1 = slope(&x)?;
            if k1.norm()? < 1e-9 {
                break;
            }
            let k2 = slope(&x.plus(-h / 2.0, &k1)?)?;
            let k3 = slope(&x.plus(-h / 2.0, &k2)?)?;
            let k4 = slope(&x.plus(-h, &k3)?)?;
            for (weight, k) in [(1.0, &k1), (2.0, &k2), (2.0, &k3), (1.0, &k4)] {
                x.add_scaled(-h * weight / 6.0, k)?;
            }
            steps += 1;
            assert!(steps < 200_000, "{}", k1.norm()?);
        }
        params.write(&start)?;
        let exact = x.plus(-1.0, &start)?.norm()?;
        let [lo, hi] = report.distance_interval;
        assert!(lo <= exact && exact <= hi && hi - lo < 0.1 * exact, "{exact} [{lo}, {hi}] {:?}", report.flow);
        let gap = x.plus(-1.0, &report.limit)?.norm()?;
        assert!(gap <= report.flow.error + 1e-6, "{gap} {:?}", report.flow);
    }
    Ok(())
}

#[test]
fn a_network_of_zero_weights_on_balanced_classes_is_a_saddle() -> Result<()> {
    for (activation, hidden) in [(Activation::Tanh, vec![8]), (Activation::Tanh, vec![4]), (Activation::Gelu, vec![8])]
    {
        let mut case = Case::new(&hidden, activation, 4, 9, 2)?;
        case.labels = Tensor::from_vec((0..9u32).map(|i| i % 3).collect::<Vec<_>>(), 9, &Device::Cpu)?;
        case.write(&vec![0.0; case.model.params().layout().len()])?;
        let objective = ModelObjective::new(
            &case.model,
            Loss::CrossEntropy { label_smoothing: 0.0 },
            Mode::Eval,
            vec![(case.images.clone(), case.labels.clone())],
        )?;
        let lowest = jacobi(&dense_of(&mut TangentHessian::unchecked(&objective))?).0.into_iter().fold(0.0, f64::min);
        assert!(lowest < -0.01, "a strict saddle: {lowest}");
        let mut hessian = TangentHessian::new(&objective)?;
        let certificate = Certificate::new(CertificateConfig::default())?;
        let report = certificate.run(&objective, &mut hessian, &Streams::new(0), &mut Silent)?;
        assert_eq!(report.verdict, Verdict::NotAMinimum, "{}", report.reason);
        let [low, residual] = report.spectrum.as_ref().expect("a spectrum").smallest;
        assert!((low - lowest).abs() <= residual + 1e-9, "{low} {lowest}");
    }
    Ok(())
}
