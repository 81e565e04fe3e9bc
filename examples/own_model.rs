//! A model of your own, trained for flatness and measured: the first contact with this library.
//!
//! The network below is plain candle: a `VarMap`, a `VarBuilder` and two `candle_nn` layers. Nothing in it knows of
//! this library. It is trained from the same initial weights by gradient descent, SAM and RSP, and the trace of the
//! Hessian of its training loss is estimated at each end point with a 95 % interval: the smaller, the flatter.
//!
//! ```sh
//! cargo run --release -p flat-minima --example own_model
//! ```
//!
//! The radii are picked by hand, and flatness has its price: the perturbed methods end at a somewhat higher loss.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder, VarMap, linear};
use flat::core::{ParamVec, Params, Purpose, Streams};
use flat::metrics::{ClosureObjective, DifferenceHessian, Hutchinson, Silent, TraceConfig};
use flat::optim::{GradientRule, Optimizer, Plain, Query, Rsp, Sam, Sgd, WithRows};

const EXAMPLES: usize = 256; // training examples, all of them in one batch
const HIDDEN: usize = 32; // width of the hidden layer
const STEPS: usize = 1000; // optimizer steps

/// Your model: any struct with a forward pass of candle operations.
struct Net {
    hidden: Linear,
    out: Linear,
}

impl Net {
    /// `VarBuilder` registers every weight in the `VarMap` under its path: `hidden.weight`, `hidden.bias`, ...
    fn new(vb: VarBuilder) -> Result<Self> {
        Ok(Self { hidden: linear(2, HIDDEN, vb.pp("hidden"))?, out: linear(HIDDEN, 2, vb.pp("out"))? })
    }

    /// Points `(n, 2)` to logits `(n, 2)`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.out.forward(&self.hidden.forward(x)?.tanh()?)
    }

    /// Mean squared distance of the logits to the one-hot class, a scalar.
    fn loss(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let one_hot = candle_nn::encoding::one_hot(y.clone(), 2, 1f64, 0f64)?;
        candle_nn::loss::mse(&self.forward(x)?, &one_hot)
    }
}

/// A disc in a ring: points in the plane `(n, 2)` and the class of each `(n)`.
fn data() -> Result<(Tensor, Tensor)> {
    // Every random number comes from a stream named by seed, purpose and index: the same on each run and machine.
    let noise = Streams::new(0).at(Purpose::Test, 0).normals(2 * EXAMPLES);
    let (mut points, mut classes) = (Vec::new(), Vec::new());
    for (i, shift) in noise.chunks_exact(2).enumerate() {
        let (class, angle) = (i % 2, i as f64);
        let radius = if class == 0 { 0.7 } else { 2.0 };
        points.extend([radius * angle.cos() + 0.2 * shift[0], radius * angle.sin() + 0.2 * shift[1]]);
        classes.push(class as u32);
    }
    Ok((Tensor::from_vec(points, (EXAMPLES, 2), &Device::Cpu)?, Tensor::from_vec(classes, EXAMPLES, &Device::Cpu)?))
}

fn main() -> anyhow::Result<()> {
    let (x, y) = data()?;

    // 1. Your model and its variables. f64, because the Hessian will be measured by differences of gradients.
    let varmap = VarMap::new();
    let net = Net::new(VarBuilder::from_varmap(&varmap, DType::F64, &Device::Cpu))?;

    // 2. `Params` are the variables as the optimizers and metrics see them: named, sorted, one vector of length d.
    let params = Params::from_varmap(&varmap)?;
    // candle draws initial weights at random; uniform ones from a keyed stream make the table the same on each run.
    let d = params.layout().len();
    let start: Vec<f64> = Streams::new(0).at(Purpose::Init, 0).uniforms(d).iter().map(|u| 2.0 * u - 1.0).collect();
    let start = ParamVec::from_f64(params.space(), start)?;

    // 3. The methods to compare: a gradient rule each. All run over the same base optimizer.
    let rules: [(_, Box<dyn GradientRule>); 3] =
        [("plain", Plain.into()), ("sam", Sam::new(0.2).into()), ("rsp", Rsp::new(0.5).into())];
    println!("{d} parameters, {EXAMPLES} examples, {STEPS} steps");
    println!("{:<6} {:>6} {:>10} {:>9} {:>10} {:>20}", "rule", "evals", "loss", "accuracy", "trace", "95 % interval");
    for (name, rule) in rules {
        params.write(&start)?; // every method starts at the same point

        // 4. An optimizer is a rule, a base and a learning rate.
        let base = Sgd::new(0.05).momentum(0.9);
        let mut optimizer = Optimizer::builder(&params).rule(rule).base(base).seed(1).build()?;

        // 5. It asks for the loss at points that the rule chooses, so the loss is a closure. The query says which rows
        //    of the batch are wanted: here always all, but micro-batches and SAP ask for parts.
        let mut objective = WithRows::new(EXAMPLES, |query: Query| {
            let rows = query.rows.range(EXAMPLES).map_err(candle_core::Error::wrap)?;
            net.loss(&x.narrow(0, rows.start, rows.len())?, &y.narrow(0, rows.start, rows.len())?)
        });
        for _ in 0..STEPS {
            optimizer.step(&mut objective)?;
        }

        // 6. The flatness of where it came to: Hutchinson's estimate of the Hessian's trace, here over one batch with
        //    all examples. It needs Hessian-vector products; differences of gradients serve any model. (The models of
        //    `flat::nn` have exact ones at the price of about two gradients: `TangentHessian`.)
        let training_loss = ClosureObjective::new(params.clone(), vec![EXAMPLES], |_| net.loss(&x, &y))?;
        let mut hessian = DifferenceHessian::new(&training_loss)?;
        let report = Hutchinson::new(TraceConfig::fixed(100))?.run(&mut hessian, &Streams::new(2), &mut Silent)?;

        let loss: f64 = net.loss(&x, &y)?.to_scalar()?;
        let right: f64 = net.forward(&x)?.argmax(1)?.eq(&y)?.to_dtype(DType::F64)?.mean_all()?.to_scalar()?;
        let interval = report.trace.ci95.map_or_else(String::new, |[lo, hi]| format!("[{lo:.2}, {hi:.2}]"));
        let (evals, trace) = (optimizer.evals(), report.trace.value);
        println!("{name:<6} {evals:>6} {loss:>10.5} {right:>9.4} {trace:>10.2} {interval:>20}");
    }
    Ok(())
}
