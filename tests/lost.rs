//! A run is not lost: whoever stops reading, hangs up, asks twice, moves its data or takes its files, what was done is kept or
//! the error says what is gone.

use crate::tool::{Room, SMALL, bytes, command, fails, json, last_checkpoint, run, top};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Far longer than any test.
const ENDLESS: &str = "--steps 10000000 --log-steps --eval-every 0 --checkpoint-every 50";

fn send(signal: &str, to: &Child) {
    let sent = Command::new("kill").args([signal, &to.id().to_string()]).status();
    assert!(sent.expect("kill runs").success(), "the run ended before {signal}");
}

/// Waits until the run has its first checkpoint, which may be that of its beginning.
fn await_beginning(out: &Path) {
    let begun = Instant::now();
    while last_checkpoint(out).is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the run has a checkpoint beyond its beginning.
fn await_checkpoint(out: &Path, child: &mut Child) {
    let begun = Instant::now();
    while last_checkpoint(out).is_none_or(|step| step == 0) {
        assert!(child.try_wait().expect("a status").is_none(), "the run ended before it could be stopped");
        assert!(begun.elapsed() < Duration::from_secs(60), "the run does not move");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for its end, no longer than `most`.
fn await_end(child: &mut Child, most: Duration) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return status;
        }
        if begun.elapsed() > most {
            let _ = child.kill();
            panic!("it did not end within {most:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

const SOON: Duration = Duration::from_secs(20);

/// The run was stopped with status 130, and goes on where it was.
fn assert_saved(status: ExitStatus, out: &Path, what: &str) {
    assert_eq!(status.code(), Some(130), "{what}");
    let step = last_checkpoint(out).unwrap_or_default();
    assert!(step > 0, "{what}: no checkpoint");
    let steps = json(&format!("train --resume {} --steps {}", out.display(), step + 3))["steps"].as_u64();
    assert_eq!(steps, Some(step + 3), "{what}");
}

/// Starts a script of the shell, in which `$0` is the tool.
fn shell(script: &str) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_flat-train")]).current_dir(top()).stdin(Stdio::null());
    shell.env("FLAT_DATA_DIR", top().join("data")).stdout(Stdio::null()).spawn().expect("sh starts")
}

#[test]
fn a_run_whose_news_cannot_be_written_is_stopped_with_a_checkpoint() {
    let room = Room::new();
    for (name, redirect) in [("closed", "2>&-"), ("full", "2>/dev/full")] {
        let out = room.path(name);
        let mut child = shell(&format!("exec \"$0\" {SMALL} {ENDLESS} --out {} {redirect}", out.display()));
        await_checkpoint(&out, &mut child);
        send("-INT", &child);
        assert_saved(await_end(&mut child, SOON), &out, name);
    }
}

#[test]
fn a_run_whose_first_line_alone_is_read_is_stopped_with_a_checkpoint() {
    let room = Room::new();
    let (out, pid, status) = (room.path("run"), room.path("pid"), room.path("status"));
    let tool = format!("\"$0\" {SMALL} {ENDLESS} --out {} 2>&1", out.display());
    let told = format!("echo $! > {}; wait $!; echo $? > {}", pid.display(), status.display());
    let mut child = shell(&format!("{{ {tool} & {told}; }} | head -n 1"));
    await_checkpoint(&out, &mut child);
    let text = |path: &Path| String::from_utf8(bytes(path)).expect("text").trim().to_string();
    let killed = Command::new("kill").args(["-TERM", &text(&pid)]).status();
    assert!(killed.expect("kill runs").success(), "it ended before the signal");
    await_end(&mut child, SOON);
    assert_eq!(text(&status), "130");
    assert!(last_checkpoint(&out).is_some_and(|step| step > 0));
}

#[test]
fn a_run_whose_reader_dies_with_the_signal_is_stopped_with_a_checkpoint_and_another_ends_as_it_would() {
    let room = Room::new();
    let (cut, whole) = (room.path("cut"), room.path("whole"));
    let mut child = command(&format!("{SMALL} {ENDLESS} --out {}", cut.display()));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("flat-train starts");
    await_checkpoint(&cut, &mut child);
    drop(child.stderr.take());
    send("-INT", &child);
    assert_saved(await_end(&mut child, SOON), &cut, "tee");

    // neither news nor the result finds a reader
    let mut child =
        command(&format!("{SMALL} --steps 5 --lr 1e30 --momentum 0 --schedule constant --out {}", whole.display()));
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("flat-train starts");
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(await_end(&mut child, SOON).code(), Some(3), "its status is that of what it is");
    assert!(whole.join("summary.json").is_file());
}

#[cfg(target_os = "linux")]
mod terminal {
    use super::*;
    use std::ffi::{CStr, c_char, c_int};
    use std::fs::{File, OpenOptions};
    use std::os::fd::{AsRawFd, FromRawFd};

    unsafe extern "C" {
        fn posix_openpt(flags: c_int) -> c_int;
        fn grantpt(fd: c_int) -> c_int;
        fn unlockpt(fd: c_int) -> c_int;
        fn ptsname(fd: c_int) -> *const c_char;
    }

    /// The two ends of a new terminal.
    fn open() -> (File, File) {
        // O_RDWR, O_NOCTTY and O_CLOEXEC: a program that inherits this end keeps the terminal open
        const READ_AND_WRITE_WITHOUT_CONTROL: c_int = 0o2_000_402;
        // SAFETY: the C library's own way, on a descriptor that nobody else has
        let (master, slave) = unsafe {
            let fd = posix_openpt(READ_AND_WRITE_WITHOUT_CONTROL);
            assert!(fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0, "a terminal");
            (File::from_raw_fd(fd), CStr::from_ptr(ptsname(fd)).to_str().expect("a path").to_string())
        };
        assert!(master.as_raw_fd() >= 0);
        (master, OpenOptions::new().read(true).write(true).open(slave).expect("the other end"))
    }

    /// Runs in a session of its own, whose terminal closes once there is a checkpoint.
    fn hang_up(before: &[&str], out: &Path, news: impl Fn(&File) -> Stdio) -> Child {
        let (master, slave) = open();
        // these tests themselves may run under nohup, which their children inherit
        let mut child = Command::new("env");
        child.args(["--default-signal=HUP", "setsid", "--ctty"]).args(before).arg(env!("CARGO_BIN_EXE_flat-train"));
        child.args(format!("{SMALL} {ENDLESS} --out {}", out.display()).split_whitespace());
        child.current_dir(top()).env("FLAT_DATA_DIR", top().join("data"));
        child.stdin(slave.try_clone().expect("the other end")).stdout(news(&slave)).stderr(news(&slave));
        let mut child = child.spawn().expect("setsid starts");
        drop(slave);
        await_checkpoint(out, &mut child);
        drop(master);
        child
    }

    #[test]
    fn a_run_whose_terminal_closes_is_stopped_with_a_checkpoint_but_goes_on_under_nohup() {
        let room = Room::new();
        let out = room.path("run");
        let mut child = hang_up(&[], &out, |terminal| terminal.try_clone().expect("the other end").into());
        assert_saved(await_end(&mut child, SOON), &out, "a closed terminal");
        let out = room.path("nohup");
        let mut child = hang_up(&["nohup"], &out, |_| Stdio::null());
        let before = last_checkpoint(&out);
        let begun = Instant::now();
        while last_checkpoint(&out) == before {
            assert!(child.try_wait().expect("a status").is_none(), "nohup: it ended with its terminal");
            assert!(begun.elapsed() < SOON, "nohup: it does not move");
            std::thread::sleep(Duration::from_millis(5));
        }
        send("-TERM", &child);
        assert_saved(await_end(&mut child, SOON), &out, "nohup");
    }
}

/// A run whose single step takes long enough to be interrupted within.
const SLOW_STEP: &str = "train --model lenet --full-batch --threads 1 --test-limit 64 --trace-probes 0 --log-steps";

#[test]
fn sigterm_ends_a_run_within_seconds_in_the_middle_of_a_full_batch_however_often_it_comes() {
    let room = Room::new();
    let out = room.path("run");
    let mut child = command(&format!("{SLOW_STEP} --steps 3 --out {}", out.display()));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("flat-train starts");
    await_beginning(&out);
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    for _ in 0..3 {
        send("-TERM", &child);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(await_end(&mut child, SOON).code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(last_checkpoint(&out), Some(0), "the step was given up");
}

#[test]
fn a_run_stopped_within_a_step_goes_on_to_the_same_weights() {
    let room = Room::new();
    for (i, flags) in [
        "--model lenet --full-batch --train-limit 600 --steps 4 --optimizer vasso --base adamw",
        "--model mlp --hidden 8 --loss mse --train-limit 600 --batch-size 100 --steps 9 --optimizer dom-sgd --subspace-k 3 \
         --subspace-every 2",
    ]
    .into_iter()
    .enumerate()
    {
        let (whole, cut) = (room.path(&format!("whole{i}")), room.path(&format!("cut{i}")));
        let words = format!("train --test-limit 64 --trace-probes 0 --threads 1 --checkpoint-every 0 {flags}");
        let begun = Instant::now();
        json(&format!("{words} --out {}", whole.display()));
        // about a sixth of the run after its beginning, again and again, until it is done
        let pause = begun.elapsed() / 6;
        let mut child = command(&format!("{words} --out {}", cut.display()));
        let mut sittings = 0;
        loop {
            let mut sitting = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("flat-train starts");
            std::thread::sleep(pause * (2 + sittings % 5));
            let _ = Command::new("kill").args(["-TERM", &sitting.id().to_string()]).status();
            let status = await_end(&mut sitting, SOON);
            if status.code() == Some(0) {
                break;
            }
            assert!(matches!(status.code(), Some(130) | None), "{flags}: {status}");
            sittings += 1;
            assert!(sittings < 60, "{flags}: it does not come to an end");
            // a signal before the run was there is SIGTERM as any process takes it
            child = match cut.join("config.toml").exists() {
                true => command(&format!("train --resume {}", cut.display())),
                false => command(&format!("{words} --out {}", cut.display())),
            };
        }
        assert!(bytes(&whole.join("model.safetensors")) == bytes(&cut.join("model.safetensors")), "{flags}, {sittings} sittings");
    }
}

#[test]
fn a_second_interrupt_says_what_is_left_and_is_no_130() {
    let room = Room::new();
    let out = room.path("run");
    // one pass over so large a batch is not asked within
    let words =
        "train --model mlp --hidden 2048,2048 --batch-size 8192 --threads 1 --test-limit 64 --trace-probes 0 --steps 3";
    let mut child = command(&format!("{words} --out {}", out.display()));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("flat-train starts");
    await_beginning(&out);
    std::thread::sleep(Duration::from_millis(100));
    send("-INT", &child);
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("once more aborts")));
    std::thread::sleep(Duration::from_millis(250));
    send("-INT", &child);
    let rest: Vec<String> = said.collect();
    assert_eq!(await_end(&mut child, SOON).code(), Some(137), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("aborted: the checkpoint after step 0")), "{rest:?}");
}

#[test]
fn a_run_that_lost_its_checkpoints_is_refused_and_keeps_what_it_has() {
    let room = Room::new();
    let out = room.path("run");
    json(&format!("{SMALL} --steps 20 --checkpoint-every 10 --out {}", out.display()));
    std::fs::remove_dir_all(out.join("checkpoints")).expect("removed");
    let journal = bytes(&out.join("metrics.jsonl"));
    for without in ["nothing", "summary.json", "model.safetensors"] {
        let _ = std::fs::remove_file(out.join(without));
        let said = fails(&format!("train --resume {}", out.display()), 2);
        assert!(said.contains("checkpoints are gone") && said.contains("--config"), "{said}");
        assert!(bytes(&out.join("metrics.jsonl")) == journal, "without {without}: the journal was touched");
    }
    // one that did nothing yet lost nothing
    std::fs::remove_file(out.join("metrics.jsonl")).expect("removed");
    assert_eq!(json(&format!("train --resume {}", out.display()))["steps"], 20);
}

#[test]
fn a_run_without_its_journal_goes_on_and_says_so_once() {
    let room = Room::new();
    let (whole, cut) = (room.path("whole"), room.path("cut"));
    let words = format!("{SMALL} --steps 40 --checkpoint-every 10 --log-steps");
    json(&format!("{words} --out {}", whole.display()));
    json(&format!("{words} --pause-after 20 --out {}", cut.display()));
    std::fs::remove_file(cut.join("metrics.jsonl")).expect("removed");
    let resume = format!("train --resume {} --pause-after 30", cut.display());
    let out = run(&resume);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("warning") && said.contains("metrics.jsonl is"), "{said}");
    let out = run(&resume.replace(" --pause-after 30", ""));
    assert!(out.status.success() && !String::from_utf8_lossy(&out.stderr).contains("metrics.jsonl is"));
    assert!(bytes(&whole.join("model.safetensors")) == bytes(&cut.join("model.safetensors")));
    let steps: Vec<u64> =
        crate::tool::journal(&cut).iter().filter(|r| r["kind"] == "step").filter_map(|r| r["step"].as_u64()).collect();
    assert_eq!(steps, (21..=40).collect::<Vec<_>>());
}

#[test]
fn a_run_that_stops_where_steps_are_skipped_keeps_its_last_good_checkpoint_and_says_which() {
    let room = Room::new();
    let out = room.path("run");
    let words = format!("{SMALL} --steps 10000000 --schedule step --step-size 20 --gamma 1e45 --eval-every 0");
    // what comes after step 20 gives no checkpoint; a hundred skipped steps in a row would end it
    let mut child = command(&format!("{words} --keep-checkpoints 1 --checkpoint-every 1 --out {}", out.display()));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("flat-train starts");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("skipped")), "no step was skipped");
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let rest: Vec<String> = said.collect();
    let status = await_end(&mut child, SOON);
    let kept = last_checkpoint(&out);
    assert_eq!(kept, Some(20), "{rest:?}");
    if status.code() == Some(130) {
        assert!(rest.iter().any(|line| line.contains("the last good one stays: that after step 20")), "{rest:?}");
    }
    let said = run(&format!("train --resume {} --steps 20", out.display()));
    assert!(!String::from_utf8_lossy(&said.stderr).contains("not finite"), "it loads");
}

