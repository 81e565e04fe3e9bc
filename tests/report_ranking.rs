//! Who won, of 20 fabricated runs. The numbers are those of `reference/report_ranking.json`, printed by `report_ranking.py`.

use crate::report::{browser, laid_out};
use crate::tool::{Room, bytes, command};
use serde::Deserialize;
use serde_json::{Map, Value, json as object};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

#[derive(Deserialize)]
struct Reference {
    runs: Vec<FakeRun>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct FakeRun {
    flags: Map<String, Value>,
    seed: u64,
    accuracy: f64,
    trace: f64,
    evals: f64,
    seconds: f64,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    score: Spread,
    above_baseline: Option<Spread>,
    above_first: Option<Spread>,
    trace: Spread,
    evals: f64,
    seconds: f64,
    verdict: String,
}

#[derive(Deserialize)]
struct Spread {
    mean: f64,
    ci95: [f64; 2],
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/report_ranking.json")).expect("report_ranking.json")
}

impl FakeRun {
    fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder");
        let flags: String = self.flags.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let config = format!("{flags}base = \"sgd\"\ndataset = \"mnist\"\nlr = 0.05\nseed = {}\n", self.seed);
        std::fs::write(folder.join("config.toml"), config).expect("config.toml");
        let epoch = object!({"kind": "epoch", "epoch": 1, "step": 800, "split": "test", "loss": 0.25, "accuracy": self.accuracy});
        std::fs::write(folder.join("metrics.jsonl"), format!("{epoch}\n")).expect("metrics.jsonl");
        let summary = object!({
            "state": "finished", "dim": 10, "optimizer": self.flags["optimizer"], "base": "sgd",
            "test_accuracy": self.accuracy, "steps": 800, "evals": self.evals, "skipped_steps": 0, "wall_s": self.seconds,
            "trace": {"trace": {"value": self.trace, "ci95": [1.0, 999.0], "probes": 8}, "examples": 512},
            "seed": self.seed, "dtype": "f32", "device": "cpu", "version": "0.1.0"
        });
        std::fs::write(folder.join("summary.json"), summary.to_string()).expect("summary.json");
    }
}

/// The 20 runs, named by their rule and seed.
fn fabricated(room: &Room) -> Vec<PathBuf> {
    let write = |(i, run): (usize, FakeRun)| {
        let folder = room.path(&format!("run-{i}"));
        run.write(&folder);
        folder
    };
    reference().runs.into_iter().enumerate().map(write).collect()
}

fn report(room: &Room, runs: &[PathBuf], more: &[&str]) -> Output {
    let out = room.path("report.html");
    command("report --json --quiet").arg("--out").arg(out).args(runs).args(more).output().expect("flat-train starts")
}

fn ranking(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let contents: Value = serde_json::from_slice(&output.stdout).expect("one JSON object on stdout");
    contents["ranking"].clone()
}

fn close(found: &Value, expected: f64) {
    let x = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    // the quantile of Student's t is found to ten digits
    assert!((x - expected).abs() <= 1e-8 * expected.abs().max(1e-3), "{x} {expected}");
}

fn same(found: &Value, expected: Option<&Spread>) {
    let Some(expected) = expected else { return assert!(found.is_null(), "{found}") };
    close(&found["mean"], expected.mean);
    (0..2).for_each(|i| close(&found["ci95"][i], expected.ci95[i]));
}

