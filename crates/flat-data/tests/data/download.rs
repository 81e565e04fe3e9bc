//! Downloads from a hub on the loopback interface, each in a process of its own: the hub client reads its settings, and
//! the network stack its proxies, from the environment.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flat_data::{
    Dataset, DatasetKind, Error, FileState, MANIFEST, Manifest, Transfer, fetch, fetch_from, sha256_file, verify,
};

use crate::support::{Hub, Server, is_child, row, run_child, write_cifar10, write_parquet};

const TRAIN: &str = "plain_text/train/0000.parquet";
const TEST: &str = "plain_text/test/0000.parquet";
const KIND: DatasetKind = DatasetKind::Cifar10;

/// Runs `test` in a process of its own, with a hub that serves a small CIFAR-10 and an empty cache.
fn with_hub(name: &str, mode: Hub, test: impl Fn(&Server, &Path, &Path)) {
    if !is_child(name) {
        return run_child(name, &[]);
    }
    let (root, cache) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    write_cifar10(root.path());
    test(&Server::start(root.path(), mode), root.path(), cache.path());
}

fn get(server: &Server, cache: &Path) -> Result<flat_data::Fetched, Error> {
    fetch_from(Some(&server.endpoint), KIND, Some(cache), |_| ())
}

/// No file that a reader would take is in the cache.
fn assert_nothing_whole(cache: &Path) {
    assert!(!cache.join("cifar10").join(TRAIN).exists());
    assert!(matches!(Dataset::load(KIND, Some(cache)), Err(Error::NotFound { .. })));
}

#[test]
fn a_download_has_the_announced_sums_and_reads() {
    with_hub("download::a_download_has_the_announced_sums_and_reads", Hub::Honest, |server, root, cache| {
        let seen = Arc::new(Mutex::new(Vec::<Transfer>::new()));
        let log = Arc::clone(&seen);
        let fetched = fetch_from(Some(&server.endpoint), KIND, Some(cache), move |transfer| {
            log.lock().expect("log").push(transfer.clone());
        });
        let fetched = fetched.expect("fetch");
        assert_eq!(fetched.dir, cache.join("cifar10"));
        assert!(fetched.files.iter().all(|file| file.downloaded));
        for (file, name) in fetched.files.iter().zip([TRAIN, TEST]) {
            assert_eq!(file.sha256, sha256_file(&root.join(name)).expect("sum"));
            assert_eq!(file.sha256, sha256_file(&file.path).expect("sum"));
            assert_eq!(file.bytes, fs::metadata(root.join(name)).expect("metadata").len());
            let seen = seen.lock().expect("log");
            let last = seen.iter().rfind(|transfer| transfer.file == name).expect("progress");
            assert_eq!((last.done, last.total), (file.bytes, file.bytes));
        }
        let wanted = format!("/datasets/uoft-cs/cifar10/resolve/refs%2Fconvert%2Fparquet/{TRAIN}");
        assert!(server.requests().contains(&format!("GET {wanted}")));
        // nothing but the files, the manifest and the lock is left
        let mut left: Vec<_> =
            fs::read_dir(&fetched.dir).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        left.sort();
        assert_eq!(left, [".lock", MANIFEST, "plain_text"]);

        assert_eq!(Dataset::load(KIND, Some(cache)).expect("load").train.labels(), [0, 1, 2]);
        let report = verify(KIND, Some(cache)).expect("verify");
        assert!(report.is_ok() && report.files.iter().all(|file| file.state == FileState::Recorded), "{report:?}");
    });
}

#[test]
fn the_redirects_of_the_real_hub_are_followed() {
    with_hub("download::the_redirects_of_the_real_hub_are_followed", Hub::Redirecting, |server, root, cache| {
        let fetched = get(server, cache).expect("fetch");
        assert_eq!(fetched.files[0].sha256, sha256_file(&root.join(TRAIN)).expect("sum"));
        assert!(server.requests().contains(&format!("GET /cdn/{TRAIN}")));
    });
}

#[test]
fn a_second_fetch_asks_the_hub_nothing() {
    with_hub("download::a_second_fetch_asks_the_hub_nothing", Hub::Honest, |server, _, cache| {
        let first = get(server, cache).expect("fetch");
        assert_eq!(server.requests().iter().filter(|r| r.starts_with("GET")).count(), 2);
        let second = get(server, cache).expect("fetch again");
        assert_eq!(server.requests(), [""; 0]);
        assert!(second.files.iter().all(|file| !file.downloaded));
        assert_eq!(second.files[0].sha256, first.files[0].sha256);
    });
}

#[test]
fn a_missing_or_damaged_file_alone_is_fetched_again() {
    with_hub("download::a_missing_or_damaged_file_alone_is_fetched_again", Hub::Honest, |server, _, cache| {
        let whole = get(server, cache).expect("fetch");
        let path = &whole.files[1].path;
        for damage in [|path: &Path| fs::remove_file(path), |path: &Path| fs::write(path, b"PAR1 damaged PAR1")] {
            damage(path).expect("damage");
            server.requests();
            let again = get(server, cache).expect("fetch again");
            assert_eq!(again.files.iter().map(|file| file.downloaded).collect::<Vec<_>>(), [false, true]);
            assert!(server.requests().iter().all(|request| request.ends_with(TEST)));
            assert_eq!(sha256_file(path).expect("sum"), whole.files[1].sha256);
        }
    });
}

