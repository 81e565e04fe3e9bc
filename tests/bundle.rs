//! The bundle for a bare GPU machine (`scripts/gpu-bundle`): its run survives failing, hanging and missing steps, goes on
//! where it stopped, and says what a machine lacks. The steps here are made up; the scripts around them are the bundle's.

use crate::tool::{Room, top};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A bundle unpacked, with steps of its own.
struct Bundle(Room);

impl Bundle {
    /// The scripts of the bundle; the machine is taken as it is.
    fn new(steps: &[(&str, &str)]) -> Self {
        let bundle = Self(Room::new());
        let home = bundle.home();
        std::fs::create_dir_all(home.join("steps")).expect("a folder");
        for entry in std::fs::read_dir(top().join("scripts/bundle")).expect("the bundle's scripts").flatten() {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), home.join(entry.file_name())).expect("a copy");
            }
        }
        bundle.script("machine", "echo '{\"card\":\"none at all\"}' >\"$1/machine.json\"");
        for (name, body) in steps {
            bundle.script(&format!("steps/{name}"), body);
        }
        let order: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
        std::fs::write(home.join("steps/order"), order.join("\n")).expect("the order");
        bundle
    }

    fn home(&self) -> PathBuf {
        self.0.path("home")
    }

    fn out(&self) -> PathBuf {
        self.0.path("out")
    }

    fn script(&self, name: &str, body: &str) {
        let path = self.home().join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\n{body}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn run_by(&self, flags: &str, with: impl Fn(&mut Command)) -> Output {
        let mut command = Command::new("bash");
        command.arg(self.home().join("run.sh")).arg("--out").arg(self.out()).args(flags.split_whitespace());
        command.env("MARK", self.0.path("mark")).env_remove("FLAT_BUNDLE_HOME");
        with(&mut command);
        command.output().expect("bash starts")
    }

    fn run(&self, flags: &str) -> Output {
        self.run_by(flags, |_| {})
    }

    /// The steps of the one JSON file.
    fn steps(&self) -> Vec<Value> {
        let mut files = std::fs::read_dir(self.out()).expect("results").flatten().map(|e| e.path());
        let file = files.find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("gpu-none-at-all-")));
        let text = std::fs::read(file.expect("one file for docs/results")).expect("the file");
        let whole: Value = serde_json::from_slice(&text).expect("JSON");
        whole["steps"].as_array().expect("steps").clone()
    }

    fn status(&self, name: &str) -> String {
        let step = self.steps().into_iter().find(|step| step["name"] == name);
        step.map_or_else(|| "absent".into(), |step| step["status"].as_str().expect("a status").into())
    }

    /// How often a step wrote its mark.
    fn marks(&self, name: &str) -> usize {
        let text = std::fs::read_to_string(self.0.path("mark")).unwrap_or_default();
        text.lines().filter(|line| *line == name).count()
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).into_owned()
}

const GOOD: &str = "echo good >>\"$MARK\"; echo '{\"x\": 1}'";
const BAD: &str = "echo bad >>\"$MARK\"; echo 'three \"wrong\" losses' >&2; exit 3";
const ABSENT: &str = "echo absent >>\"$MARK\"; echo 'no PyTorch here' >&2; exit 77";
const HANGING: &str = "echo hanging >>\"$MARK\"; sleep 300 & echo $! >\"$MARK.child\"; wait";
const LAST: &str = "echo last >>\"$MARK\"; echo '[]'";

#[test]
fn a_step_that_fails_hangs_or_lacks_something_says_so_and_the_others_run() {
    let steps = [("bad", BAD), ("hanging", HANGING), ("absent", ABSENT), ("good", GOOD), ("last", LAST)];
    let bundle = Bundle::new(&steps);
    let begun = Instant::now();
    // the limit is also that of the others, on a machine that may be busy
    let out = bundle.run("--limit 6");
    assert!(begun.elapsed() < Duration::from_secs(200), "the hanging step was waited for");
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let got: Vec<(String, String)> = bundle
        .steps()
        .iter()
        .map(|s| (s["status"].to_string().replace('"', ""), s["reason"].as_str().unwrap_or_default().into()))
        .collect();
    let expected = [
        ("failed", "exit status 3: three \"wrong\" losses"),
        ("hung", "stopped at its limit of 6 s"),
        ("skipped", "no PyTorch here"),
        ("passed", ""),
        ("passed", ""),
    ];
    assert_eq!(got, expected.map(|(status, why)| (status.to_string(), why.to_string())));
    assert_eq!(bundle.steps()[3]["result"]["x"], 1);
    // what the hanging step started is gone with it
    let child = std::fs::read_to_string(bundle.0.path("mark.child")).expect("a process");
    let gone = || {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    };
    let waited = Instant::now();
    while !gone() && waited.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(), "process {child} outlived its step");
}

