//! A network of your own, trained for flatness and measured: the first contact with this library.
//!
//! The network is written once, over any `Value`. From that one forward pass follow training on the tape, exact
//! Hessian-vector products and the counts of work and kinks. It is trained from the same initial weights by gradient
//! descent, SAM and RSP, and the trace of the Hessian of its training loss is estimated at each end point with a 95 %
//! interval: the smaller, the flatter.
//!
//! ```sh
//! cargo run --release -p flat-minima --example own_model
//! ```
//!
//! The radii are picked by hand, and flatness has its price: the perturbed methods end at a somewhat higher loss.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

use candle_core::{DType, Device, Tensor};
use flat::core::{Purpose, Streams};
use flat::data::Batch;
use flat::metrics::{Hutchinson, ModelObjective, Silent, TangentHessian, TraceConfig};
use flat::nn::{Activation, Loss, Mode, Model, Network, Result, Scope, Specs, Value};
use flat::optim::{GradientRule, Optimizer, Plain, Rsp, Sam, Sgd};
use flat::run::parts::{BatchLoss, Tally};

const EXAMPLES: usize = 256; // training examples, all of them in one batch
const STEPS: usize = 1000; // optimizer steps

// ANCHOR: network
/// Points in the plane to logits of two classes, by one hidden layer.
struct Net {
    hidden: usize,
}

impl Network for Net {
    fn input(&self) -> Vec<usize> {
        vec![2]
    }

    /// The parameters by name, as PyTorch names and initialises them.
    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        specs.linear("hidden", 2, self.hidden);
        specs.linear("out", self.hidden, 2);
        Ok(specs)
    }

    fn forward<V: Value>(&self, layers: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        layers.linear("out", &layers.linear_of("hidden", x)?.activate(Activation::Tanh)?)
    }
}
// ANCHOR_END: network

// ANCHOR: data
/// A disc in a ring: points in the plane `(n, 2)` and the class of each `(n)`.
fn data() -> Result<Batch> {
    // every random number comes from a stream named by seed, purpose and index: the same on each run and machine
    let noise = Streams::new(0).at(Purpose::Test, 0).normals(2 * EXAMPLES);
    let (mut points, mut classes) = (Vec::new(), Vec::new());
    for (i, shift) in noise.chunks_exact(2).enumerate() {
        let (class, angle) = (i % 2, i as f64);
        let radius = if class == 0 { 0.7 } else { 2.0 };
        points.extend([radius * angle.cos() + 0.2 * shift[0], radius * angle.sin() + 0.2 * shift[1]]);
        classes.push(class as u32);
    }
    let images = Tensor::from_vec(points, (EXAMPLES, 2), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::from_vec(classes, EXAMPLES, &Device::Cpu)?;
    Ok(Batch { images, labels, indices: (0..EXAMPLES).collect() })
}
// ANCHOR_END: data

fn main() -> anyhow::Result<()> {
    let (batch, loss) = (data()?, Loss::Mse);
    let rules: [(&str, Box<dyn GradientRule>); 3] =
        [("plain", Plain.into()), ("sam", Sam::new(0.2).into()), ("rsp", Rsp::new(0.5).into())];
    println!("{:<6} {:>6} {:>10} {:>9} {:>10} {:>20}", "rule", "evals", "loss", "accuracy", "trace", "95 % interval");
    for (name, rule) in rules {
        // ANCHOR: train
        // the weights are drawn by seed and name: every rule starts at the same point
        let model = Model::of(Net { hidden: 32 }, DType::F32, &Device::Cpu, &Streams::new(0))?;

        // an optimizer is a rule, a base and a learning rate
        let mut optimizer = Optimizer::new(model.params(), rule, Sgd::new(0.05).momentum(0.9))?;
        let mut tally = Tally::default();
        for _ in 0..STEPS {
            optimizer.step(&mut BatchLoss::new(&model, loss, &batch, &mut tally))?;
        }
        // ANCHOR_END: train

        // ANCHOR: measure
        // Hutchinson's estimate of the Hessian's trace, by exact Hessian-vector products
        let (x, y) = (batch.images.clone(), batch.labels.clone());
        let training_loss = ModelObjective::new(&model, loss, Mode::Eval, vec![(x.clone(), y.clone())])?;
        let report = Hutchinson::new(TraceConfig::fixed(100))?.run(
            &mut TangentHessian::new(&training_loss)?,
            &Streams::new(2),
            &mut Silent,
        )?;
        // ANCHOR_END: measure

        let logits = model.logits_no_grad(&x, Mode::Eval)?;
        let value: f32 = loss.mean(&logits, &y)?.to_scalar()?;
        let right: f64 = logits.argmax(1)?.eq(&y)?.to_dtype(DType::F64)?.mean_all()?.to_scalar()?;
        let interval = report.trace.ci95.map_or_else(String::new, |[lo, hi]| format!("[{lo:.2}, {hi:.2}]"));
        let (evals, trace) = (optimizer.evals(), report.trace.value);
        println!("{name:<6} {evals:>6} {value:>10.5} {right:>9.4} {trace:>10.2} {interval:>20}");
    }
    Ok(())
}
