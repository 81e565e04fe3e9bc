//! Downloads from a hub on the loopback interface that means well, or merely breaks.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use flat_data::{
    Checked, Dataset, DatasetKind, Error, FetchEvent, FetchOptions, Fetched, FileState, HubFault, MANIFEST, Manifest,
    Patience, Pinned, PinnedFile, Transfer, fetch, sha256_file, verify,
};
use image::{DynamicImage, GrayImage, ImageFormat};
use parquet::basic::Compression;

use crate::support::{
    COMMIT, Hub, Image, Row, Server, data, is_child, pinned, run_child, write_cifar10, write_parquet,
};

const TRAIN: &str = "plain_text/train/0000.parquet";
const TEST: &str = "plain_text/test/0000.parquet";
const KIND: DatasetKind = DatasetKind::Cifar10;

/// Runs `test` with a hub that serves a small CIFAR-10, whose files are pinned, and an empty cache.
fn with_hub(mode: Hub, test: impl Fn(&Server, &Path, &Path, &FetchOptions)) {
    let (root, cache) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    write_cifar10(root.path());
    let server = Server::start(root.path(), mode);
    let patience = Patience { pause: Duration::from_millis(1), ..Default::default() };
    let (endpoint, pinned) = (Some(server.endpoint.clone()), Some(pinned(root.path())));
    test(&server, root.path(), cache.path(), &FetchOptions { endpoint, pinned, patience });
}

fn get(cache: &Path, options: &FetchOptions) -> Result<Fetched, Error> {
    fetch(KIND, Some(cache), options, &mut |_| ControlFlow::Continue(()))
}

fn fault(result: Result<Fetched, Error>) -> HubFault {
    match result {
        Err(Error::Hub { repo, fault, .. }) if repo == "uoft-cs/cifar10" => *fault,
        other => panic!("{other:?}"),
    }
}

/// No file that a reader would take is in the cache, nor anything unfinished.
fn assert_nothing_left(cache: &Path) {
    let left: Vec<_> =
        fs::read_dir(cache.join("cifar10")).expect("folder").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(left, [".lock"]);
    assert!(matches!(Dataset::load(KIND, Some(cache)), Err(Error::NotFound { .. })));
}

