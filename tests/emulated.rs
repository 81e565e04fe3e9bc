//! What a step asks of a CUDA device, counted by the emulated one (`scripts/check-cuda --emulate`): launches, copies, waits.
//! Elsewhere nothing counts, and the tests say so.

use crate::tool::{Room, SMALL, command, json, step_losses};
use serde_json::Value;

/// What a step adds to each count: the difference of two runs, divided by the steps between them.
struct Step(Value, Value, u64);

/// Launches of a SAM step as counted; the goals are 60 and 350. A channel of more than 8,192 elements takes two launches for
/// normalisation each way instead of one: at most 80 more for ResNet-18, in batches of 128.
const LENET: u64 = 52;
const RESNET18: u64 = 245;

/// Lists of numbers that a SAM step of LeNet sends: addresses of the gradients' parts (2) and of numbers (2), constants with
/// the rate (1), indices of the batch (1). The others are those of the step before.
const SENT: u64 = 6;

/// Launches of a product with the Hessian of a ResNet-20 at most: 621 as counted, with what Lanczos' method adds.
const PRODUCT: u64 = 640;

/// Steps of the shorter run, and of the longer one beyond them.
const STEPS: (u64, u64) = (2, 2);

impl Step {
    fn of(flags: &str) -> Option<Self> {
        if std::env::var_os("FLAT_EMULATED").is_none() {
            println!("skipped: no emulated device; scripts/check-cuda --emulate has one");
            return None;
        }
        let room = Room::new();
        let words = |steps: u64| {
            format!(
                "train {flags} --train-limit 64 --test-limit 8 --batch-size 8 --trace-probes 0 --log-every 1000 --steps {steps} \
                 --device cuda --quiet --out {}",
                room.path(&format!("run{steps}")).display()
            )
        };
        let step = Self::between(&words(STEPS.0), &words(STEPS.0 + STEPS.1), STEPS.1);
        println!("{flags}: a step\n{}", step.table());
        Some(step)
    }

    /// By two runs of the tool, of which the second makes so many steps more.
    fn between(few: &str, more: &str, steps: u64) -> Self {
        let room = Room::new();
        let counts = |words: &str| -> Value {
            let file = room.path("counts.json");
            let run = command(words).env("FLAT_EMULATED_COUNTS", &file).output().expect("flat-train starts");
            assert!(run.status.success(), "{words}: {}", String::from_utf8_lossy(&run.stderr));
            let text = std::fs::read(&file).expect("the device writes its counts");
            serde_json::from_slice(&text).expect("counts in JSON")
        };
        Self(counts(few), counts(more), steps)
    }

    fn count(&self, name: &str) -> u64 {
        let at = |v: &Value| v[name].as_u64().unwrap_or_else(|| panic!("no count of {name}"));
        (at(&self.1) - at(&self.0)) / self.2
    }

    /// Kernels of ours and candle's, and calls of cuBLAS and cuDNN, each at least a kernel.
    fn launches(&self) -> u64 {
        self.count("launches") + self.count("library_calls")
    }

    /// Launches of a kernel.
    fn kernel(&self, name: &str) -> u64 {
        let of = |v: &Value| v["kernels"][name].as_u64().unwrap_or(0);
        (of(&self.1) - of(&self.0)) / self.2
    }

    fn table(&self) -> String {
        let of = |v: &Value, name: &str| v["kernels"][name].as_u64().unwrap_or(0);
        let (Some(counts), Some(kernels)) = (self.1.as_object(), self.1["kernels"].as_object()) else {
            return String::new();
        };
        let counts = counts.keys().filter(|k| *k != "kernels").map(|k| format!("  {k} {}\n", self.count(k)));
        let kernels = kernels.keys().map(|k| (k, (of(&self.1, k) - of(&self.0, k)) as f64 / self.2 as f64));
        counts.chain(kernels.filter(|(_, n)| *n > 0.0).map(|(k, n)| format!("    {k} {n}\n"))).collect()
    }
}

