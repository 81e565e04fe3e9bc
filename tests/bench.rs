//! `flat-train bench`: what it prints, what it counts, how it compares, what it refuses.

#[cfg(not(feature = "cuda"))]
use crate::tool::run;
use crate::tool::{Room, command, fails, json};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Small cells: a second, most of it the matrix product.
const QUICK: &str = "bench --models mlp --batch-sizes 16 --steps 2 --rounds 6 --threads 2";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

#[test]
fn every_cell_has_times_rates_and_memory_that_agree_with_each_other() {
    let report = json(&format!("{QUICK} --optimizers sgd,sam,nso"));
    let environment = &report["environment"];
    assert_eq!((&environment["threads"], &environment["gpu"]), (&2.into(), &Value::Null));
    assert_eq!(environment["version"], env!("CARGO_PKG_VERSION"));
    assert!(environment["cpu"].as_str().is_some_and(|name| !name.is_empty()), "{environment}");
    let peak = number(&report["peak_gflops"]["cpu"]);
    let rows = report["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["optimizer"].as_str()).collect();
    assert_eq!(names, ["sgd", "sam", "nso"]);
    // 784-256-10: a multiply-add a weight, two operations each, three passes a gradient, 16 images
    let gradient = 16.0 * 6.0 * (784.0 * 256.0 + 256.0 * 10.0);
    let energy = report["notes"].as_array().expect("notes").iter().any(|n| n.to_string().contains("energy is not"));
    for (row, evals) in rows.iter().zip([1.0, 2.0, 2.0]) {
        let (step, rates) = (&row["step"], &row["rates"]);
        let ms = number(&step["median_ms"]);
        assert_eq!((&step["steps"], &step["rounds"]), (&2.into(), &6.into()), "{row}");
        assert_eq!((number(&row["evals_per_step"]), number(&row["flops_per_step"])), (evals, evals * gradient));
        assert!(close(number(&rates["samples_per_s"]), 16e3 / ms), "{row}");
        assert!(close(number(&rates["evals_per_s"]), evals * 1e3 / ms), "{row}");
        assert!(close(number(&rates["gflops"]), evals * gradient / ms * 1e-6), "{row}");
        assert!(close(number(&rates["peak_fraction"]), number(&rates["gflops"]) / peak), "{row}");
        for range in [&step["interval_ms"], &step["quartiles_ms"]] {
            assert!(number(&range[0]) <= ms && ms <= number(&range[1]), "{row}");
        }
        assert!(number(&step["coverage"]) >= 0.95, "{row}");
        // program, weights and a batch: more than a few MiB, far from a gigabyte
        let mib = row["memory"]["host_mib"].as_f64();
        assert!(mib.is_some_and(|mib| (4.0..1000.0).contains(&mib)) || !cfg!(target_os = "linux"), "{row}");
        // a number, or a note that says why there is none
        assert_ne!(row["joules_per_step"].is_number(), energy, "{report}");
    }
}

#[test]
fn a_roof_is_made_of_counted_bytes_and_measured_rates() {
    let report = json(&format!("{QUICK} --optimizers sgd,sam --roofline"));
    let (peak, copy) = (number(&report["peak_gflops"]["cpu"]), number(&report["bandwidth_gb_s"]["cpu"]));
    assert!((0.1..1e4).contains(&copy), "GB/s: {copy}");
    // 784-256-10: two products for the first layer and three for the second, each over input, output and weights; five
    // passes for the relu
    let image = 2.0 * (784.0 + 256.0) + 5.0 * 256.0 + 3.0 * (256.0 + 10.0);
    let bytes = 4.0 * (16.0 * image + 2.0 * 784.0 * 256.0 + 3.0 * 256.0 * 10.0);
    for (row, evals) in report["rows"].as_array().expect("rows").iter().zip([1.0, 2.0]) {
        let roof = &row["roof"];
        assert_eq!(number(&roof["bytes_per_step"]), evals * bytes, "{row}");
        let intensity = number(&row["flops_per_step"]) / (evals * bytes);
        assert!(close(number(&roof["intensity"]), intensity), "{row}");
        let memory = copy * intensity < peak;
        assert_eq!(roof["bound"], if memory { "memory" } else { "arithmetic" });
        assert!(close(number(&roof["gflops"]), peak.min(copy * intensity)), "{row}");
        assert!(close(number(&roof["fraction"]), number(&row["rates"]["gflops"]) / number(&roof["gflops"])));
    }
    assert!(json(&format!("{QUICK} --optimizers sgd"))["rows"][0].get("roof").is_none());
}

#[test]
fn every_rule_is_timed_or_says_why_not() {
    // one burst of ten steps: what looksam costs on average
    let rules: Vec<&str> = flat_optim::RULES.iter().map(|rule| rule.name).collect();
    let flags = format!("bench --models mlp --batch-sizes 16 --steps 10 --rounds 1 --optimizers {}", rules.join(","));
    let report = json(&flags);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), rules.len());
    for (row, rule) in rows.iter().zip(rules) {
        assert_eq!(row["optimizer"], rule);
        if ["dom-sgd", "bulk-sgd"].contains(&rule) {
            let why = row["absent"].as_str().expect("a reason");
            assert!(why.starts_with(&format!("{rule} is not timed: ")) && why.contains("Hessian"), "{why}");
            continue;
        }
        assert!(number(&row["step"]["median_ms"]) > 0.0 && row["absent"].is_null(), "{row}");
        let evals = number(&row["evals_per_step"]);
        let expected = match rule {
            "plain" | "msam" | "lpf" => 1.0,
            "looksam" => 1.1,
            "esam" => 4.0 / 3.0 + 0.5,
            "entropy-sgd" => 20.0,
            // at the start of a run about every second step is long
            "aesam" => evals.clamp(1.0, 2.0),
            _ => 2.0,
        };
        assert!(close(evals, expected), "{rule}: {evals}");
    }
    let error = fails("bench --models mlp --optimizers dom-sgd", 2);
    assert!(error.contains("--optimizers dom-sgd: ") && error.contains("Hessian"), "{error}");
}

