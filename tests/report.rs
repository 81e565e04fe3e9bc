//! `flat-train report`: one page that is whole by itself, shows everything and trusts nothing it reads.

use crate::tool::{Room, SMALL, bytes, command, fails, json, top};
use serde_json::{Value, json as object};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A finished run of `steps` logged steps, made by hand.
fn fake_run(folder: &Path, steps: u64) {
    std::fs::create_dir_all(folder).expect("a folder");
    let config = "# flat-train 0.1.0: re-run\nbatch-size = 64\ndataset = \"mnist\"\nlr = 0.05\noptimizer = \"sam\"\n";
    std::fs::write(folder.join("config.toml"), config).expect("config.toml");
    let mut lines: Vec<Value> = (1..=steps)
        .map(|step| object!({"kind": "step", "epoch": 1, "step": step, "split": "train", "loss": if step == 777 { 88.5 } else { 2.0 / step as f64 }, "lr": 0.05, "grad_norm": 1.5}))
        .collect();
    lines.push(object!({"kind": "epoch", "epoch": 1, "step": steps, "split": "train", "loss": 0.5, "accuracy": 0.75}));
    lines.push(object!({"kind": "epoch", "epoch": 1, "step": steps, "split": "test", "loss": 0.625, "accuracy": 0.8125, "evals": 2 * steps}));
    let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
    std::fs::write(folder.join("metrics.jsonl"), text).expect("metrics.jsonl");
    let summary = object!({
        "dataset": "mnist", "model": "mlp", "dim": 10, "optimizer": "sam", "base": "sgd", "test_accuracy": 0.8125,
        "test_loss": 0.625, "train_accuracy": 0.875, "train_loss": null, "best_test_accuracy": 0.8125, "steps": steps,
        "evals": 2 * steps, "skipped_steps": 0, "wall_s": 1.5, "seed": 3, "dtype": "f32", "device": "cpu",
        "version": "0.1.0", "out": "x",
        "trace": {"trace": {"value": 12.5, "ci95": [11.25, 13.75], "probes": 16}, "examples": 512}
    });
    std::fs::write(folder.join("summary.json"), summary.to_string()).expect("summary.json");
}

/// A finished reproduction with a table and a figure.
fn fake_study(folder: &Path, text: &str, figure: &str) {
    std::fs::create_dir_all(folder).expect("a folder");
    let provenance = object!({"study": "theory", "scale": "smoke", "seed": 0, "version": "0.1.0"});
    std::fs::write(folder.join("study.json"), provenance.to_string()).expect("study.json");
    let results = object!({
        "title": format!("Title {text}"),
        "tables": [{"caption": format!("Caption {text}"), "columns": ["a", text], "rows": [["1", text], ["2", "x"]]}],
        "figures": [{"file": figure, "caption": format!("Figure {text}")}]
    });
    std::fs::write(folder.join("results.json"), results.to_string()).expect("results.json");
    std::fs::write(folder.join("plot.svg"), SVG).expect("plot.svg");
}

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>\n";

fn report(out: &Path, folders: &[&Path]) -> Output {
    told(out, folders, &[])
}

/// A report with more flags.
fn told(out: &Path, folders: &[&Path], more: &[&str]) -> Output {
    let mut command = command("report --json --quiet");
    command.arg("--out").arg(out).args(folders).args(more).output().expect("flat-train starts")
}

/// The page and what `--json` says of it.
fn page(out: &Path, folders: &[&Path]) -> (String, Value) {
    let done = report(out, folders);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let html = String::from_utf8(bytes(out)).expect("UTF-8");
    (html, serde_json::from_slice(&done.stdout).expect("one JSON object on stdout"))
}

/// The error of a report that must fail with this status; no page may be left.
fn refused(room: &Room, folders: &[&Path], status: i32) -> String {
    let out = room.path("refused.html");
    let done = report(&out, folders);
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(status), "{text}");
    assert!(!out.exists() && !text.contains("panicked"), "{text}");
    text
}

/// The part of a page between two texts.
fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let start = html.find(from).unwrap_or_else(|| panic!("{from} is not there"));
    let rest = &html[start..];
    &rest[..rest.find(to).unwrap_or_else(|| panic!("no {to} after {from}"))]
}

