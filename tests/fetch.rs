//! `data fetch` against hubs of this machine that do not serve: it ends, says why, and leaves nothing.

use crate::tool::{Room, command};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A hub that reads a request, sends this and then nothing, with the connection open; its address.
fn hub(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let endpoint = format!("http://{}", listener.local_addr().expect("address"));
    std::thread::spawn(move || {
        let serve = |mut stream: TcpStream| {
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
            stream.write_all(answer.as_bytes())?;
            // until the other side closes
            lines.next().transpose().map(|_| ())
        };
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    endpoint
}

fn start(endpoint: &str, folder: &Path, more: &str) -> Child {
    let mut command = command(&format!("data fetch cifar10 --data-dir {} {more}", folder.display()));
    command.env("HF_ENDPOINT", endpoint).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("flat-train starts")
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The names below a folder.
fn left(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("entry").path();
        names.extend(left(&path));
        names.push(path.display().to_string());
    }
    names
}

/// What a fetch that came to nothing may leave: the folder with the lock.
fn assert_nothing_unfinished(folder: &Path) {
    let left = left(folder);
    assert!(left.iter().all(|name| name.ends_with("cifar10") || name.ends_with(".lock")), "{left:?}");
}

const STALLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 23940850\r\n\r\nPAR1";

#[test]
fn a_hub_that_stalls_is_left_after_the_time_that_the_flags_give() {
    let room = Room::new();
    for (answer, flags, said) in [
        ("", "--timeout 0.3", "does not answer within 0.3 s"),
        (STALLED, "--timeout 0.3", "sends next to nothing within 0.3 s"),
        (STALLED, "--timeout 60 --max-time 0.3", "does not send the file within 0.3 s"),
    ] {
        let begun = Instant::now();
        let out = start(&hub(answer), &room.path("data"), flags).wait_with_output().expect("it ends");
        let text = text(&out);
        assert_eq!(out.status.code(), Some(1), "{text}");
        assert!(
            text.contains(said)
                && text.contains(flags.rsplit("--").next().expect("a flag").split(' ').next().expect("its name")),
            "{text}"
        );
        // a third of a second, and a busy machine
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_nothing_unfinished(&room.path("data"));
    }
}

#[test]
fn the_first_signal_ends_a_fetch_at_once_with_status_130_and_nothing_is_left() {
    let room = Room::new();
    for (answer, name) in [("", "INT"), (STALLED, "INT"), (STALLED, "TERM")] {
        let child = start(&hub(answer), &room.path("data"), "--timeout 300 --quiet");
        // by then it waits for bytes: the folder's lock is taken before
        let begun = Instant::now();
        while !room.path("data").join("cifar10/.lock").exists() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        let begun = Instant::now();
        let out = child.wait_with_output().expect("it ends");
        assert_eq!((out.status.code(), out.stdout.len()), (Some(130), 0), "{}", text(&out));
        // five minutes are what it would have waited
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_nothing_unfinished(&room.path("data"));
    }
}

#[test]
fn a_fetch_that_waits_for_another_names_its_process_and_lock_and_ends_at_a_signal() {
    let room = Room::new();
    let folder = room.path("data");
    let first = start(&hub(STALLED), &folder, "--timeout 300");
    let lock = folder.join("cifar10/.lock");
    let held = || std::fs::read_to_string(&lock).is_ok_and(|text| text == first.id().to_string());
    let begun = Instant::now();
    while !held() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the first one took no lock");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut second = start(&hub(STALLED), &folder, "--timeout 300 --quiet");
    let mut said = String::new();
    BufReader::new(second.stderr.as_mut().expect("stderr")).read_line(&mut said).expect("a line");
    assert!(said.contains(&format!("process {}", first.id())) && said.contains(".lock"), "{said}");
    signal(&second, "INT");
    assert_eq!(second.wait().expect("it ends").code(), Some(130));
    signal(&first, "INT");
    let out = first.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(130), "{}", text(&out));
    assert_nothing_unfinished(&folder);
}

#[test]
fn a_killed_fetch_leaves_a_part_that_the_next_one_removes() {
    let room = Room::new();
    let folder = room.path("data");
    let mut killed = start(&hub(STALLED), &folder, "--timeout 300");
    let part = || left(&folder).into_iter().any(|name| name.ends_with(".part"));
    let begun = Instant::now();
    while !part() {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing unfinished came");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&killed, "KILL");
    killed.wait().expect("it ends");
    assert!(part());
    let out = start(&hub(""), &folder, "--timeout 0.2").wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert_nothing_unfinished(&folder);
}

#[test]
fn other_bytes_than_the_known_file_are_refused_with_both_sums() {
    let room = Room::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"../../up\"\r\nX-Repo-Commit: ../../up\r\n\r\nPAR1";
    let out = start(&hub(answer), &room.path("data"), "").wait_with_output().expect("it ends");
    let text = text(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    for sum in [
        "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
        // `printf PAR1 | sha256sum`
        "fbc62d3b511368ee275ddc74117d8689b430e1427220e25d30816201d89ca7b6",
    ] {
        assert!(text.contains(sum), "{text}");
    }
    assert_nothing_unfinished(&room.path("data"));
}

#[test]
fn an_address_or_a_time_that_makes_no_sense_is_one_error_that_names_it() {
    let room = Room::new();
    let data = room.path("data");
    for (endpoint, flags, status, named) in [
        ("http://mirror.example", "", 1, "HF_ENDPOINT"),
        ("file:///etc", "", 1, "HF_ENDPOINT"),
        ("nonsense", "", 1, "HF_ENDPOINT"),
        ("http://127.0.0.1:1", "", 1, "cannot be reached"),
        ("http://127.0.0.1:1", "--timeout 0", 2, "--timeout 0"),
        ("http://127.0.0.1:1", "--timeout nan", 2, "--timeout"),
        ("http://127.0.0.1:1", "--timeout 1e300", 2, "--timeout"),
        ("http://127.0.0.1:1", "--max-time=-1", 2, "--max-time"),
        ("http://127.0.0.1:1", "--max-time inf", 2, "--max-time"),
    ] {
        let mut child = start(endpoint, &data, flags);
        let mut said = String::new();
        child.stderr.as_mut().expect("stderr").read_to_string(&mut said).expect("text");
        assert_eq!(child.wait().expect("it ends").code(), Some(status), "{endpoint} {flags}: {said}");
        assert!(said.contains(named) && !said.contains("panicked"), "{endpoint} {flags}: {said}");
    }
}
