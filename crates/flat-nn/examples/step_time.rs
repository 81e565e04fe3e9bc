//! Times a forward and backward pass, and a Hessian-vector product: `step_time [arch] [batch] [repeats]`.
//!
//! On a busy machine compare the processor time (of all threads, Linux only), not the wall clock.

use candle_core::{DType, Device, Tensor};
use flat_core::{ParamVec, Purpose, Streams};
use flat_nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, Norm, Result};
use std::time::Instant;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let arch: Arch = args.first().map_or("lenet", String::as_str).parse()?;
    let (batch, repeats) = (number(1, 128), number(2, 10));
    let (channels, side) = if matches!(arch, Arch::Mlp | Arch::LeNet) { (1, 28) } else { (3, 32) };
    let config = ModelConfig {
        arch,
        in_channels: channels,
        height: side,
        width: side,
        classes: 10,
        hidden: if arch == Arch::Mlp { vec![256] } else { vec![] },
        activation: Activation::Relu,
        norm: Norm::Batch,
    };
    let streams = Streams::new(0);
    let model = Model::new(&config, DType::F32, &Device::Cpu, &streams)?;
    let pixels = streams.at(Purpose::Test, 0).normals(batch * channels * side * side);
    let x = Tensor::from_vec(pixels, (batch, channels, side, side), &Device::Cpu)?.to_dtype(DType::F32)?;
    let labels = Tensor::from_vec((0..batch as u32).map(|i| i % 10).collect::<Vec<_>>(), batch, &Device::Cpu)?;
    let v = ParamVec::sphere(model.params().space(), &streams.at(Purpose::Probe, 0))?;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let time = |what: &str, f: &dyn Fn() -> Result<()>| -> Result<()> {
        f()?;
        let mut times = Vec::new();
        let before = processor_ms();
        for _ in 0..repeats {
            let start = Instant::now();
            f()?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let cpu = (processor_ms() - before) / repeats as f64;
        println!(
            "{arch} batch {batch} {what}: median {:.1} ms, best {:.1} ms, processor {cpu:.1} ms",
            times[times.len() / 2],
            times[0]
        );
        Ok(())
    };
    time("forward", &|| model.logits_no_grad(&x, Mode::BatchStats).map(drop))?;
    time("forward + backward", &|| {
        loss.mean(&model.logits(&x, Mode::Train)?, &labels)?.backward()?;
        Ok(())
    })?;
    time("Hessian-vector product", &|| {
        loss.mean(&model.logits_tangent(&x, &v, Mode::BatchStats)?, &labels)?.tangent.backward()?;
        Ok(())
    })
}

/// User and system time of this process so far, 0 where /proc does not tell.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // after the command in brackets: fields 14 and 15 of proc(5), in ticks of 10 ms
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() * 10.0
}