/// What would make a browser ask for something, or run something.
fn assert_self_contained(html: &str) {
    let lower = html.to_ascii_lowercase();
    for never in ["http://", "https://", "<script", "<link", "<iframe", "<object", "<embed", "<base", "@import", "url("]
    {
        assert!(!lower.contains(never), "{never}: {}", between(&lower, never, ">"));
    }
    for tag in lower.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or_default()) {
        // names of attributes stand outside of the quotes
        let outside: String = tag.split('"').step_by(2).collect::<Vec<_>>().join("");
        for never in [" on", " href", " action", " srcdoc", " background"] {
            assert!(!outside.contains(never), "{tag}");
        }
        assert_eq!(outside.contains("src="), tag.contains("src=\"data:image/svg+xml;base64,"), "{tag}");
    }
}

#[test]
fn a_report_of_real_runs_shows_what_differs_what_came_out_and_how() {
    let room = Room::new();
    let (a, b) = (room.path("first"), room.path("second"));
    let more = "--epochs 3 --flatness trace,lambda_max --flatness-probes 4 --flatness-examples 128";
    json(&format!("{SMALL} {more} --optimizer sgd --log-steps --out {}", a.display()));
    let summary = json(
        &format!("{SMALL} {more} --optimizer rsp --rho 0.25 --trace-probes 4 --out {}", b.display())
            .replace("--trace-probes 0", ""),
    );
    let (html, contents) = page(&room.path("out/report.html"), &[&a, &b]);
    assert_self_contained(&html);

    assert_eq!((&contents["runs"][0]["name"], &contents["runs"][1]["name"]), (&"first".into(), &"second".into()));
    assert_eq!(contents["bytes"], html.len());
    assert_eq!(contents["runs"][1]["step"], 24);
    let differs = between(&html, "<h2>What differs</h2>", "</section>");
    for (head, cell) in [("rho", "–"), ("rho", "0.25"), ("optimizer", "plain"), ("optimizer", "rsp")] {
        let none = if cell == "–" { " class=\"none\"" } else { "" };
        assert!(differs.contains(&format!("<td data-head=\"{head}\"{none}>{cell}</td>")), "{head} {cell}: {differs}");
    }
    assert!(!differs.contains("batch-size") && !differs.contains(">seed<"), "{differs}");
    let results = between(&html, "<h2>Results</h2>", "</section>");
    let accuracy = 100.0 * summary["test_accuracy"].as_f64().expect("a number");
    assert!(
        results.contains(&format!("<td data-head=\"test accuracy\">{accuracy:.2}\u{a0}% <small>")),
        "{accuracy} {results}"
    );
    let low = summary["trace"]["trace"]["ci95"][0].as_f64().expect("a number");
    assert!(results.contains(&format!("<small>{}", &low.to_string()[..3])), "{low} {results}");
    for title in [
        "Test loss",
        "Test accuracy, percent",
        "Training loss, mean of the epoch",
        "Hessian trace",
        "Largest Hessian eigenvalue",
        "Gradient norm",
        "Learning rate",
        "Training loss of the step",
    ] {
        let figure = between(&html, &format!("<h3>{title}</h3>"), "</figure>");
        assert!(figure.contains("<title id=") && figure.contains("<desc id="), "{figure}");
        assert!(figure.contains("class=\"line\""), "{figure}");
    }
    // rsp takes two gradients a step, so that the comparison by cost says something
    assert!(html.contains("by cost</h3>"));
    let trace = between(&html, "<h3>Hessian trace</h3>", "</figure>");
    assert_eq!(
        (trace.matches("class=\"band\"").count(), trace.matches("class=\"whisker\"").count()),
        (2, 6),
        "{trace}"
    );
    for (file, run) in [(&a, "first"), (&b, "second")] {
        let config = String::from_utf8(bytes(&file.join("config.toml"))).expect("UTF-8");
        let shown = between(&html, &format!("All settings of {run}</summary>"), "</details>");
        for line in config.lines().filter(|l| !l.contains('"')) {
            assert!(shown.contains(line), "{line}: {shown}");
        }
    }
    // the same bits again
    assert_eq!(page(&room.path("again.html"), &[&a, &b]).0, html);
}