#[test]
fn peak_memory_is_that_of_the_cell_and_not_of_the_run() {
    let report = json("bench --models resnet20,mlp --optimizers sgd --batch-sizes 64 --steps 1 --rounds 1");
    let [large, small] = [0, 1].map(|i| number(&report["rows"][i]["memory"]["host_mib"]));
    // the activations of ResNet-20 take some 1.2 MiB an image; the mlp's, which ran after it, next to nothing
    assert!(small + 40.0 < large, "{small} {large}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_step_holds_neither_what_can_be_made_again_nor_idle_pages() {
    let cell = "bench --threads 2 --models resnet20 --optimizers sgd --batch-sizes 128 --alone memory";
    let held = number(&json(cell)["host_mib"]);
    // 210 MiB, most of them what the layers keep for the way back. Outputs of normalisations that are kept take 52
    // more, free pages that no block of another size may have 50 more
    assert!(held < 235.0, "{held}");
}

#[test]
fn work_is_counted_where_it_is_done() {
    // the sample of sap is the whole batch here, whose gradient is known: two batches
    let report = json("bench --models mlp,resnet20 --optimizers sgd,sap --batch-sizes 4 --steps 1 --rounds 1");
    let flop = |i: usize| number(&report["rows"][i]["flops_per_step"]);
    assert_eq!(flop(1) / flop(0), 2.0);
    assert_eq!(flop(3) / flop(2), 2.0);
    let evals = |i: usize| number(&report["rows"][i]["evals_per_step"]);
    assert_eq!([0, 1, 2, 3].map(evals), [1.0, 2.0, 1.0, 2.0]);
    // three times PyTorch's count of ResNet-20's forward pass (torch.utils.flop_counter of PyTorch 2.15)
    assert_eq!(flop(2), 4.0 * 3.0 * 81_626_368.0);
}

#[cfg(not(feature = "cuda"))]
#[test]
fn an_absent_device_is_a_row_and_alone_an_error_with_the_remedy() {
    let report = json(&format!("{QUICK} --devices cuda,cpu --optimizers sgd"));
    let (absent, there) = (&report["rows"][0], &report["rows"][1]);
    assert!(absent["step"].is_null() && absent["rates"].is_null() && there["absent"].is_null(), "{report}");
    let why = absent["absent"].as_str().expect("a reason");
    assert!(why.contains("cargo build --release --features cuda") && why.contains("--devices cuda:0"), "{why}");
    assert!(number(&there["step"]["median_ms"]) > 0.0);
    let table = run(&format!("{QUICK} --devices cuda,cpu --optimizers sgd --quiet"));
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.lines().any(|l| l.starts_with("cuda:0") && l.contains("absent")), "{table}");
    let error = fails("bench --devices cuda --models mlp", 1);
    assert!(error.contains("cargo build --release --features cuda"), "{error}");
}

