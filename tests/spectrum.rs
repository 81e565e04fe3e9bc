//! The measures of the whole spectrum and of the loss around a checkpoint, as the command line gives them.

use crate::tool::{Room, fails, json, run};
use serde_json::Value;

const ON: &str = "--checkpoint models/flat.safetensors --dataset mnist --split train --limit 64";

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("a number: {v}"))
}

fn keys(v: &Value, names: &[&str]) {
    for name in names {
        assert!(!v[name].is_null(), "{name} is missing: {v}");
    }
}

#[test]
fn the_density_agrees_with_the_eigenvalues_and_draws_itself() {
    let room = Room::new();
    let plot = room.path("plots/density.svg");
    let words = format!("metrics density {ON} --probes 3 --steps 40 --seed 2");
    let report = json(&format!("{words} --plot {}", plot.display()));
    let card = &report["card"];
    keys(card, &["checkpoint", "dataset", "loss_name", "dtype", "device", "hvp", "version", "wall_s"]);
    assert_eq!((&card["matvecs"], &card["seed"], &card["examples"]), (&120.into(), &2.into(), &64.into()));
    assert!(card["bn_mode"].is_null(), "an mlp has no BatchNorm: {card}");
    let eig = json(&format!("metrics eig {ON} --top 1 --bottom 0"));
    let (top, edge) = (number(&eig["eigenvalues"][0]["value"]), number(&report["range"][1]));
    // a Ritz value errs by its residual squared over the gap
    assert!((top - edge).abs() < 1e-3 * top, "{top} {edge}");
    for moment in report["moments"].as_array().expect("four moments").iter().skip(1) {
        let (lo, hi) = (number(&moment["ci95"][0]), number(&moment["ci95"][1]));
        assert!(lo < number(&moment["value"]) && number(&moment["value"]) < hi);
    }
    keys(&report["rank"], &["participation", "entropy", "curvature_score"]);
    let svg = std::fs::read_to_string(&plot).expect("a plot");
    assert!(svg.starts_with("<svg") && svg.contains("eigenvalue of the Hessian") && svg.contains("interval"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "every coordinate is a number");
}

#[test]
fn the_hidden_states_have_a_dimension_below_their_number() {
    let report =
        json("metrics dimension --checkpoint models/flat.safetensors --dataset mnist --split train --limit 500");
    let (value, width) = (number(&report["value"]), number(&report["coordinates"]));
    assert!(1.0 < value && value < width && width == 32.0, "{report}");
    assert!(number(&report["ci95"][0]) < value && value < number(&report["ci95"][1]));
    assert_eq!(report["card"]["examples"], 500);
}

#[test]
fn every_sharpness_comes_with_its_radius_its_cost_and_its_error_where_random() {
    let report = json(&format!("metrics sharpness {ON} --dtype f64 --pairs 8 --steps 5 --starts 2 --m 16"));
    let measures = report["measures"].as_array().expect("a list");
    let names: Vec<&str> = measures.iter().map(|m| m["measure"].as_str().expect("a name")).collect();
    assert_eq!(names, ["first-order", "per-batch", "average", "worst", "low-pass", "keskar"]);
    let value = |i: usize| number(&measures[i]["value"]);
    assert!(value(3) >= value(0) && value(0) > value(2), "worst, one step, average: {report}");
    assert!(value(1) > value(0), "batches of 16 are sharper than their mean");
    let (gradients, losses) = measures.iter().fold((0.0, 0.0), |(g, l), m| {
        keys(m, &["loss", "displaced", "dim", "seed", "wall_s"]);
        (g + number(&m["gradients"]), l + number(&m["losses"]))
    });
    assert_eq!((number(&report["card"]["gradients"]), number(&report["card"]["losses"])), (gradients, losses));
    assert_eq!((&measures[1]["batches"], &measures[2]["estimate"]["probes"]), (&4.into(), &8.into()));
    assert!(measures[0]["estimate"].is_null() && measures[3]["starts"].as_array().map(Vec::len) == Some(2));
    let linf = json(&format!("metrics sharpness {ON} --geometry linf --rho 1e-4 --steps 2 --starts 1 --pairs 1"));
    assert_eq!(linf["measures"].as_array().map(Vec::len), Some(5), "no average over a box");
}

#[test]
fn a_certificate_states_its_verdict_and_what_it_rests_on() {
    let room = Room::new();
    let out = room.path("run");
    // a smooth network on squared error, which has minimisers
    json(&format!(
        "train --model mlp --hidden 4 --activation tanh --loss mse --train-limit 16 --test-limit 16 --batch-size 16 \
         --epochs 100 --lr 0.05 --schedule constant --dtype f64 --trace-probes 0 --out {}",
        out.display()
    ));
    let words = format!("metrics certify --checkpoint {} --split train --limit 16", out.display());
    let short = json(&format!("{words} --max-gradients 20 --probes 6 --max-matvecs 10"));
    assert_eq!(short["verdict"], "undecided", "so few gradients do not arrive: {short}");
    assert_eq!((&short["flow"]["stopped_by"], &short["distance_known"]), (&"budget".into(), &"at_least".into()));
    assert!(number(&short["loss_gap"]) >= 0.0 && short["distance_interval"][1].is_null());
    assert!(short["card"]["notes"].is_null(), "smooth and f64: nothing to note: {short}");
    let text = run(&format!("{words} --max-gradients 20 --max-matvecs 10"));
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(
        text.contains("at least") && text.contains("--max-gradients") && text.contains("smallest eigenvalue"),
        "{text}"
    );
    let kinked = json(&format!("metrics certify {ON} --max-gradients 1 --probes 4 --max-matvecs 10"));
    assert_eq!(kinked["card"]["notes"].as_array().map(Vec::len), Some(2), "ReLU and f32: {kinked}");
}

#[test]
fn landscapes_have_the_checkpoint_in_the_middle_and_both_ends_on_the_line() {
    let room = Room::new();
    let score = |model: &str| {
        number(
            &json(&format!("eval --checkpoint models/{model}.safetensors --dataset mnist --split train --limit 64"))["loss"],
        )
    };
    let (flat, sharp) = (score("flat"), score("sharp"));
    let dir = room.path("two");
    let two = json(&format!("landscape {ON} --points 3 --span 0.5 --out {}", dir.display()));
    let losses: Vec<f64> = two["loss"].as_array().expect("nine").iter().map(number).collect();
    assert_eq!((losses.len(), two["files"].as_array().map(Vec::len)), (9, Some(3)));
    assert!((losses[4] - flat).abs() < 1e-6 * flat && losses.iter().all(|l| *l >= losses[4]), "{losses:?} {flat}");
    let csv = std::fs::read_to_string(dir.join("landscape.csv")).expect("a table");
    assert!(csv.starts_with("x,y,loss,accuracy\n-0.5,-0.5,") && csv.lines().count() == 10, "{csv}");
    let svg = std::fs::read_to_string(dir.join("loss.svg")).expect("a plot");
    assert!(svg.contains("random direction 1") && !svg.contains("NaN"));
    let dir = room.path("line");
    let words =
        format!("landscape {ON} --between models/sharp.safetensors --span 0 --points 3 --out {}", dir.display());
    let line = json(&words);
    assert_eq!(line["x"], serde_json::json!([0.0, 0.5, 1.0]));
    let end = number(&line["loss"][2]);
    assert!(number(&line["loss"][0]) == flat && end == sharp, "{line}");
    let eigen =
        json(&format!("landscape {ON} --directions eigen --axes 1 --points 3 --span 0.1 --out {}", dir.display()));
    let (l, h) = (&eigen["loss"], number(&eigen["eigenvalues"][0]));
    let curvature = (number(&l[0]) + number(&l[2]) - 2.0 * number(&l[1])) / 0.01;
    assert!(h > 0.0 && curvature > 0.3 * h && curvature < 3.0 * h, "second difference {curvature}, eigenvalue {h}");
    assert!((number(&eigen["lengths"][0]) - 1.0).abs() < 1e-5);
}

#[test]
fn all_measures_in_one_report_agree_with_the_single_ones() {
    let all = json(&format!(
        "metrics all {ON} --trace-probes 3 --probes 2 --steps 10 --top 1 --bottom 0 --certify --max-gradients 4"
    ));
    keys(&all, &["card", "trace", "eig", "density", "sharpness", "dimension", "certificate"]);
    let trace = json(&format!("metrics trace {ON} --probes 3"));
    assert_eq!(all["trace"]["trace"], trace["trace"]);
    let eig = json(&format!("metrics eig {ON} --top 1 --bottom 0"));
    assert_eq!(all["eig"]["eigenvalues"], eig["eigenvalues"]);
    let density = json(&format!("metrics density {ON} --probes 2 --steps 10"));
    assert_eq!(all["density"]["moments"], density["moments"]);
    let sharpness = json(&format!("metrics sharpness {ON} --measures first-order"));
    assert_eq!(all["sharpness"]["measures"][0]["value"], sharpness["measures"][0]["value"]);
    assert!(number(&all["card"]["matvecs"]) >= 3.0 + 20.0 + number(&eig["matvecs"]));
    let text = run(&format!("metrics all {ON} --trace-probes 2 --probes 2 --steps 5 --top 1 --bottom 0"));
    let text = String::from_utf8_lossy(&text.stdout);
    for title in ["Trace", "Extreme eigenvalues", "Spectrum", "Sharpness", "Hidden states"] {
        assert!(text.contains(title), "{title}: {text}");
    }
    assert!(!text.contains("Certificate"));
}

#[test]
fn flags_out_of_range_are_named() {
    for (words, flag) in [
        ("metrics density --probes 0", "--probes"),
        ("metrics density --width nan", "--width"),
        ("metrics density --plot x.png", "--plot"),
        ("metrics dimension --discard 1", "--discard"),
        ("metrics sharpness --rho -1", "--rho"),
        ("metrics sharpness --pairs 0", "--pairs"),
        ("metrics sharpness --eta 0.1", "--eta"),
        ("metrics sharpness --geometry linf --measures average", "--measures"),
        ("metrics certify --eps 0", "--eps"),
        ("metrics certify --probes 3", "--probes"),
        ("metrics certify --grad-tol nan", "--grad-tol"),
        ("metrics all --steps 0", "--steps"),
        ("metrics all --rho 0", "--rho"),
        ("landscape --out x --span 0", "--span"),
        ("landscape --out x --points 1", "--points"),
        ("landscape --out x --between models/flat.safetensors", "--between"),
        ("landscape --out x --between models/sharp.safetensors --axes 2", "--between"),
    ] {
        let text = fails(&format!("{words} {ON}"), 2);
        assert!(text.contains(flag), "{words}: {text}");
    }
}

#[test]
fn without_json_measures_are_tables() {
    let out = run(&format!("metrics density {ON} --probes 2 --steps 10"));
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("tr H") && text.contains("20 products"), "{text}");
}