#[test]
fn hostile_text_stays_text() {
    let room = Room::new();
    let run = room.path("<img src=x onerror=alert(1)>\"'&\u{202e}");
    fake_run(&run, 3);
    let config = "optimizer = \"</pre></script><script>alert(2)</script>\"\nlr = 1.0\n\"<b>\" = 1\n";
    std::fs::write(run.join("config.toml"), config).expect("config.toml");
    let (other, study) = (room.path("other"), room.path("study"));
    fake_run(&other, 3);
    fake_study(&study, "\"><script>alert(3)</script><svg/onload=alert(4)>", "plot.svg");
    let metrics = other.join("metrics");
    std::fs::create_dir(&metrics).expect("a folder");
    let measured = object!({"measure": "\"><script>alert(5)</script>", "value": 1.0, "ci95": [0.5, 1.5],
        "data": "' onload='alert(6)", "stopped_by": "\" onload=\"alert(7)"});
    std::fs::write(metrics.join("a\"<i>.json"), measured.to_string()).expect("written");
    let out = room.path("r.html");
    let words =
        ["--title", "\"'</title><script>alert(8)</script>", "--note", "</p>\"'<script>alert(9)</script>\n\u{2066}"];
    let done = told(&out, &[&run, &other, &study], &words);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let html = String::from_utf8(bytes(&out)).expect("UTF-8");
    assert_self_contained(&html);
    for never in ["<img src=x", "<svg/onload", "</script", "<b>", "<i>", "\u{202e}", "\u{2066}", "\" onload"] {
        assert!(!html.contains(never), "{never}");
    }
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;&quot;'&amp;\u{fffd}"), "the name of the run");
    for shown in (2..=5).chain(8..=9).map(|i| format!("&lt;script&gt;alert({i})")).chain(["&lt;b&gt;".into()]) {
        assert!(shown.contains("alert(4)") || html.contains(&shown), "{shown}");
    }
    // tags close: as many as open
    for tag in ["table", "div", "section", "figure", "svg", "g", "details", "pre", "title", "desc", "label"] {
        let open = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn tables_and_figures_of_a_reproduction_are_within_the_page() {
    let room = Room::new();
    let (study, started) = (room.path("study"), room.path("started"));
    fake_study(&study, "of it", "plot.svg");
    fake_study(&started, "", "plot.svg");
    std::fs::remove_file(started.join("results.json")).expect("removed");
    let (html, contents) = page(&room.path("r.html"), &[&study, &started]);
    assert_self_contained(&html);
    assert!(
        html.contains("<caption><span>Caption of it</span></caption>")
            && html.contains("<td data-head=\"of it\">x</td>"),
        "{html}"
    );
    // base64 of `<svg xmlns=`
    assert!(html.contains("src=\"data:image/svg+xml;base64,PHN2ZyB4bWxucz0") && html.contains("alt=\"Figure of it\""));
    let entry = &contents["studies"];
    assert_eq!(
        (&entry[0]["tables"], &entry[0]["figures"], &entry[0]["finished"]),
        (&1.into(), &1.into(), &true.into())
    );
    assert_eq!(entry[1]["finished"], false);
    assert!(html.contains("In progress"));
}

#[test]
fn long_journals_are_thinned_without_losing_a_spike() {
    let room = Room::new();
    let run = room.path("long");
    fake_run(&run, 5000);
    let (html, _) = page(&room.path("r.html"), &[&run]);
    let figure = between(&html, "<h3>Training loss of the step</h3>", "</figure>");
    let path = between(figure, "class=\"line\"", ">");
    let points = path.matches(['M', 'L']).count();
    assert!((200..=400).contains(&points), "{points} points");
    assert!(
        figure.contains("and 88.5, ") && figure.contains("of 5000 points"),
        "{}",
        between(figure, "<desc", "</desc>")
    );
    assert!(html.len() < 200_000, "{} bytes", html.len());
}

#[test]
fn a_run_in_progress_is_shown_so_far() {
    let room = Room::new();
    let run = room.path("run");
    fake_run(&run, 4);
    std::fs::remove_file(run.join("summary.json")).expect("removed");
    let mut journal = String::from_utf8(bytes(&run.join("metrics.jsonl"))).expect("UTF-8");
    journal.push_str("{\"kind\":\"epoch\",\"epo");
    std::fs::write(run.join("metrics.jsonl"), &journal).expect("metrics.jsonl");
    let (html, contents) = page(&room.path("r.html"), &[&run]);
    assert!(html.contains("in progress <small>at step 4"), "{html}");
    assert!(html.contains("81.25\u{a0}%"));
    assert_eq!(contents["runs"][0]["finished"], false);
    // in the middle, or of a run that ended, the same line is damage
    std::fs::write(run.join("metrics.jsonl"), format!("{journal}\n")).expect("metrics.jsonl");
    assert!(refused(&room, &[&run], 1).contains("metrics.jsonl is damaged in line 7"));
}

#[test]
fn runs_of_the_same_folder_name_are_told_apart() {
    let room = Room::new();
    let (a, b) = (room.path("a/run"), room.path("b/run"));
    fake_run(&a, 2);
    fake_run(&b, 2);
    let (html, contents) = page(&room.path("r.html"), &[&a, &b]);
    assert_eq!((&contents["runs"][0]["name"], &contents["runs"][1]["name"]), (&"a/run".into(), &"b/run".into()));
    assert!(
        html.contains("a/run</th>")
            && html.contains("b/run</th>")
            && html.contains("Nothing: the settings are the same")
    );
    let twice = room.path("a/../a/run");
    assert!(refused(&room, &[&a, &twice], 2).contains("named twice"));
}

#[test]
fn missing_and_damaged_files_are_named_and_the_old_page_stays() {
    let room = Room::new();
    let run = room.path("run");
    let fresh = || fake_run(&run, 2);
    fresh();
    let out = room.path("r.html");
    let (html, _) = page(&out, &[&run]);
    for (file, content, status) in [
        ("summary.json", Some("{\"dataset\":"), 1),
        ("summary.json", Some("{}"), 1),
        ("config.toml", Some("lr = = 1"), 1),
        ("metrics.jsonl", Some("{\"kind\":\"epoch\",\"step\":1}\n[]\n"), 1),
        ("metrics.jsonl", Some("{\"kind\":\"epoch\",\"step\":\"x\"}\n"), 1),
        ("metrics.jsonl", None, 1),
        ("config.toml", None, 2),
    ] {
        fresh();
        match content {
            Some(text) => std::fs::write(run.join(file), text).expect("written"),
            None => std::fs::remove_file(run.join(file)).expect("removed"),
        }
        let error = refused(&room, &[&run], status);
        assert!(error.contains(file) && error.contains(&*run.to_string_lossy()), "{file}: {error}");
        assert_eq!(report(&out, &[&run]).status.code(), Some(status));
    }
    assert_eq!(bytes(&out), html.as_bytes());

    let study = room.path("study");
    for (file, content) in [("results.json", "{"), ("study.json", "[]"), ("plot.svg", "<svg>half")] {
        fake_study(&study, "", "plot.svg");
        std::fs::write(study.join(file), content).expect("written");
        assert!(refused(&room, &[&study], 1).contains(file), "{file}");
    }
    for figure in ["../plot.svg", "/etc/hostname", "absent.svg", ""] {
        fake_study(&study, "", figure);
        let error = refused(&room, &[&study], 1);
        assert!(
            error.contains(if figure == "absent.svg" { "absent.svg" } else { "results.json is damaged" }),
            "{error}"
        );
    }
    fresh();
    assert!(String::from_utf8_lossy(&report(&room.path("run/config.toml"), &[&run]).stderr).contains("--out"));
    assert!(bytes(&run.join("config.toml")).starts_with(b"# flat-train"), "the config was written over");
}

/// A headless browser on the PATH.
pub fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

/// Whole numbers that a script finds in a page: `d` is its document, `e` the element at the root.
pub fn laid_out(browser: &Path, room: &Room, html: &str, width: u32, script: &str) -> Vec<u32> {
    let quoted = html.replace('&', "&amp;").replace('"', "&quot;");
    let wrapper = format!(
        "<!DOCTYPE html><body><iframe style=\"width:{width}px;height:900px;border:0\" srcdoc=\"{quoted}\"></iframe><script>\
         addEventListener('load', () => {{ const d = document.querySelector('iframe').contentDocument, e = d.documentElement; \
         const found = {script}; document.body.innerHTML = `<p id=\"found\">${{found.map(Math.round).join(' ')}}</p>`; }});\
         </script></body>"
    );
    let file = room.path(&format!("wrapper-{width}.html"));
    std::fs::write(&file, wrapper).expect("written");
    let out = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000", "--virtual-time-budget=5000"])
        .arg("--dump-dom")
        .arg(format!("--user-data-dir={}", room.path("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&out.stdout).into_owned();
    let found = between(&dom, "<p id=\"found\">", "</p>").trim_start_matches("<p id=\"found\">");
    found.split(' ').map(|n| n.parse().expect("a number")).collect()
}

#[test]
fn a_browser_lays_the_page_out_on_a_phone_and_on_a_desk_without_scrolling_sideways() {
    let Some(browser) = browser() else {
        println!("skipped: no chromium on the PATH");
        return;
    };
    let room = Room::new();
    let (run, study) =
        (room.path("a-run-whose-name-is-longer-than-any-telephone-is-wide-and-has-no-blank-in-it"), room.path("study"));
    fake_run(&run, 500);
    let others: Vec<PathBuf> = (0..9).map(|i| room.path(&format!("other-{i}"))).collect();
    others.iter().for_each(|other| fake_run(other, 20));
    fake_study(&study, &"wide_".repeat(60), "plot.svg");
    let mut folders: Vec<&Path> = vec![&run, &study];
    folders.extend(others.iter().map(PathBuf::as_path));
    let (html, _) = page(&room.path("r.html"), &folders);
    for width in [390, 1280] {
        let script = "[e.scrollWidth, e.clientWidth, d.querySelectorAll('svg.chart').length, [...d.querySelectorAll('.scroll')]\
             .filter(s => s.scrollWidth > s.clientWidth).length]";
        let numbers = laid_out(&browser, &room, &html, width, script);
        println!("{width} px: scroll width, client width, charts, boxes that scroll within: {numbers:?}");
        // a bar for scrolling downwards may take some of the width
        assert!((width - 20..=width).contains(&numbers[1]), "{numbers:?}");
        assert!(numbers[0] <= numbers[1], "the page scrolls sideways at {width} px: {numbers:?}");
        assert!(numbers[2] >= 6 && numbers[3] >= 1, "{numbers:?}");
    }
}

#[test]
fn a_landscape_of_a_run_is_kept_in_it_and_shown() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 4 --out {}", out.display()));
    let slice = format!("landscape --checkpoint {} --points 3 --limit 64", out.display());
    let said = fails(&format!("{slice} --no-save"), 2);
    assert!(said.contains("--out") && said.contains("--no-save"), "{said}");
    let printed = json(&slice);
    let kept = std::fs::read(out.join("metrics/landscape.json")).expect("what was printed is kept");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&kept).expect("JSON"), printed);
    assert!(
        ["landscape.csv", "loss.svg", "accuracy.svg"].iter().all(|f| out.join("metrics/landscape").join(f).is_file())
    );
    let page = room.path("page.html");
    json(&format!("report {} --out {}", out.display(), page.display()));
    let text = std::fs::read_to_string(&page).expect("the page");
    for caption in ["landscape: loss", "landscape: accuracy"] {
        assert!(text.contains(&format!("alt=\"{caption}\"")), "{caption} is not shown");
    }
    assert_eq!(text.matches("src=\"data:image/svg+xml;base64,").count(), 2);
    let said = fails("landscape --checkpoint models/sharp.safetensors --dataset mnist --points 3", 2);
    assert!(said.contains("--out"), "{said}");
}

#[test]
fn a_kept_study_is_shown_with_its_prose() {
    let room = Room::new();
    for (study, said) in [("theory", "Choice of the constants"), ("tiny-subspace", "Dom-SGD")] {
        let folder = top().join("docs/results").join(study);
        let (html, _) = page(&room.path(&format!("{study}.html")), &[&folder]);
        let markdown = std::fs::read_to_string(folder.join("results.md")).expect("the page of the study");
        assert!(html.contains(said) && !html.contains("](") && !html.contains("\n## "), "{study}");
        let count = |start: &str| markdown.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(html.matches("<figure class=\"plot\">").count(), count("!["), "{study}");
        assert_eq!(html.matches("<h3>").count(), count("## "), "{study}");
        assert_eq!(html.matches("<table>").count(), count("|---"), "{study}");
    }
}