#[test]
fn bad_values_are_refused_with_the_flag_before_any_time_is_spent() {
    for (words, flag) in [
        ("--devices tpu", "--devices"),
        ("--models resnet", "--models"),
        ("--optimizers lion", "--optimizers"),
        ("--batch-sizes 0", "--batch-sizes"),
        ("--batch-sizes 8,x", "--batch-sizes"),
        ("--batch-sizes 18446744073709551615", "--batch-sizes"),
        ("--seconds 0", "--seconds"),
        ("--seconds -1", "--seconds"),
        ("--seconds nan", "--seconds"),
        ("--seconds inf", "--seconds"),
        ("--steps 0", "--steps"),
        ("--rounds 0", "--rounds"),
        ("--steps 3 --seconds 1", "--seconds"),
        ("--precision f16", "--precision"),
        ("--precision tf32", "--precision"),
        ("--plot bars.png", "--plot"),
        ("--csv nowhere/bars.csv", "--csv"),
        ("--baseline nowhere.json", "--baseline"),
        ("--baseline Cargo.toml", "--baseline"),
        ("--over breadth", "--over"),
        ("--over width", "--over width"),
        ("--over depth", "--over depth"),
        ("--over depth --over-depth lenet", "--over-depth lenet"),
        ("--over-batch 8", "--over-batch"),
        ("--over batch --over-batch 0", "--over-batch"),
        ("--over batch --over-width 8", "--over-width"),
        ("--over threads --over-threads 65", "--over-threads"),
        ("--over batch --batch-sizes 8,16", "--batch-sizes"),
        ("--over batch --devices cpu,cuda", "--devices"),
        ("--over batch --optimizers dom-sgd", "--optimizers"),
        ("--over batch --csv cells.csv", "--csv"),
        ("--over batch --roofline", "--roofline"),
        ("--over batch --ranks --rank-threads 2", "--over"),
        ("--over batch --plot cost.png", "--plot"),
    ] {
        let error = fails(&format!("bench --models mlp {words}"), 2);
        assert!(error.contains(flag), "{words}: {error}");
    }
}

