//! `-v` and `FLAT_LOG`: events on standard error, chosen by part and level, which leave results and pictures alone.

use crate::tool::{Room, SMALL, command, run};
use std::process::Output;

/// The lines of an output's stderr that are events.
fn events(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_event = |line: &&str| [" INFO ", " DEBUG ", "TRACE "].iter().any(|level| line.contains(level));
    text.lines().filter(is_event).map(String::from).collect()
}

/// Whether an event is of a part of the program.
fn is_of(event: &str, part: &str) -> bool {
    event.split_whitespace().any(|word| word.starts_with(part))
}

#[test]
fn v_tells_what_is_done_and_leaves_the_result_as_it_is() {
    let room = Room::new();
    let out = room.path("run");
    let told = run(&format!("{SMALL} --steps 4 --quiet -v --out {}", out.display()));
    let lines = events(&told);
    for (part, what) in [
        ("flat_train", "thread pools threads="),
        ("flat_data", "data set read set=mnist train=60000 test=10000"),
        ("flat_run", "checkpoint written step=4"),
        ("flat_run", "evaluation ended what=\"test\" loss="),
    ] {
        assert!(lines.iter().any(|line| line.contains(what) && is_of(line, part)), "{part} {what}: {lines:#?}");
    }
    assert!(lines.iter().all(|line| line.contains(" INFO ")), "-v tells no choices: {lines:#?}");

    let eval = format!("eval --checkpoint {} --limit 256 --quiet --json", out.display());
    let (without, with) = (run(&eval), run(&format!("{eval} -vvv")));
    assert!(without.status.success() && with.status.success());
    assert_eq!(without.stdout, with.stdout);
    assert!(without.stderr.is_empty(), "nothing is told unasked: {}", String::from_utf8_lossy(&without.stderr));
    assert!(with.stderr.len() > 200 && String::from_utf8_lossy(&with.stderr).contains("TRACE"));
}

#[test]
fn vv_tells_the_kernels_that_were_chosen() {
    let room = Room::new();
    let words = "train --model lenet --channels 32 --train-limit 64 --test-limit 64 --batch-size 64 --trace-probes 0 \
                 --steps 1 --quiet -vv";
    let lines = events(&run(&format!("{words} --out {}", room.path("run").display())));
    let kernels: Vec<_> = lines.iter().filter(|line| line.contains("kernel chosen")).collect();
    assert!(kernels.iter().any(|line| line.contains("by 5x5") && line.contains("Winograd(Five)")), "{lines:#?}");
    let mut once = kernels.clone();
    once.dedup_by_key(|line| line.split("convolution=").last().map(String::from));
    assert_eq!(once.len(), kernels.len(), "each is told once");
}

#[test]
fn the_variable_chooses_parts_and_v_the_others() {
    let datasets = |variable: &str, flags: &str| {
        let out = command(&format!("eval --checkpoint missing {flags}")).env("FLAT_LOG", variable).output();
        out.expect("flat-train starts")
    };
    let room = Room::new();
    let out = room.path("run");
    let train = |variable: &str, flags: &str, out: &std::path::Path| {
        let words = format!("{SMALL} --steps 2 --quiet {flags} --out {}", out.display());
        let done = command(&words).env("FLAT_LOG", variable).output().expect("flat-train starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        events(&done)
    };
    let alone = train("flat_data=debug", "", &out);
    assert!(!alone.is_empty() && alone.iter().all(|line| is_of(line, "flat_data")), "{alone:#?}");
    let both = train("flat_data=off", "-v", &room.path("both"));
    assert!(!both.is_empty() && !both.iter().any(|line| is_of(line, "flat_data")), "{both:#?}");
    assert!(train("", "", &room.path("none")).is_empty());

    for bad in ["flat_run=loud", "verbose"] {
        let refused = datasets(bad, "");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!((refused.status.code(), told.lines().count()), (Some(2), 1), "{told}");
        assert!(told.contains(&format!("FLAT_LOG={bad}")) && told.contains("flat_run=debug"), "{told}");
    }
}

#[test]
fn a_sweep_tells_the_process_of_every_run() {
    let room = Room::new();
    let words = SMALL.replacen("train", "sweep", 1).replace(" --trace-probes 0", "");
    let words = format!("{words} --grid lr=0.05,0.1 --seeds 0..1 --validation 64 --steps 2 --quiet -v");
    let lines = events(&run(&format!("{words} --out {}", room.path("sweep").display())));
    for what in ["run started run=\"lr=0.05 seed 0\" pid=", "run ended run=\"lr=0.1 seed 0\" status=exit status: 0"] {
        assert!(lines.iter().any(|line| line.contains(what)), "{what}: {lines:#?}");
    }
}

/// Each event is a line of its own above the bars, and the live view shows none across its picture.
#[cfg(unix)]
#[test]
fn bars_and_the_live_view_stay_whole() {
    use crate::view::{Pane, endless};
    let room = Room::new();
    let words = format!("{SMALL} --steps 40 --eval-every 10 --ui bars -vv --out {}", room.path("bars").display());
    let Some(pane) = Pane::start(150, 50, &words) else { return };
    let picture = pane.assert_restored(0);
    let told: Vec<&str> = picture.lines().filter(|line| line.contains(" INFO ")).collect();
    assert!(told.len() > 3, "{picture}");
    for line in told {
        assert!(line.trim_start().starts_with(|c: char| c.is_ascii_digit()) && !line.contains("steps ["), "{picture}");
    }
    let Some(pane) = Pane::start(80, 24, &format!("{} -vvv", endless(&room.path("view")))) else { return };
    let picture = pane.awaits(&["q save and stop", " news ", "training ", "TRACE"]);
    let lines: Vec<&str> = picture.lines().collect();
    assert!(lines[0].starts_with("training ") && lines[23].starts_with("q save and stop"), "{picture}");
    for line in lines.iter().filter(|line| line.contains("TRACE")) {
        assert!(line.starts_with('\u{2502}') && line.ends_with('\u{2502}'), "{line} is not within the news\n{picture}");
    }
    pane.key("q");
    assert!(pane.assert_restored(130).contains("stopped; continue with"));
}