#[test]
fn the_ranking_of_twenty_runs_has_scipy_s_numbers() {
    let room = Room::new();
    let runs = fabricated(&room);
    let found = ranking(&report(&room, &runs, &[]));
    let expected = reference().rows;
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(expected.len()));
    assert_eq!((&found["baseline"], &found["metric"]), (&"sgd".into(), &"test accuracy".into()));
    for (row, expected) in found["rows"].as_array().into_iter().flatten().zip(&expected) {
        assert_eq!((&row["name"], &row["verdict"]), (&expected.name.clone().into(), &expected.verdict.clone().into()));
        assert_eq!(row["seeds"], object!([0, 1, 2, 3]));
        same(&row["score"], Some(&expected.score));
        same(&row["above_baseline"], expected.above_baseline.as_ref());
        same(&row["above_first"], expected.above_first.as_ref());
        same(&row["trace"], Some(&expected.trace));
        close(&row["evals"], expected.evals);
        close(&row["wall_s"], expected.seconds);
    }
    let said = found["verdict"].as_array().expect("sentences").iter().filter_map(Value::as_str).collect::<Vec<_>>();
    assert_eq!(
        said,
        [
            "No winner is shown: gsam is first with 94.55 [94.24, 94.85] % mean test accuracy over 4 seeds, but one setting is not \
             told apart from it.",
            "It is 0.30 [-0.47, 1.07] points above the second, sam rho=0.2: not told apart.",
            "It is 1.43 [1.36, 1.51] points above the baseline, sgd: told apart."
        ]
    );
}

#[test]
fn a_winner_is_named_where_every_other_setting_is_told_apart() {
    let room = Room::new();
    let runs = fabricated(&room);
    let runs: Vec<PathBuf> = runs[..8].iter().chain(&runs[16..]).cloned().collect();
    let found = ranking(&report(&room, &runs, &["--baseline", "sam"]));
    let said = found["verdict"].as_array().expect("sentences");
    let won = "gsam won: 94.55 [94.24, 94.85] % mean test accuracy over 4 seeds, and every other setting is told apart from it.";
    assert_eq!(said[0], won);
    assert_eq!(said[1], "It is 0.45 [0.38, 0.52] points above the second and the baseline, sam: told apart.");
    assert_eq!(said.len(), 2);
}