#[test]
fn a_baseline_tells_noise_from_change_and_files_hold_the_cells() {
    let room = Room::new();
    let (then, csv, plot) = (room.path("then.json"), room.path("cells.csv"), room.path("bars.svg"));
    let mut report = json(&format!("{QUICK} --optimizers sgd,sam,rsp,nso"));
    // as if sgd had been a hundred times slower, sam a hundred times faster, and rsp anything between
    for (i, factors) in [[100.0, 100.0, 100.0], [0.01, 0.01, 0.01], [1e-3, 1.0, 1e3]].iter().enumerate() {
        let step = &mut report["rows"][i]["step"];
        for end in [0, 1] {
            step["interval_ms"][end] = (number(&step["interval_ms"][end]) * factors[2 * end]).into();
        }
        step["median_ms"] = (number(&step["median_ms"]) * factors[1]).into();
    }
    report["environment"]["threads"] = 77.into();
    std::fs::write(&then, report.to_string()).expect("written");
    let files = format!("--baseline {} --csv {} --plot {}", then.display(), csv.display(), plot.display());
    let now = json(&format!("{QUICK} --optimizers sgd,sam,rsp,sap {files}"));
    let comparison = now["comparison"].as_array().expect("a comparison");
    let found: Vec<_> = comparison.iter().map(|c| c["verdict"].clone()).collect();
    assert_eq!(found, ["faster", "slower", "noise"]);
    for (i, cell) in comparison.iter().enumerate() {
        let ratio = number(&now["rows"][i]["step"]["median_ms"]) / number(&report["rows"][i]["step"]["median_ms"]);
        assert!(close(number(&cell["ratio"]), ratio), "{cell}");
    }
    let notes = now["notes"].to_string();
    for note in ["threads was 77, is 2", "1 cells of it were not timed now", "it lacks 1 of the cells"] {
        assert!(notes.contains(note), "{notes}");
    }
    let csv = std::fs::read_to_string(csv).expect("the CSV");
    let lines: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
    assert!(lines.len() == 5 && lines.iter().all(|l| l.len() == lines[0].len()), "{csv}");
    let column = lines[0].iter().position(|name| *name == "step_ms").expect("the column");
    assert_eq!(lines[1][column].parse::<f64>().ok(), now["rows"][0]["step"]["median_ms"].as_f64());
    let plot = std::fs::read_to_string(plot).expect("the plot");
    for words in ["cpu mlp sgd b16", "cpu mlp sap b16", "</svg>"] {
        assert!(plot.contains(words), "{words}");
    }
}

/// One burst of one step at every place.
const VARIED: &str = "bench --models resnet20 --optimizers sgd,sam --batch-sizes 2 --steps 1 --threads 2";

