//! The live view, driven in a terminal by tmux: what it shows at several sizes, its keys, and the terminal that it leaves.
//! Skipped where there is no tmux.
#![cfg(unix)]

use crate::tool::{Room, SMALL, json, last_checkpoint, tool, top};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A terminal of its own.
pub struct Pane {
    socket: String,
}

impl Pane {
    /// Starts the tool in a terminal of this size; `None` without tmux. The status of its end is shown after it.
    pub fn start(width: u16, height: u16, words: &str) -> Option<Self> {
        Self::start_with("", width, height, words)
    }

    /// The same with these words of the shell before the tool.
    pub fn start_with(before: &str, width: u16, height: u16, words: &str) -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let pane = Self { socket: format!("flat-{}-{count}", std::process::id()) };
        let script = format!(
            "export FLAT_DATA_DIR='{}' TERM=screen-256color; unset NO_COLOR; cd '{}'; {before} '{}' {words}; \
             echo status $?; stty -a | tr ' ;' '\\n\\n' | grep -x -e echo -e icanon; sleep 600",
            top().join("data").display(),
            top().display(),
            tool().display()
        );
        let (x, y) = (width.to_string(), height.to_string());
        match pane.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &x, "-y", &y, "sh", "-c", &script]) {
            Some(_) => Some(pane),
            None => {
                println!("skipped: no tmux");
                None
            }
        }
    }

    pub fn tmux(&self, words: &[&str]) -> Option<String> {
        let out = Command::new("tmux").args(["-L", &self.socket]).args(words).output().ok()?;
        assert!(out.status.success(), "tmux {words:?}: {}", String::from_utf8_lossy(&out.stderr));
        Some(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn picture(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap_or_default()
    }

    pub fn key(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Waits for a picture that has all of these.
    pub fn awaits(&self, texts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let picture = self.picture();
            if texts.iter().all(|text| picture.contains(text)) {
                return picture;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{texts:?} not in\n{picture}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The number of the tool's process.
    fn process(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]).unwrap_or_default();
        let found = Command::new("pgrep").args(["-P", shell.trim()]).output().expect("pgrep runs");
        String::from_utf8_lossy(&found.stdout).trim().to_string()
    }

    /// The terminal was given back: no other screen, a cursor, echo and lines.
    pub fn assert_restored(&self, status: i32) -> String {
        let picture = self.awaits(&[&format!("status {status}"), "echo", "icanon"]);
        let modes = self.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).unwrap_or_default();
        assert_eq!(modes.trim(), "0 1", "{picture}");
        picture
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

pub fn endless(out: &Path) -> String {
    let more = "--optimizer sam --steps 10000000 --eval-every 50 --checkpoint-every 0 --threads 1 --device cpu";
    format!(
        "{SMALL} {more} --flatness trace,lambda_max --flatness-every 200 --flatness-examples 64 --out {}",
        out.display()
    )
}

/// Longer than two pictures of the view.
const SETTLED: Duration = Duration::from_millis(500);

/// Step of the run in a picture.
fn step(picture: &str) -> u64 {
    let after = picture.split("step ").nth(1).and_then(|rest| rest.split(' ').next());
    after.and_then(|step| step.parse().ok()).unwrap_or_else(|| panic!("no step in\n{picture}"))
}

#[test]
fn a_run_is_shown_at_every_size_held_let_go_and_stopped_by_a_key() {
    let room = Room::new();
    let out = room.path("run");
    let Some(pane) = Pane::start(80, 24, &endless(&out)) else { return };
    let shown = ["training ", " loss ", " accuracy ", "evaluations/s", "lr 0.05", "q save and stop", "p pause", "news"];
    pane.awaits(&shown);
    pane.awaits(&["trace of the Hessian", "trace "]);
    pane.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    let picture = pane.awaits(&["largest eigenvalue", "trace of the Hessian", "p pause"]);
    assert_eq!(picture.lines().count(), 40, "{picture}");
    // crossterm takes a key that comes together with a change of size only with the next one
    std::thread::sleep(SETTLED);
    pane.key("p");
    let held = step(&pane.awaits(&["PAUSED"]));
    std::thread::sleep(Duration::from_millis(600));
    let still = step(&pane.picture());
    assert!(still <= held + 2, "from {held} to {still} while it was held");
    pane.key("p");
    let begun = Instant::now();
    while step(&pane.picture()) < still + 5 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not go on");
        std::thread::sleep(Duration::from_millis(50));
    }
    // too small for charts, and back
    pane.tmux(&["resize-window", "-x", "30", "-y", "8"]);
    pane.awaits(&["q save"]);
    pane.tmux(&["resize-window", "-x", "100", "-y", "30"]);
    pane.awaits(&["p pause", " accuracy "]);
    std::thread::sleep(SETTLED);
    pane.key("q");
    let picture = pane.assert_restored(130);
    assert!(picture.contains("epoch "), "the news are not there\n{picture}");
    let newest = last_checkpoint(&out).expect("a checkpoint");
    assert!(newest >= still + 5, "{newest}");
    let resumed = json(&format!("train --resume {} --steps {}", out.display(), newest + 2));
    assert_eq!(resumed["steps"], newest + 2);
}

/// The view at two sizes has these texts, also after a change of size; the key q ends the work.
fn shows(words: &str, texts: &[&str]) {
    for (width, height) in [(80, 24), (120, 40)] {
        let Some(pane) = Pane::start(width, height, &words.replace("SIZE", &width.to_string())) else { return };
        let picture = pane.awaits(&[texts, &["q save and stop", " news "]].concat());
        assert_eq!(picture.lines().count(), usize::from(height), "{picture}");
        pane.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        let begun = Instant::now();
        while pane.picture().lines().count() != 30 || !pane.picture().contains("q save and stop") {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", pane.picture());
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(SETTLED);
        pane.key("q");
        pane.assert_restored(130);
    }
}

#[test]
fn a_sweep_shows_its_cells_by_rank_with_their_runs() {
    let room = Room::new();
    let small = SMALL.replacen("train", "sweep", 1).replace(" --trace-probes 0", "");
    let sweep = format!("{small} --grid lr=0.01,0.05 --seeds 0..40 --validation 64 --steps 400 --jobs 2");
    let words = format!("{sweep} --out {}", room.path("sweep-SIZE").display());
    shows(&words, &["best so far: validation accuracy", "lr=0.05 ", "lr=0.01 ", " of 40, 1 running", " ± "]);
}

#[test]
fn a_long_trace_shows_how_its_interval_narrows() {
    let on = "--checkpoint models/sharp.safetensors --dataset mnist --split train --limit 500 --device cpu";
    shows(&format!("metrics trace {on} --probes 1000000"), &["/1000000 probes", " trace ", " ± "]);
    // once found, eigenvalues stay beside what is estimated after them
    shows(
        &format!("metrics all {on} --trace-probes 4 --top 3 --probes 1000000"),
        &[" eigenvalues ", "spectral density"],
    );
}

#[test]
fn a_reproduction_shows_the_cells_that_are_done() {
    let room = Room::new();
    let out = room.path("theory-SIZE");
    shows(&format!("reproduce theory --scale cpu --threads 1 --out {}", out.display()), &["cells done", "ends-d2-gd "]);
}

#[test]
fn a_terminal_is_given_back_after_sigterm_and_ctrl_c() {
    for how in ["TERM", "HUP", "C-c"] {
        let room = Room::new();
        let Some(pane) = Pane::start(80, 24, &endless(&room.path("run"))) else { return };
        pane.awaits(&["q save and stop", "training "]);
        if how == "C-c" {
            pane.key(how);
        } else {
            let sent = Command::new("kill").args([&format!("-{how}"), &pane.process()]).status();
            assert!(sent.expect("kill runs").success(), "{how}");
        }
        let picture = pane.assert_restored(130);
        assert!(!picture.contains("panicked"), "{how}: {picture}");
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_run_with_a_checkpoint() {
    let room = Room::new();
    let out = room.path("run");
    let Some(pane) = Pane::start(80, 24, &endless(&out)) else { return };
    pane.awaits(&["q save and stop", "training "]);
    let process = pane.process();
    drop(pane);
    let begun = Instant::now();
    let lives = || Command::new("kill").args(["-0", &process]).output().is_ok_and(|out| out.status.success());
    while lives() {
        assert!(begun.elapsed() < Duration::from_secs(30), "process {process} does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(last_checkpoint(&out).is_some_and(|step| step > 0));
}

#[test]
fn pipes_dumb_terminals_and_no_color_have_no_view() {
    let room = Room::new();
    for (i, set) in ["env TERM=dumb", "env NO_COLOR=1"].into_iter().enumerate() {
        let out = room.path(&format!("run-{i}"));
        let words = format!("{SMALL} --epochs 1 --out {}", out.display());
        let Some(pane) = Pane::start_with(set, 80, 24, &words) else { return };
        let picture = pane.assert_restored(0);
        assert!(picture.contains("epoch 1"), "{set}: {picture}");
    }
    // a process in the background would be stopped where it takes the terminal
    let out = room.path("background");
    let words = format!(
        "{SMALL} --steps 20000 --eval-every 0 --checkpoint-every 10000 --threads 1 --out {} & wait $!",
        out.display()
    );
    let Some(pane) = Pane::start_with("set -m;", 80, 24, &words) else { return };
    let mut seen = String::new();
    let begun = Instant::now();
    while !seen.contains("status 0") {
        seen = pane.picture();
        assert!(!seen.contains("q save"), "a view from the background\n{seen}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{seen}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = crate::tool::fails(&format!("{SMALL} --epochs 1 --ui tui"), 2);
    assert!(said.contains("--ui") && said.contains("terminal"), "{said}");
    assert!(crate::tool::fails("train --ui fancy", 2).contains("plain"));
}