#[test]
fn a_step_that_fails_without_a_word_says_what_room_the_disk_has() {
    let bundle = Bundle::new(&[("silent", "exit 4")]);
    let out = bundle.run("");
    let reason = bundle.steps()[0]["reason"].as_str().expect("a reason").to_string();
    assert!(
        reason.starts_with("exit status 4: without a word; ") && reason.ends_with(" MiB are free"),
        "{reason}: {}",
        said(&out)
    );
}

#[test]
fn a_second_run_keeps_what_ended_and_tries_again_what_did_not() {
    let bundle = Bundle::new(&[("good", GOOD), ("bad", BAD), ("absent", ABSENT), ("hanging", HANGING)]);
    bundle.run("good bad absent");
    bundle.run("--limit 1 hanging");
    assert_eq!((bundle.status("absent"), bundle.status("hanging")), ("skipped".into(), "hung".into()));
    bundle.script("steps/absent", LAST);
    bundle.script("steps/hanging", LAST);
    let out = bundle.run("");
    // the failure stays
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert_eq!((bundle.marks("good"), bundle.marks("bad"), bundle.marks("last")), (1, 1, 2), "{}", said(&out));
    assert_eq!((bundle.status("absent"), bundle.status("hanging")), ("passed".into(), "passed".into()));
    // a step that is named is run anew, and no other
    bundle.script("steps/bad", GOOD);
    let out = bundle.run("bad");
    assert_eq!((out.status.code(), bundle.marks("good"), bundle.marks("last")), (Some(0), 2, 2), "{}", said(&out));
}

#[test]
fn a_part_that_hangs_leaves_the_others_and_is_tried_again() {
    let step = ". \"$FLAT_BUNDLE_HOME/parts.sh\"
part one 60 sh -c 'echo one >>\"$MARK\"; echo \"{}\"'
part two ${LIMIT:-60} sh -c 'echo two >>\"$MARK\"; [ -z \"$LIMIT\" ] || sleep 300'
part three 60 sh -c 'echo three >>\"$MARK\"'
conclude";
    let bundle = Bundle::new(&[("parts", step)]);
    let out = bundle.run_by("", |command| _ = command.env("LIMIT", "2"));
    assert_eq!((out.status.code(), bundle.status("parts").as_str()), (Some(1), "hung"), "{}", said(&out));
    let out = bundle.run("");
    assert_eq!((out.status.code(), bundle.status("parts").as_str()), (Some(0), "passed"), "{}", said(&out));
    let counts = ["one", "two", "three"].map(|name| bundle.marks(name));
    assert_eq!(counts, [1, 2, 1]);
    assert_eq!(bundle.steps()[0]["result"].as_array().map(Vec::len), Some(3));
}

#[test]
fn a_step_whose_time_is_over_begins_no_part_and_goes_on_later() {
    let step = ". \"$FLAT_BUNDLE_HOME/parts.sh\"\npart one 60 sh -c 'echo one >>\"$MARK\"'\nconclude";
    let bundle = Bundle::new(&[("parts", step)]);
    let out = bundle.run("--limit 1");
    // a busy machine may not even start the step within its second
    let status = bundle.status("parts");
    assert!(["unfinished", "hung"].contains(&status.as_str()) && out.status.code() == Some(1), "{}", said(&out));
    assert_eq!(bundle.marks("one"), 0);
    let out = bundle.run("");
    assert_eq!(
        (out.status.code(), bundle.status("parts").as_str(), bundle.marks("one")),
        (Some(0), "passed", 1),
        "{}",
        said(&out)
    );
}

#[test]
fn a_step_with_a_skipped_part_is_never_passed() {
    let of = |parts: &str| format!(". \"$FLAT_BUNDLE_HOME/parts.sh\"\n{parts}\nconclude");
    let (some, all) = (of("part a 9 true\nskip b 'no ncu here'"), of("skip a 'no ncu here'"));
    let failed = of("part a 9 false\nskip b 'no ncu here'\npart c 9 true");
    let bundle = Bundle::new(&[("some", &some), ("all", &all), ("failed", &failed)]);
    let out = bundle.run("");
    let got = ["some", "all", "failed"].map(|name| bundle.status(name));
    assert_eq!(got, ["partial", "skipped", "failed"].map(String::from), "{}", said(&out));
    assert_eq!(bundle.steps()[0]["reason"], "b: no ncu here");
}

#[test]
fn a_comparison_without_pytorch_is_skipped_with_the_line_that_gets_it() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: no python3 here");
        return;
    }
    // -S leaves out every installed package
    let script = top().join("benches/peer/gpu/losses.py");
    let step = format!("exec python3 -S -E {} --model lenet", script.display());
    let bundle = Bundle::new(&[("losses", &step)]);
    let out = bundle.run("");
    assert_eq!((out.status.code(), bundle.status("losses").as_str()), (Some(0), "skipped"), "{}", said(&out));
    let reason = bundle.steps()[0]["reason"].to_string();
    assert!(reason.contains("no PyTorch") && reason.contains("-m pip install torch"), "{reason}");
}