#[test]
fn a_cell_is_varied_along_axes_that_share_its_own_place() {
    let room = Room::new();
    let plot = room.path("cost.svg");
    let axes = "batch,width,depth,threads --over-batch 64,2 --over-width 16,4 --over-threads 1,2";
    let report = json(&format!("{VARIED} --rounds 2 --over {axes} --plot {}", plot.display()));
    let points = report["points"].as_array().expect("points");
    // of each optimizer: two images with four axes through it, 64 images, 4 channels, three more depths, one thread
    assert_eq!(points.len(), 2 * 7, "{report}");
    let of = |model: &str, optimizer: &str, batch: u64, channels: u64, threads: u64| -> &Value {
        let wanted = [("batch_size", batch), ("channels", channels), ("threads", threads)];
        let is = |p: &&Value| {
            p["model"] == model && p["optimizer"] == optimizer && wanted.iter().all(|(key, n)| p[key] == *n)
        };
        let found: Vec<&Value> = points.iter().filter(is).collect();
        assert_eq!(found.len(), 1, "{model} {optimizer} {wanted:?}");
        found[0]
    };
    let own = of("resnet20", "sgd", 2, 16, 2);
    assert_eq!(own["over"], serde_json::json!(["batch", "width", "depth", "threads"]));
    let (many, thin, deep) =
        (of("resnet20", "sgd", 64, 16, 2), of("resnet20", "sgd", 2, 4, 2), of("resnet56", "sgd", 2, 16, 2));
    let flop = |point: &Value| number(&point["flops_per_step"]);
    // PyTorch's counts of the forward pass (torch.utils.flop_counter of PyTorch 2.15), as in the test of work above
    assert_eq!(flop(own), 2.0 * 3.0 * 81_626_368.0);
    assert_eq!(flop(many), 32.0 * flop(own));
    // a quarter of the channels: a sixteenth of the products, but for the first layer (3 channels) and the last (10 classes)
    let ends = 2.0 * 6.0 * (1024.0 * 27.0 * 16.0 + 640.0);
    assert_eq!(flop(thin), (flop(own) - ends) / 16.0 + ends / 4.0);
    // six blocks more a stage, each of two 3x3 convolutions of 16 to 16 channels on 32x32, or as much
    assert_eq!(flop(deep) - flop(own), 2.0 * 6.0 * 6.0 * 3.0 * 2.0 * 1024.0 * 9.0 * 256.0);
    assert_eq!(flop(of("resnet20", "sam", 2, 16, 1)), 2.0 * flop(own));
    assert_eq!(own["blocks"], 9);
    assert_eq!(deep["blocks"], 27);
    // peaks are those of each point alone: the activations of 62 images more take some 1.2 MiB each
    let mib = |point: &Value| number(&point["memory"]["host_mib"]);
    assert!(mib(own) + 40.0 < mib(many), "{} {}", mib(own), mib(many));
    for point in points {
        let (step, roof) = (&point["step"], &point["roof"]);
        assert_eq!((&step["steps"], &step["rounds"]), (&1.into(), &2.into()), "{point}");
        let rates = report["allowed"].as_array().expect("rates").iter().find(|r| r["threads"] == point["threads"]);
        let rates = rates.unwrap_or_else(|| panic!("no rates of its threads: {point}"));
        let allowed = number(&rates["peak_gflops"]).min(number(&rates["bandwidth_gb_s"]) * number(&roof["intensity"]));
        assert!(close(number(&roof["gflops"]), allowed), "{point}");
        let ends = &point["memory_interval_mib"];
        assert!(number(&ends[0]) <= mib(point) && mib(point) <= number(&ends[1]), "{point}");
    }
    let exponents = report["exponents"].as_array().expect("exponents");
    assert_eq!(exponents.len(), 2 * 4 * 2, "time and memory, over four axes, of two optimizers");
    let drawn = std::fs::read_to_string(plot).expect("the plot");
    for words in ["images a step", "channels of the first convolution", "blocks", "threads", "its roof", "peak MiB"] {
        assert!(drawn.contains(&format!(">{words}<")), "{words}");
    }
}

#[test]
fn an_exponent_is_that_of_the_times_it_is_found_from() {
    let report = json(&format!("{VARIED} --rounds 1 --over batch --over-batch 2,8 --optimizers sgd"));
    let points = report["points"].as_array().expect("points");
    let of = |batch: u64, cost: &str| {
        let point = points.iter().find(|p| p["batch_size"] == batch).expect("a point");
        number(point.pointer(cost).expect("a cost"))
    };
    for (name, cost) in [("time", "/step/median_ms"), ("memory", "/memory/host_mib")] {
        let found = report["exponents"].as_array().expect("exponents").iter().find(|e| e["of"] == name);
        let expected = (of(8, cost) / of(2, cost)).ln() / 4f64.ln();
        let found = number(&found.expect(name)["exponent"]);
        assert!((found - expected).abs() < 1e-9, "{name}: {found} {expected}");
    }
}

#[test]
fn a_signal_ends_it_cleanly() {
    ended_by_a_signal("bench --models mlp --optimizers sgd --batch-sizes 16 --seconds 600 --rounds 2 --json");
    // the process of the burst, which no signal reaches, ends too
    let ended = std::time::Instant::now();
    ended_by_a_signal(
        "bench --models mlp --optimizers sgd --batch-sizes 16 --seconds 600 --rounds 2 --json --over batch",
    );
    assert!(ended.elapsed().as_secs() < 60, "it waited for a burst of five minutes");
}

fn ended_by_a_signal(words: &str) {
    let mut child = command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // by then it prepares or is in the middle of a burst of five minutes
    std::thread::sleep(std::time::Duration::from_secs(3));
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill runs").success());
    let errors = BufReader::new(child.stderr.take().expect("stderr")).lines().map_while(Result::ok);
    assert!(errors.into_iter().any(|line| line.contains("interrupted")), "no word of the interruption");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}
