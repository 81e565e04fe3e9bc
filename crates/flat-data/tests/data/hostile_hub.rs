//! A hostile hub: whatever it does, a fetch ends within its time-outs with the known file or one clear error, and nothing else on the
//! disk changes.

mod behaviours;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use flat_data::{DatasetKind, Error, FetchOptions, Patience, Pinned, fetch};

use crate::support::{pinned, write_cifar10};
use behaviours::{BEHAVIOURS, Behaviour, End, Scene};

const KIND: DatasetKind = DatasetKind::Cifar10;

/// Short, and long enough for a busy machine to answer itself.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(1),
    stall: Duration::from_secs(1),
    total: Duration::from_secs(3),
    pause: Duration::from_millis(10),
};
/// How far above the longest of the time-outs a fetch may end: a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// A server that behaves so, to everyone; the address of it.
fn serve(behave: fn(&mut Scene) -> std::io::Result<()>, root: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let endpoint = format!("http://{}", listener.local_addr().expect("address"));
    let (at, root) = (endpoint.clone(), root.to_path_buf());
    // ends with the test process
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (at, root) = (at.clone(), root.clone());
            std::thread::spawn(move || answer(stream, behave, &at, &root));
        }
    });
    endpoint
}

fn answer(
    stream: TcpStream,
    behave: fn(&mut Scene) -> std::io::Result<()>,
    endpoint: &str,
    root: &Path,
) -> std::io::Result<()> {
    // nobody takes what is sent: it was given up
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default().to_string();
    let split = if path.contains("/test/") { "test" } else { "train" };
    let file = fs::read(root.join(format!("plain_text/{split}/0000.parquet")))?;
    behave(&mut Scene { stream, path, endpoint, file: &file })
}

/// Everything below a folder: files with their bytes, links with where they lead, folders.
fn everything(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("folder") {
        let path = entry.expect("entry").path();
        let kind = fs::symlink_metadata(&path).expect("metadata");
        let what = match kind {
            kind if kind.is_symlink() => format!("link to {}", fs::read_link(&path).expect("link").display()),
            kind if kind.is_dir() => {
                found.extend(everything(&path));
                "folder".into()
            }
            _ => format!("{:?}", fs::read(&path).expect("file")),
        };
        found.insert(path, what);
    }
    found
}

/// What is wrong with how a fetch from this hub ends.
fn wrong((name, end, behave): &Behaviour, root: &Path, pinned: Pinned) -> Result<(), String> {
    // the cache is deep enough in this folder for a path with `..` to come to what lies beside it
    let world = tempfile::tempdir().expect("dir");
    let cache = world.path().join("home/cache");
    fs::create_dir_all(&cache).expect("folder");
    fs::create_dir_all(world.path().join("home/outside")).expect("folder");
    fs::create_dir_all(world.path().join("outside")).expect("folder");
    fs::write(world.path().join("outside/secret"), "secret").expect("write");
    let before = everything(world.path());
    let options = FetchOptions { endpoint: Some(serve(*behave, root)), pinned: Some(pinned), patience: PATIENCE };
    let begun = Instant::now();
    let result = fetch(KIND, Some(&cache), &options, &mut |_| ControlFlow::Continue(()));
    let took = begun.elapsed();
    let mut left = everything(world.path());
    left.retain(|path, what| before.get(path) != Some(what));
    let of = |path: &str| cache.join("cifar10").join(path);
    let own = [cache.join("cifar10"), of(".lock")];
    let fetched = ["plain_text", "plain_text/train", "plain_text/train/0000.parquet", "plain_text/test"].map(of);
    let fetched = [&fetched[..], &["plain_text/test/0000.parquet", "manifest.sha256"].map(of)].concat();
    let stray = |more: &[PathBuf]| left.keys().find(|path| !own.contains(path) && !more.contains(path)).cloned();
    let missing = before.keys().find(|path| !path.exists() || left.contains_key(*path));
    let problem = match (end, &result) {
        _ if took > PATIENCE.total + SLACK => Some(format!("took {took:?}")),
        _ if missing.is_some() => Some(format!("changed {missing:?}")),
        (End::Right, Ok(_)) => stray(&fetched).map(|path| format!("wrote {}", path.display())),
        (End::Says(_), Err(_)) if stray(&[]).is_some() => Some(format!("left {:?}", stray(&[]))),
        (End::Says(part), Err(Error::Hub { fault, .. })) => {
            let text = result.as_ref().expect_err("an error").to_string();
            let remedy = ["HF_ENDPOINT", "try again", "--timeout", "--max-time"].iter().any(|way| text.contains(way));
            // a client that panics is none that says what the hub did
            let plain = text.len() < 700 && !text.contains(char::is_control) && !text.contains("broke down");
            (!text.contains(part) || !remedy || !plain).then(|| format!("says {text:?} of {fault:?}"))
        }
        (_, result) => Some(format!("{result:?}")),
    };
    problem.map_or(Ok(()), |problem| Err(format!("{name}: {problem}")))
}

#[test]
fn a_hostile_hub_writes_nothing_of_its_own_and_keeps_nobody() {
    let root = tempfile::tempdir().expect("dir");
    write_cifar10(root.path());
    let pinned = pinned(root.path());
    assert!(BEHAVIOURS.len() >= 40, "{}", BEHAVIOURS.len());
    let next = Mutex::new(BEHAVIOURS.iter());
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(behaviour) = next.lock().expect("list").next() else { break };
                    if let Err(problem) = wrong(behaviour, root.path(), pinned) {
                        problems.lock().expect("list").push(problem);
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().expect("list");
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), BEHAVIOURS.len(), problems.join("\n"));
}

#[test]
fn no_behaviour_is_in_the_table_twice() {
    let names: BTreeMap<&str, ()> = BEHAVIOURS.iter().map(|(name, ..)| (*name, ())).collect();
    assert_eq!(names.len(), BEHAVIOURS.len());
}