#[test]
fn an_error_of_the_driver_says_what_to_do() {
    if std::env::var_os("FLAT_EMULATED").is_none() {
        return;
    }
    let room = Room::new();
    let fails = |variable: &str, value: &str, device: &str| {
        let words = format!(
            "train --model lenet --train-limit 64 --test-limit 8 --batch-size 8 --trace-probes 0 --steps 1 --quiet --device {device} \
             --out {}",
            room.path(value).display()
        );
        let out = command(&words).env(variable, value).output().expect("flat-train starts");
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let full = fails("FLAT_EMULATED_MEMORY_MIB", "8", "cuda");
    assert!(full.contains("take a smaller --batch-size"), "{full}");
    let none = fails("FLAT_EMULATED_DEVICES", "0", "cuda");
    assert!(none.contains("--device cuda:0: CUDA_ERROR_NO_DEVICE") && none.contains("CUDA_VISIBLE_DEVICES"), "{none}");
    let beyond = fails("FLAT_EMULATED_DEVICES", "2", "cuda:2");
    assert!(beyond.contains("the 2 devices here are cuda:0 to cuda:1"), "{beyond}");
    let torn = fails("FLAT_EMULATED_INIT", "803", "cuda");
    assert!(torn.contains("restart the machine"), "{torn}");
}

#[test]
fn a_second_device_trains_as_the_first_does() {
    if std::env::var_os("FLAT_EMULATED").is_none() {
        return;
    }
    let room = Room::new();
    let losses = |device: &str| {
        let out = room.path(device);
        let words =
            format!("{SMALL} --optimizer rsp --steps 3 --log-steps --quiet --device {device} --out {}", out.display());
        let run = command(&words).env("FLAT_EMULATED_DEVICES", "2").output().expect("flat-train starts");
        assert!(run.status.success(), "{words}: {}", String::from_utf8_lossy(&run.stderr));
        step_losses(&out)
    };
    assert_eq!(losses("cuda:1"), losses("cuda:0"));
}

#[test]
fn double_backward_on_a_device_waits_between_its_two_streams() {
    if std::env::var_os("FLAT_EMULATED").is_none() {
        return;
    }
    let words = "metrics trace --checkpoint models/sharp.safetensors --dataset mnist --limit 16 --probes 2";
    let trace = |more: &str| json(&format!("{words} {more}"))["trace"]["value"].as_f64().expect("a trace");
    let (double, exact) = (trace("--hvp double --device cuda"), trace("--device cpu"));
    // the same matrix and probes, in f32
    assert!((double - exact).abs() < 1e-3 * exact.abs(), "{double} by double backward, {exact} exact on the CPU");
}

/// Weights of a LeNet of 8 channels. A direction that came from the host would be four bytes for each.
const WEIGHTS: u64 = 71_786;

#[test]
fn a_step_of_every_rule_but_sap_waits_for_nothing_and_draws_where_the_weights_are() {
    for rule in ["sgd", "sam", "rsp", "nso", "lpf"] {
        let Some(step) = Step::of(&format!("--model lenet --channels 8 --optimizer {rule}")) else { return };
        assert_eq!((step.count("host_syncs"), step.count("dtoh")), (0, 0), "{rule}\n{}", step.table());
        // tables of addresses and constants alone, the more the more gradients a rule takes
        let bytes = step.count("htod_bytes");
        assert!(bytes < 4 * WEIGHTS / 8, "{rule}: {bytes} bytes from the host a step");
    }
}

#[test]
fn a_sam_step_of_lenet_takes_few_launches() {
    let Some(step) = Step::of("--model lenet --optimizer sam") else { return };
    assert_eq!((step.launches(), step.count("htod")), (LENET, SENT), "{}", step.table());
}

#[test]
fn an_operand_in_bf16_is_rounded_once_for_all_products_of_a_gradient() {
    let Some(step) = Step::of("--model lenet --channels 8 --optimizer sam --precision bf16") else { return };
    // of each of two gradients and four layers: input, weight and the output's gradient, which two or three products take
    assert_eq!(step.kernel("cast_f32_bf16"), 2 * 4 * 3, "{}", step.table());
}

/// By candle's graph, a product with the Hessian of this network took 1,679 launches and 636 clearings of memory.
#[test]
fn a_hessian_product_goes_by_the_tape() {
    if std::env::var_os("FLAT_EMULATED").is_none() {
        println!("skipped: no emulated device");
        return;
    }
    let room = Room::new();
    let out = room.path("run").display().to_string();
    json(&format!(
        "train --model resnet20 --channels 4 --steps 1 --train-limit 8 --test-limit 8 --batch-size 8 --trace-probes 0 --device cpu \
         --out {out}"
    ));
    let words = |products: u64| {
        format!(
            "metrics eig --checkpoint {out} --split train --limit 4 --batch-size 4 --top 1 --bottom 0 --rel-tol 1e-9 --device cuda \
             --quiet --json --max-matvecs {products}"
        )
    };
    let product = Step::between(&words(2), &words(4), 2);
    println!("{}", product.table());
    // each of 21 normalisations by constants clears a row that it does not use
    assert!(product.count("memsets") < 2 * 21, "{}", product.table());
    assert!(product.launches() <= PRODUCT, "{} launches\n{}", product.launches(), product.table());
}

#[test]
fn a_sam_step_of_resnet18_takes_few_launches_and_asks_no_algorithm_twice() {
    let Some(step) = Step::of("--model resnet18 --channels 4 --optimizer sam") else { return };
    assert_eq!((step.count("host_syncs"), step.count("algorithm_queries"), step.count("events")), (0, 0, 0));
    assert_eq!(step.launches(), RESNET18, "{}", step.table());
}