#[test]
fn what_cannot_be_written_is_said_and_loses_no_other_step() {
    let bundle = Bundle::new(&[("good", GOOD), ("last", LAST)]);
    // a folder where the step's record would be written, as a full disk would refuse it
    std::fs::create_dir_all(bundle.out().join("steps/good.json.new")).expect("a folder");
    let out = bundle.run("");
    let text = said(&out);
    assert_eq!((out.status.code(), bundle.status("last").as_str()), (Some(1), "passed"), "{text}");
    assert!(text.contains("good.json: cannot be written") && text.contains("--out"), "{text}");
    // a disk that is full from the start
    let tools = bundle.home().join("full");
    std::fs::create_dir_all(&tools).expect("a folder");
    bundle.script("full/df", "printf 'Filesystem 1024-blocks Used Available\\n/dev/x 9 9 1024\\n'");
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let out = bundle.run_by("", |command| _ = command.env("PATH", &path));
    assert_eq!(out.status.code(), Some(2));
    assert!(said(&out).contains("1 MiB are free, 512 are needed"), "{}", said(&out));
}

/// Runs the bundle's own `machine` on folders of libraries, for a GPU of this compute capability.
fn machine(libraries: &[&str], capability: &str) -> (Option<i32>, String) {
    let bundle = Bundle::new(&[("last", LAST)]);
    let home = bundle.home();
    std::fs::copy(top().join("scripts/bundle/machine"), home.join("machine")).expect("a copy");
    let folder = bundle.0.path("wheels");
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in libraries {
        std::fs::write(folder.join(name), "").expect("a file");
    }
    let needs =
        "libcuda.so.1 driver\nlibnvrtc.so.13 nvidia-cuda-nvrtc==13.0.88\nlibcudnn.so.9 nvidia-cudnn-cu13==9.19.0.56\n";
    std::fs::write(home.join("needs"), needs).expect("needs");
    let processor = std::env::consts::ARCH;
    let facts = format!("{{\"processor\":\"{processor}\",\"capability\":90,\"glibc\":\"2.35\"}}");
    std::fs::write(home.join("bundle.json"), facts).expect("bundle.json");
    std::fs::create_dir_all(home.join("bin")).expect("a folder");
    let gpu = format!(
        "{{\"capability\":\"{capability}\",\"device\":\"cuda:0\",\"instructions\":[],\"memory_mib\":1.5,\"name\":\"none at all\"}}"
    );
    bundle.script("bin/flat-train", &format!("echo '{{\"devices\":[{gpu}],\"missing\":null,\"remedy\":null}}'"));
    let out = bundle.run_by("", |command| _ = command.env("FLAT_LIBRARY_FOLDERS", &folder));
    (out.status.code(), said(&out))
}

const LIBRARIES: [&str; 3] = ["libcuda.so.1", "libnvrtc.so.13", "libcudnn.so.9"];

#[test]
fn a_machine_without_a_driver_or_a_wheel_says_what_to_install() {
    let (code, text) = machine(&LIBRARIES, "9.0");
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = machine(&LIBRARIES[1..], "9.0");
    assert!(code == Some(2) && text.contains("no driver here") && text.contains("R580"), "{text}");
    let (code, text) = machine(&LIBRARIES[..1], "9.0");
    let line = "-m pip install --no-deps nvidia-cuda-nvrtc==13.0.88 nvidia-cudnn-cu13==9.19.0.56";
    assert!(code == Some(2) && text.contains(line), "{text}");
}

#[test]
fn a_gpu_of_another_architecture_is_refused_with_the_build_that_serves_it() {
    // PTX for 90 and above serves that architecture alone
    for (capability, build) in [("8.0", "CUDA_COMPUTE_CAP=80"), ("10.0", "CUDA_COMPUTE_CAP=100")] {
        let (code, text) = machine(&LIBRARIES, capability);
        assert!(code == Some(2) && text.contains(build) && text.contains(capability), "{text}");
    }
}

/// Every step is a script that can be started, and the order names each once.
#[test]
fn the_order_of_the_steps_names_every_script_once() {
    let folder: &Path = &top().join("scripts/bundle/steps");
    let text = std::fs::read_to_string(folder.join("order")).expect("the order");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut named: Vec<String> = lines.filter_map(|line| line.split_whitespace().next()).map(String::from).collect();
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .expect("the steps")
        .flatten()
        .filter(|e| e.metadata().is_ok_and(|m| m.permissions().mode() & 0o111 != 0))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    named.sort();
    there.sort();
    assert_eq!(named, there);
}