#[test]
fn lost_runs_and_runs_in_progress_rank_their_setting_below() {
    let room = Room::new();
    let runs = fabricated(&room);
    // of gsam one run goes on, of sam rho=0.05 one diverged
    std::fs::remove_file(runs[17].join("summary.json")).expect("removed");
    let summary = String::from_utf8(bytes(&runs[2].join("summary.json"))).expect("UTF-8");
    std::fs::write(runs[2].join("summary.json"), summary.replace("finished", "diverged")).expect("written");
    let found = ranking(&report(&room, &runs, &[]));
    let rows = found["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["sam rho=0.2", "sgd", "nso", "gsam", "sam rho=0.05"]);
    assert_eq!(rows[3]["verdict"], "in progress: 1 of 4");
    assert_eq!(rows[4]["verdict"], "diverged: 1 of 4");
    assert_eq!(rows[3]["seeds"], object!([0, 2, 3]));
    let last = found["verdict"].as_array().and_then(|said| said.last()).expect("a sentence");
    assert_eq!(last, "In progress: 1 of 20 runs, which may change this.");
}

#[test]
fn a_second_run_of_a_seed_is_left_out_and_said() {
    let room = Room::new();
    let mut runs = fabricated(&room);
    let again = room.path("again");
    reference().runs[16].write(&again);
    let whole = ranking(&report(&room, &runs, &[]));
    runs.push(again);
    let found = ranking(&report(&room, &runs, &[]));
    assert_eq!(found["rows"][0]["score"], whole["rows"][0]["score"]);
    assert_eq!(found["notes"][0], "again is left out: seed 0 of gsam is there already");
}

#[test]
fn a_baseline_is_a_setting_or_one_of_its_runs_and_a_wrong_one_is_told_the_others() {
    let room = Room::new();
    let runs = fabricated(&room);
    for name in ["NSO", "run-13"] {
        assert_eq!(ranking(&report(&room, &runs, &["--baseline", name]))["baseline"], "nso");
    }
    let refused = report(&room, &runs, &["--baseline", "gsma"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{error}");
    for said in ["--baseline gsma", "did you mean gsam?", "give one of sam rho=0.05, sgd, sam rho=0.2, nso, gsam"] {
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn csv_has_plain_decimals_with_units_and_markdown_the_same_table() {
    let room = Room::new();
    let runs = fabricated(&room);
    let [csv, markdown] = ["out/r.csv", "out/r.md"].map(|file| room.path(file));
    let files = ["--csv", &csv.to_string_lossy(), "--markdown", &markdown.to_string_lossy()].map(String::from);
    let words = ["--title", "Five <rules>", "--note", "On a | small set"];
    let more: Vec<&str> = files.iter().map(String::as_str).chain(words).collect();
    ranking(&report(&room, &runs, &more));
    let text = String::from_utf8(bytes(&csv)).expect("UTF-8");
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let column =
        |name: &str| lines[0].iter().position(|head| *head == name).unwrap_or_else(|| panic!("{name}: {text}"));
    let number = |row: usize, name: &str| -> f64 { lines[row][column(name)].parse().expect("a number") };
    assert_eq!(lines.len(), 6);
    for (i, row) in reference().rows.iter().enumerate() {
        assert_eq!(lines[i + 1][column("name")], row.name);
        assert!((number(i + 1, "test_accuracy_percent") - 100.0 * row.score.mean).abs() < 1e-9);
        assert!((number(i + 1, "test_accuracy_percent_high") - 100.0 * row.score.ci95[1]).abs() < 1e-6);
        assert!((number(i + 1, "trace_low") - row.trace.ci95[0]).abs() < 1e-6);
        assert_eq!((number(i + 1, "gradient_evaluations"), number(i + 1, "wall_seconds")), (row.evals, row.seconds));
    }
    assert_eq!((lines[2][column("setting_rho")], lines[1][column("above_first_points")]), ("0.2", ""));
    let numbers = |line: &Vec<&str>| line[3..line.len() - 1].iter().all(|cell| !cell.contains(['e', '%', ' ']));
    assert!(lines[1..].iter().all(numbers), "{text}");

    let text = String::from_utf8(bytes(&markdown)).expect("UTF-8");
    assert!(text.starts_with("# Five <rules>\n\nOn a | small set\n\nNo winner is shown: gsam"), "{text}");
    assert!(text.contains("| 1. gsam | 4 | 94.55 [94.24, 94.85] | +1.43 [+1.36, +1.51] | – | first |"), "{text}");
    assert!(text.contains("| 4. sgd | 4 | 93.12 [92.74, 93.49] | baseline |"), "{text}");
    let html = String::from_utf8(bytes(&room.path("report.html"))).expect("UTF-8");
    assert!(html.contains("<h1>Five &lt;rules&gt;</h1><p class=\"told\">On a | small set</p>"), "{html}");
}

#[test]
fn flags_of_the_ranking_need_runs_and_files_of_their_own_ending() {
    let room = Room::new();
    let runs = fabricated(&room);
    for (flag, file) in [("--csv", "r.html"), ("--markdown", "r.csv")] {
        let refused = report(&room, &runs, &[flag, file]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("{flag} {file}")));
    }
}

#[test]
fn a_row_is_a_run_and_what_is_the_same_is_said_once() {
    let room = Room::new();
    let runs = fabricated(&room);
    ranking(&report(&room, &runs, &[]));
    let html = String::from_utf8(bytes(&room.path("report.html"))).expect("UTF-8");
    let section =
        |from: &str| html.split(from).nth(1).and_then(|rest| rest.split("</section>").next()).expect("a section");
    let differs = section("<h2>What differs</h2>");
    assert_eq!(differs.matches("<tr>").count(), 21, "{differs}");
    assert_eq!(differs.matches("<th scope=\"col\">").count(), 4, "run, optimizer, rho, seed: {differs}");
    assert!(!differs.contains("lr") && !differs.contains("dataset"), "{differs}");
    let results = section("<h2>Results</h2>");
    assert!(results.contains("The same in all runs: state finished; ") && results.contains("steps 800"), "{results}");
    // one point a setting, each with two whiskers
    let scatter =
        html.split("class=\"scatter\"").nth(1).and_then(|rest| rest.split("</figure>").next()).expect("a plot");
    assert_eq!((scatter.matches("class=\"mark\"").count(), scatter.matches("class=\"whisker\"").count()), (5, 10));
    assert!(html.find("<h2>Who won</h2>") < html.find("<h2>What differs</h2>"));
}

#[test]
fn a_browser_shows_winner_and_baseline_at_once_and_nothing_sideways() {
    let Some(browser) = browser() else {
        println!("skipped: no chromium on the PATH");
        return;
    };
    let room = Room::new();
    let runs = fabricated(&room);
    ranking(&report(&room, &runs, &[]));
    let html = String::from_utf8(bytes(&room.path("report.html"))).expect("UTF-8");
    for width in [390, 1280] {
        let script = "[e.scrollWidth - e.clientWidth, d.querySelector('.verdict').getBoundingClientRect().bottom, \
             [...d.querySelectorAll('.scroll')].filter(s => s.scrollWidth > s.clientWidth).length]";
        let numbers = laid_out(&browser, &room, &html, width, script);
        assert!(numbers[0] == 0 && numbers[1] < 800, "{width}: {numbers:?}");
        assert_eq!(numbers[2], 0, "a table of 20 runs is wider than {width} px: {numbers:?}");
    }
}

#[test]
fn measurements_beside_a_run_are_shown_and_a_bad_file_is_said() {
    let room = Room::new();
    let runs = fabricated(&room);
    let folder = runs[0].join("metrics");
    std::fs::create_dir(&folder).expect("a folder");
    let eig = object!({"measure": "eig", "data": "train images of mnist", "examples": 64, "stopped_by": "complete",
        "eigenvalues": [{"value": 12.5, "residual": 0.5}]});
    std::fs::write(folder.join("eig.json"), eig.to_string()).expect("written");
    std::fs::write(folder.join("half.json"), "{\"measure\":").expect("written");
    ranking(&report(&room, &runs, &[]));
    let html = String::from_utf8(bytes(&room.path("report.html"))).expect("UTF-8");
    assert!(
        html.contains("12.5 <small>12 to 13</small>") && html.contains("64 of the train images of mnist"),
        "{html}"
    );
    assert!(html.contains("metrics/half.json</code> is no JSON"), "{html}");
}

/// Waits for what must come within a minute.
fn until<T>(what: &str, mut come: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(there) = come() {
            return there;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{what}: not within a minute");
}

#[test]
fn a_watched_page_is_written_again_until_the_runs_have_ended_or_a_signal_comes() {
    let room = Room::new();
    let runs = fabricated(&room);
    let (summary, page) = (runs[3].join("summary.json"), room.path("watched.html"));
    let ended = bytes(&summary);
    let refreshes = || std::fs::read_to_string(&page).ok().map(|html| html.contains("http-equiv=\"refresh\""));
    for signalled in [false, true] {
        std::fs::remove_file(&summary).expect("removed");
        let _ = std::fs::remove_file(&page);
        let mut watch = command("report --watch --quiet --json");
        let mut watch = watch.arg("--out").arg(&page).args(&runs).stdout(Stdio::null()).spawn().expect("it starts");
        until("a page that is read again", || refreshes().filter(|again| *again));
        assert!(watch.try_wait().expect("a state").is_none(), "it ended with a run in progress");
        if signalled {
            let sent = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().expect("kill");
            assert!(sent.success());
        }
        if !signalled {
            std::fs::write(&summary, &ended).expect("written");
        }
        let status = until("its end", || watch.try_wait().expect("a state"));
        assert_eq!(status.code(), Some(if signalled { 130 } else { 0 }));
        assert_eq!(refreshes(), Some(false), "the last page is read again for ever");
        std::fs::write(&summary, &ended).expect("written");
    }
}