#[test]
fn a_run_whose_data_were_moved_goes_on_where_they_are_now() {
    let room = Room::new();
    let (here, there, out) = (room.path("here"), room.path("there"), room.path("run"));
    std::fs::create_dir(&here).expect("a folder");
    for file in std::fs::read_dir(top().join("data/mnist")).expect("MNIST").filter_map(Result::ok) {
        std::fs::copy(file.path(), here.join(file.file_name())).expect("copied");
    }
    let words = format!("{SMALL} --steps 20 --ema 0.9 --data-dir {} --out {}", here.display(), out.display());
    json(&format!("{words} --pause-after 10"));
    std::fs::rename(&here, &there).expect("moved");
    let said = fails(&format!("train --resume {}", out.display()), 1);
    assert!(said.contains("--data-dir"), "{said}");
    json(&format!("eval --checkpoint {} --data-dir {}", out.display(), there.display()));
    assert_eq!(
        json(&format!("train --resume {} --data-dir {} --pause-after 15", out.display(), there.display()))["state"],
        "paused"
    );
    // from now on it knows
    assert_eq!(json(&format!("train --resume {}", out.display()))["steps"], 20);
}

#[test]
fn so_many_threads_that_they_would_never_start_are_a_warning() {
    let room = Room::new();
    for (i, (flag, variable)) in [("--threads 1024", None), ("", Some("100000"))].into_iter().enumerate() {
        let mut child =
            command(&format!("{SMALL} --steps 2 {flag} --quiet --out {}", room.path(&format!("run{i}")).display()));
        variable.map(|n| child.env("RAYON_NUM_THREADS", n));
        let begun = Instant::now();
        let out = child.output().expect("flat-train starts");
        let said = String::from_utf8_lossy(&out.stderr);
        let name = variable.map_or(flag.to_string(), |n| format!("RAYON_NUM_THREADS={n}"));
        assert!(out.status.success() && said.contains(&format!("warning: {name}: this machine has")), "{said}");
        assert!(begun.elapsed() < SOON, "{name}");
    }
}