#[test]
fn two_fetches_at_once_download_once() {
    with_hub("download::two_fetches_at_once_download_once", Hub::Honest, |server, _, cache| {
        let both = std::thread::scope(|scope| {
            let start = || scope.spawn(|| get(server, cache).expect("fetch"));
            [start(), start()].map(|thread| thread.join().expect("thread"))
        });
        assert_eq!(server.requests().iter().filter(|r| r.starts_with("GET")).count(), 2);
        assert_eq!(both.iter().flat_map(|fetched| &fetched.files).filter(|file| file.downloaded).count(), 2);
    });
}

#[test]
fn what_has_another_sum_than_announced_is_refused_and_leaves_nothing() {
    let name = "download::what_has_another_sum_than_announced_is_refused_and_leaves_nothing";
    with_hub(name, Hub::Lying, |server, _, cache| {
        match get(server, cache) {
            Err(Error::Checksum { expected, origin, .. }) => {
                assert_eq!((expected, origin.as_str()), ("0".repeat(64), "the hub"))
            }
            other => panic!("{other:?}"),
        }
        // tried twice
        assert_eq!(server.requests().iter().filter(|r| r.starts_with("GET")).count(), 2);
        assert_nothing_whole(cache);
        server.become_(Hub::Honest);
        assert!(get(server, cache).is_ok());
    });
}

#[test]
fn an_interrupted_download_leaves_nothing_that_is_taken_for_whole() {
    let name = "download::an_interrupted_download_leaves_nothing_that_is_taken_for_whole";
    with_hub(name, Hub::Breaking, |server, _, cache| {
        for mode in [Hub::Breaking, Hub::Short, Hub::Failing] {
            server.become_(mode);
            let error = get(server, cache).expect_err("interrupted");
            assert!(matches!(error, Error::Hub { .. } | Error::Checksum { .. }), "{error}");
            assert_nothing_whole(cache);
        }
        server.become_(Hub::Honest);
        assert!(get(server, cache).expect("fetch").files.iter().all(|file| file.downloaded));
        assert!(verify(KIND, Some(cache)).expect("verify").is_ok());
    });
}

#[test]
fn a_blob_that_a_killed_process_left_half_written_is_not_trusted() {
    let name = "download::a_blob_that_a_killed_process_left_half_written_is_not_trusted";
    with_hub(name, Hub::Honest, |server, root, cache| {
        // as the hub client would have it: the announced sum as the name, but half of the contents
        let sum = sha256_file(&root.join(TRAIN)).expect("sum");
        let blobs = cache.join("cifar10/.staging/datasets--uoft-cs--cifar10/blobs");
        fs::create_dir_all(&blobs).expect("folder");
        let whole = fs::read(root.join(TRAIN)).expect("read");
        fs::write(blobs.join(&sum), &whole[..whole.len() / 2]).expect("write");
        let fetched = get(server, cache).expect("fetch");
        assert_eq!(sha256_file(&fetched.files[0].path).expect("sum"), sum);
    });
}

#[test]
fn a_file_without_an_announced_sha256_is_refused() {
    with_hub("download::a_file_without_an_announced_sha256_is_refused", Hub::Untagged, |server, _, cache| {
        match get(server, cache) {
            Err(Error::Hub { repo, file, reason }) => {
                assert_eq!((repo.as_str(), file.as_str()), ("uoft-cs/cifar10", TRAIN));
                assert!(reason.contains("no sha256"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert_nothing_whole(cache);
    });
}

#[test]
fn what_the_hub_does_not_have_is_an_error_that_names_it() {
    with_hub("download::what_the_hub_does_not_have_is_an_error_that_names_it", Hub::Honest, |server, _, cache| {
        let error = fetch_from(Some(&server.endpoint), DatasetKind::Mnist, Some(cache), |_| ()).expect_err("no MNIST");
        assert!(error.to_string().contains("ylecun/mnist"), "{error}");
        assert!(error.to_string().contains("mnist/train/0000.parquet"), "{error}");
        // and a hub that does not answer
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let closed = format!("http://{}", listener.local_addr().expect("address"));
        drop(listener);
        let error = fetch_from(Some(&closed), KIND, Some(cache), |_| ()).expect_err("nobody there").to_string();
        assert!(error.contains("HF_ENDPOINT"), "{error}");
    });
}

#[test]
fn the_environment_names_the_mirror_and_the_cache() {
    let name = "download::the_environment_names_the_mirror_and_the_cache";
    if is_child(name) {
        let fetched = fetch(DatasetKind::FashionMnist, None, |_| ()).expect("fetch");
        assert!(fetched.dir.ends_with("flat-data/fashion-mnist"), "{}", fetched.dir.display());
        assert_eq!(Manifest::read(&fetched.dir).expect("manifest").sums.len(), 2);
        return;
    }
    let (root, cache) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    for split in ["train", "test"] {
        let path = root.path().join(format!("fashion_mnist/{split}/0000.parquet"));
        write_parquet(&path, ["image", "label"], &[row(1)], 1, parquet::basic::Compression::SNAPPY);
    }
    let server = Server::start(root.path(), Hub::Honest);
    run_child(name, &[("HF_ENDPOINT", Path::new(&server.endpoint)), ("XDG_CACHE_HOME", cache.path())]);
    assert!(server.requests().iter().any(|r| r.starts_with("GET /datasets/zalando-datasets/fashion_mnist/")));
    assert!(cache.path().join("flat-data/fashion-mnist").join(MANIFEST).is_file());
}