#[test]
fn a_download_has_the_known_sums_and_reads() {
    with_hub(Hub::Honest, |server, root, cache, options| {
        let mut seen = Vec::<Transfer>::new();
        let fetched = fetch(KIND, Some(cache), options, &mut |event| {
            if let FetchEvent::Transfer(transfer) = event {
                seen.push(transfer.clone());
            }
            ControlFlow::Continue(())
        });
        let fetched = fetched.expect("fetch");
        assert_eq!(fetched.dir, cache.join("cifar10"));
        assert_eq!((fetched.repository.as_str(), fetched.revision.as_str()), ("uoft-cs/cifar10", COMMIT));
        assert!(fetched.files.iter().all(|file| file.downloaded && file.checked == Checked::File));
        for (file, name) in fetched.files.iter().zip([TRAIN, TEST]) {
            assert_eq!(file.sha256, sha256_file(&root.join(name)).expect("sum"));
            assert_eq!(file.sha256, sha256_file(&file.path).expect("sum"));
            assert_eq!(file.bytes, fs::metadata(root.join(name)).expect("metadata").len());
            let last = seen.iter().rfind(|transfer| transfer.file == name).expect("progress");
            assert_eq!((last.done, last.total), (file.bytes, file.bytes));
        }
        let wanted = format!("GET /datasets/uoft-cs/cifar10/resolve/{COMMIT}/{TRAIN}");
        assert!(server.requests().contains(&wanted));
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
    with_hub(Hub::Redirecting, |server, root, cache, options| {
        let fetched = get(cache, options).expect("fetch");
        assert_eq!(fetched.files[0].sha256, sha256_file(&root.join(TRAIN)).expect("sum"));
        assert!(server.requests().contains(&format!("GET /cdn/{TRAIN}")));
    });
}

#[test]
fn a_second_fetch_asks_the_hub_nothing() {
    with_hub(Hub::Honest, |server, _, cache, options| {
        let first = get(cache, options).expect("fetch");
        assert_eq!(server.requests().len(), 2);
        let second = get(cache, options).expect("fetch again");
        assert_eq!(server.requests(), [""; 0]);
        assert!(second.files.iter().all(|file| !file.downloaded && file.checked == Checked::File));
        assert_eq!(second.files[0].sha256, first.files[0].sha256);
    });
}

#[test]
fn a_missing_or_damaged_file_alone_is_fetched_again() {
    with_hub(Hub::Honest, |server, _, cache, options| {
        let whole = get(cache, options).expect("fetch");
        let path = &whole.files[1].path;
        for damage in [|path: &Path| fs::remove_file(path), |path: &Path| fs::write(path, b"PAR1 damaged PAR1")] {
            damage(path).expect("damage");
            server.requests();
            let again = get(cache, options).expect("fetch again");
            assert_eq!(again.files.iter().map(|file| file.downloaded).collect::<Vec<_>>(), [false, true]);
            assert!(server.requests().iter().all(|request| request.ends_with(TEST)));
            assert_eq!(sha256_file(path).expect("sum"), whole.files[1].sha256);
        }
    });
}

#[test]
fn what_an_earlier_version_fetched_is_read_and_taken_where_it_is_the_known_file() {
    with_hub(Hub::Honest, |server, root, cache, options| {
        for name in [TRAIN, TEST] {
            let path = cache.join("cifar10").join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::copy(root.join(name), path).expect("copy");
        }
        // a server's word of then: not what decides
        let sums = [(TRAIN.to_string(), "0".repeat(64)), (TEST.to_string(), "1".repeat(64))].into();
        Manifest { sums }.write(&cache.join("cifar10")).expect("manifest");
        assert_eq!(Dataset::load(KIND, Some(cache)).expect("load").train.len(), 3);
        assert!(get(cache, options).expect("fetch").files.iter().all(|file| !file.downloaded));
        assert_eq!(server.requests(), [""; 0]);
    });
}

#[test]
fn two_fetches_at_once_download_once() {
    with_hub(Hub::Honest, |server, _, cache, options| {
        let both = std::thread::scope(|scope| {
            let start = || scope.spawn(|| get(cache, options).expect("fetch"));
            [start(), start()].map(|thread| thread.join().expect("thread"))
        });
        assert_eq!(server.requests().len(), 2);
        assert_eq!(both.iter().flat_map(|fetched| &fetched.files).filter(|file| file.downloaded).count(), 2);
    });
}

#[test]
fn a_fetch_that_waits_says_for_whom_and_can_be_given_up() {
    with_hub(Hub::Honest, |server, _, cache, options| {
        let lock = cache.join("cifar10/.lock");
        fs::create_dir_all(cache.join("cifar10")).expect("folder");
        let held = fs::File::create(&lock).expect("lock");
        held.lock().expect("held");
        for (text, expected) in [("4321", Some(4321)), ("", None), ("no number", None)] {
            fs::write(&lock, text).expect("number");
            let mut seen = Vec::new();
            let result = fetch(KIND, Some(cache), options, &mut |event| {
                let FetchEvent::Waiting { lock, process } = event else { panic!("{event:?}") };
                seen.push((lock.to_path_buf(), process));
                if seen.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert!(matches!(result, Err(Error::Interrupted)));
            assert_eq!(seen, vec![(lock.clone(), expected); 3]);
        }
        assert_eq!(server.requests(), [""; 0]);
        drop(held);
        assert!(get(cache, options).is_ok());
        assert_eq!(fs::read_to_string(&lock).expect("lock"), "");
    });
}

#[test]
fn who_watches_ends_a_download_at_once_and_nothing_unfinished_is_left() {
    with_hub(Hub::Silent, |server, _, cache, options| {
        for (mode, calls) in [(Hub::Silent, 1), (Hub::Silent, 3), (Hub::Stalling, 6)] {
            server.become_(mode);
            let (begun, mut count) = (Instant::now(), 0);
            let result = fetch(KIND, Some(cache), options, &mut |_| {
                count += 1;
                if count < calls { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
            // far below the twenty seconds that it would wait
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            assert_nothing_left(cache);
        }
    });
}

#[test]
fn what_has_another_sum_than_is_known_is_refused_and_leaves_nothing() {
    with_hub(Hub::Honest, |server, _, cache, options| {
        let expected = "0".repeat(64);
        let mut other = options.pinned.expect("pinned");
        other.files[0].sha256 = Some(expected.clone().leak());
        match fault(get(cache, &FetchOptions { pinned: Some(other), ..options.clone() })) {
            HubFault::Other { expected: sum, .. } => assert_eq!(sum, expected),
            fault => panic!("{fault}"),
        }
        assert_eq!(server.requests().len(), 1);
        assert_nothing_left(cache);
        assert!(get(cache, options).is_ok());
    });
}

#[test]
fn an_interrupted_download_leaves_nothing_that_is_taken_for_whole() {
    with_hub(Hub::Breaking, |server, _, cache, options| {
        for mode in [Hub::Breaking, Hub::Short, Hub::Failing] {
            server.become_(mode);
            let fault = fault(get(cache, options));
            assert!(
                matches!(fault, HubFault::Broken { .. } | HubFault::Other { .. } | HubFault::Status { .. }),
                "{fault}"
            );
            assert_nothing_left(cache);
        }
        server.become_(Hub::Honest);
        assert!(get(cache, options).expect("fetch").files.iter().all(|file| file.downloaded));
        assert!(verify(KIND, Some(cache)).expect("verify").is_ok());
    });
}

#[test]
fn a_fault_that_may_pass_is_met_with_two_more_requests() {
    with_hub(Hub::Breaking, |server, _, cache, options| {
        let mut again = 0;
        let result = fetch(KIND, Some(cache), options, &mut |event| {
            if let FetchEvent::Again { fault, .. } = event {
                assert!(fault.may_pass());
                again += 1;
                if again == 2 {
                    server.become_(Hub::Honest);
                }
            }
            ControlFlow::Continue(())
        });
        assert!(result.is_ok(), "{result:?}");
        assert_eq!((again, server.requests().len()), (2, 4));
    });
}

#[test]
fn what_a_killed_process_left_is_removed_and_not_trusted() {
    with_hub(Hub::Honest, |_, root, cache, options| {
        let whole = fs::read(root.join(TRAIN)).expect("read");
        let folder = cache.join("cifar10/plain_text/train");
        fs::create_dir_all(cache.join("cifar10/.staging/blobs")).expect("folder");
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join(".0000.parquet.999999.part"), &whole[..whole.len() / 2]).expect("write");
        fs::write(cache.join("cifar10/.staging/blobs/x"), &whole).expect("write");
        get(cache, options).expect("fetch");
        assert!(!cache.join("cifar10/.staging").exists());
        let left: Vec<_> = fs::read_dir(&folder).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(left, ["0000.parquet"]);
    });
}

#[test]
fn what_the_hub_does_not_have_is_an_error_that_names_it() {
    with_hub(Hub::Honest, |_, _, cache, options| {
        let of = FetchOptions { pinned: None, ..options.clone() };
        let error =
            fetch(DatasetKind::Mnist, Some(cache), &of, &mut |_| ControlFlow::Continue(())).expect_err("no MNIST");
        assert!(error.to_string().contains("ylecun/mnist"), "{error}");
        assert!(error.to_string().contains("mnist/train/0000.parquet"), "{error}");
        // and a hub that does not answer
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let closed = format!("http://{}", listener.local_addr().expect("address"));
        drop(listener);
        let error = get(cache, &FetchOptions { endpoint: Some(closed), ..options.clone() }).expect_err("nobody there");
        assert!(
            matches!(&error, Error::Hub { fault, .. } if matches!(**fault, HubFault::Unreachable { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
    });
}

#[test]
fn the_environment_names_the_mirror_and_the_cache_and_its_token_is_not_for_them() {
    let name = "download::the_environment_names_the_mirror_and_the_cache_and_its_token_is_not_for_them";
    if is_child(name) {
        let root = std::env::var_os("FLAT_DATA_TEST_ROOT").expect("a folder");
        let options = FetchOptions { pinned: Some(pinned(Path::new(&root))), ..Default::default() };
        let fetched = fetch(KIND, None, &options, &mut |_| ControlFlow::Continue(())).expect("fetch");
        assert!(fetched.dir.ends_with("flat-data/cifar10"), "{}", fetched.dir.display());
        assert_eq!(Manifest::read(&fetched.dir).expect("manifest").sums.len(), 2);
        return;
    }
    let (root, cache) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    write_cifar10(root.path());
    let server = Server::start(root.path(), Hub::Redirecting);
    let endpoint = ("HF_ENDPOINT", Path::new(&server.endpoint));
    let cached = ("XDG_CACHE_HOME", cache.path());
    run_child(name, &[endpoint, cached, ("FLAT_DATA_TEST_ROOT", root.path()), ("HF_TOKEN", Path::new("hf_secret"))]);
    let requests = server.requests();
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(requests.iter().all(|request| !request.contains("token")), "{requests:?}");
    assert!(cache.path().join("flat-data/cifar10").join(MANIFEST).is_file());
}

/// Rows of MNIST's test images as PNG files, as the hub has them.
fn rows(change: impl Fn(usize, &mut Vec<u8>)) -> Vec<Row> {
    let mnist = Dataset::load(DatasetKind::Mnist, Some(&data())).expect("MNIST is in data/mnist").test;
    let png = |i: usize| {
        let mut pixels = mnist.image(i).expect("image").to_vec();
        change(i, &mut pixels);
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = GrayImage::from_raw(28, 28, pixels).expect("28x28");
        DynamicImage::from(image).write_to(&mut bytes, ImageFormat::Png).expect("png");
        bytes.into_inner()
    };
    let row = |(i, label): (usize, &u16)| Row { image: Image::Bytes(png(i)), label: Some(i64::from(*label)) };
    mnist.labels().iter().enumerate().map(row).collect()
}

#[test]
fn a_file_without_a_known_sum_is_compared_by_its_images_and_labels() {
    let (root, cache) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
    let file = |path| PinnedFile { path, limit: 64 << 20, sha256: None };
    let files = [file("t/test.parquet"), file("t/test.parquet")];
    let pinned = Pinned { owner: "o", name: "n", folder: "t", revision: COMMIT, files };
    let server = Server::start(root.path(), Hub::Honest);
    let options = FetchOptions { endpoint: Some(server.endpoint.clone()), pinned: Some(pinned), ..Default::default() };
    let path = root.path().join("t/test.parquet");
    // served as training and test file alike: the training images are other ones, and so the first file is refused
    let result = |kind| fetch(kind, Some(cache.path()), &options, &mut |_| ControlFlow::Continue(()));
    let write = |rows: &[Row]| write_parquet(&path, ["image", "label"], rows, 2000, Compression::SNAPPY);
    write(&rows(|_, _| ()));
    match result(DatasetKind::Mnist) {
        Err(Error::Hub { fault, file, .. }) => {
            let HubFault::Other { what, .. } = *fault else { panic!("{fault}") };
            assert!(what.contains("images") && file == "t/train/0000.parquet", "{what} {file}");
        }
        other => panic!("{other:?}"),
    }
    // as the test file it is right, and with a pixel or a label changed it is not
    let there = cache.path().join("mnist/t/test/0000.parquet");
    let check = |rows: &[Row]| {
        write(rows);
        let unpinned = PinnedFile { sha256: None, ..files[1] };
        let train = PinnedFile { sha256: Some(sha256_file(&path).expect("sum").leak()), ..files[0] };
        let pinned = Pinned { files: [train, unpinned], ..pinned };
        let options = FetchOptions { pinned: Some(pinned), ..options.clone() };
        let _ = fs::remove_file(&there);
        fetch(DatasetKind::Mnist, Some(cache.path()), &options, &mut |_| ControlFlow::Continue(()))
    };
    let right = check(&rows(|_, _| ())).expect("the original's images");
    let checked: Vec<_> = right.files.iter().map(|file| file.checked).collect();
    assert_eq!(checked, [Checked::File, Checked::Contents]);
    let pixel = check(&rows(|i, pixels| {
        if i == 7777 {
            pixels[300] ^= 1
        }
    }));
    let mut labels = rows(|_, _| ());
    labels[5].label = labels[5].label.map(|label| (label + 1) % 10);
    for (result, what) in [(pixel, "images"), (check(&labels), "labels")] {
        let Err(error) = result else { panic!("{what} taken") };
        assert!(error.to_string().contains(what) && !there.exists(), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_link_in_the_cache() {
    use std::os::unix::fs::symlink;
    with_hub(Hub::Honest, |_, _, cache, options| {
        let outside = tempfile::tempdir().expect("dir");
        fs::write(outside.path().join("secret"), "secret").expect("write");
        let set = cache.join("cifar10");
        for (link, to) in [
            ("cifar10", ""),
            ("cifar10/.lock", "secret"),
            ("cifar10/.lock", "new"),
            ("cifar10/plain_text", ""),
            ("cifar10/plain_text/train", ""),
            ("cifar10/plain_text/test", "nowhere"),
        ] {
            let _ = fs::remove_dir_all(&set);
            let link = cache.join(link);
            fs::create_dir_all(link.parent().expect("parent")).expect("folder");
            symlink(outside.path().join(to), &link).expect("link");
            match get(cache, options) {
                Err(Error::Link { path }) => assert_eq!(path, link),
                other => panic!("{}: {other:?}", link.display()),
            }
            fs::remove_file(&link).expect("still a link");
        }
        // what takes a name replaces a link and does not follow it
        let _ = fs::remove_dir_all(&set);
        fs::create_dir_all(set.join("plain_text/train")).expect("folder");
        for name in [TRAIN, "manifest.sha256.tmp", ".staging", "plain_text/train/.0000.parquet.7.part"] {
            symlink(outside.path().join("secret"), set.join(name)).expect("link");
        }
        symlink(outside.path().join("nowhere"), set.join(MANIFEST)).expect("link");
        assert!(get(cache, options).is_ok());
        assert!(fs::symlink_metadata(set.join(TRAIN)).is_ok_and(|file| file.is_file()));
        let left: Vec<_> =
            fs::read_dir(outside.path()).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        assert_eq!(left, ["secret"]);
        assert_eq!(fs::read_to_string(outside.path().join("secret")).expect("read"), "secret");
    });
}