#[test]
fn numbers_that_cannot_be_kept_are_refused_by_their_flag_before_anything_is_written() {
    let room = Room::new();
    let out = room.path("run");
    for (flag, value) in
        [("steps", "18446744073709551615"), ("steps", "99999999999999999999"), ("pause-after", "x"), ("epochs", "-1")]
    {
        let said = fails(&format!("{SMALL} --{flag} {value} --out {}", out.display()), 2);
        assert!(said.contains(&format!("--{flag}")), "{said}");
        assert!(!out.exists(), "{flag}");
    }
}

#[test]
fn a_file_that_is_not_finite_is_said_to_be_that_and_a_name_cannot_command_the_terminal() {
    let room = Room::new();
    let file = room.path("bad\u{1b}[2J.safetensors");
    let mut weights = bytes(&top().join("models/sharp.safetensors"));
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, weights).expect("written");
    let mut eval = command("eval --dataset mnist --limit 4 --checkpoint");
    let out = eval.arg(&file).output().expect("flat-train starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("not finite") && !said.contains("another model"), "{said}");
    assert!(said.contains("bad\\u{1b}[2J") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn a_run_in_progress_is_evaluated_whatever_it_deletes_meanwhile() {
    let room = Room::new();
    let out = room.path("run");
    let flags = ENDLESS.replace("--checkpoint-every 50", "--checkpoint-every 1 --keep-checkpoints 1");
    let mut child = command(&format!("{SMALL} {flags} --threads 1 --out {}", out.display()));
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("flat-train starts");
    await_checkpoint(&out, &mut child);
    for _ in 0..12 {
        json(&format!("eval --limit 1 --threads 1 --checkpoint {}", out.display()));
    }
    send("-KILL", &child);
    await_end(&mut child, SOON);
}
