//! Studies over ranks that are threads, against one process.

use super::*;
use crate::Scale;
use flat_optim::flat_comm::{Error as CommError, Threads};
use flat_run::Ui;
use flat_run::ranks::AnotherFailed;
use std::fs::{read_dir, read_to_string};
use std::sync::Mutex;

/// The cells that were computed.
type Log = Mutex<Vec<String>>;

fn open(root: &Path, seed: u64) -> Result<Study<'static>> {
    Study::open(root, Provenance::of("toy", Scale::Smoke, seed, None), String::new(), Ui::NONE)
}

/// Five cells, and then six that depend on all of them; `compute` computes one, by its key and its number.
fn ask(study: &mut Study<'_>, compute: &dyn Fn(&str, f64) -> Result<Option<f64>>) -> Result<Option<Vec<f64>>> {
    study.plan(11);
    let cell = |study: &mut Study<'_>, key: String, x: f64| study.cell(&key, &x, |_| compute(&key, x));
    let first = study.all(0..5, |study, i| cell(study, format!("first-{i}"), f64::from(i) / 3.0))?;
    let Some(first) = first else { return Ok(None) };
    let sum: f64 = first.iter().sum();
    let second = study.all(0..4, |study, i| {
        study.all(0..1 + i % 2, |study, j| cell(study, format!("second-{i}-{j}"), sum / f64::from(i + j + 1)))
    })?;
    Ok(second.map(|second| second.concat()))
}

/// The study by so many ranks, in this folder.
fn by_ranks(
    size: usize,
    root: &Path,
    compute: impl Fn(&str, f64) -> Result<Option<f64>> + Sync,
) -> Vec<Result<Made<Vec<f64>>>> {
    Threads::run(size, |engine| {
        ranks::with(Ranks::new(engine), || open(root, 0)?.make(|study| ask(study, &|key, x| compute(key, x))))
    })
}

/// The cells in a folder without their seconds, by name.
fn cells(root: &Path) -> Result<Vec<(String, serde_json::Value)>> {
    let mut cells = Vec::new();
    for entry in read_dir(root.join("cells"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            let mut cell: serde_json::Value = serde_json::from_str(&read_to_string(entry.path())?)?;
            cell["wall_s"].take();
            cells.push((name, cell));
        }
    }
    cells.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(cells)
}

/// The root of a number, noted down.
fn noted(log: &Log, key: &str, x: f64) -> Option<f64> {
    assert!(ranks::here().is_alone(), "a cell is its rank's alone");
    log.lock().expect("a log").push(key.to_string());
    Some(x.sqrt())
}

fn keys(log: Log) -> Vec<String> {
    let mut keys = log.into_inner().expect("a log");
    keys.sort();
    keys
}

#[test]
fn ranks_compute_each_cell_once_and_find_what_one_process_finds() -> Result<()> {
    let (alone, log) = (tempfile::tempdir()?, Log::default());
    let expected = open(alone.path(), 0)?.make(|study| ask(study, &|key, x| Ok(noted(&log, key, x))))?;
    let all = keys(log);
    assert_eq!(all.len(), 11);
    for size in [2, 3, 8] {
        let (root, log) = (tempfile::tempdir()?, Log::default());
        let made = by_ranks(size, root.path(), |key, x| Ok(noted(&log, key, x)));
        for (rank, made) in made.into_iter().enumerate() {
            let made = made?;
            assert!(if rank == 0 { made == expected } else { made == Made::ByFirst }, "rank {rank}: {made:?}");
        }
        assert_eq!(keys(log), all, "{size} ranks");
        assert_eq!(cells(root.path())?, cells(alone.path())?, "{size} ranks");
    }
    Ok(())
}

#[test]
fn what_ranks_have_computed_before_a_stop_is_kept_for_any_number_of_them() -> Result<()> {
    let (root, log) = (tempfile::tempdir()?, Log::default());
    let stopped = |key: &str, x| Ok(noted(&log, key, x).filter(|_| key != "first-3"));
    assert!(by_ranks(2, root.path(), stopped).into_iter().all(|made| matches!(made, Ok(Made::Interrupted))));
    assert_eq!(cells(root.path())?.len(), 4);
    let log = Log::default();
    let made = by_ranks(3, root.path(), |key, x| Ok(noted(&log, key, x)));
    assert!(matches!(&made[0], Ok(Made::Whole(found)) if found.len() == 6));
    let mut left: Vec<String> = cells(root.path())?.into_iter().map(|(name, _)| name.replace(".json", "")).collect();
    left.retain(|key| key == "first-3" || key.starts_with("second"));
    assert_eq!(keys(log), left);
    // all is there: one process computes nothing
    let made = open(root.path(), 0)?.make(|study| ask(study, &|key, _| bail!("{key} was there")))?;
    assert!(matches!(made, Made::Whole(found) if found.len() == 6));
    Ok(())
}

#[test]
fn the_error_of_one_rank_s_cell_ends_all() -> Result<()> {
    let root = tempfile::tempdir()?;
    let failing = |key: &str, x: f64| if key == "first-4" { bail!("no memory") } else { Ok(Some(x)) };
    let made = by_ranks(3, root.path(), failing);
    let aborted = |made: &Result<Made<_>>| {
        made.as_ref().is_err_and(|e| matches!(e.downcast_ref(), Some(CommError::Aborted { .. })))
    };
    let said: Vec<String> = made.iter().filter(|made| !aborted(made)).map(|made| format!("{made:?}")).collect();
    assert!(said.len() == 1 && said[0].contains("cell first-4") && said[0].contains("no memory"), "{said:?}");
    Ok(())
}

#[test]
fn a_rank_that_does_not_see_the_folder_says_so_and_no_other_does() -> Result<()> {
    let root = tempfile::tempdir()?;
    let opened = Threads::run(3, |engine| {
        let ranks = Ranks::new(engine);
        let seed = u64::from(ranks.rank() == 1);
        // the threads go on until all have said what they found
        anyhow::Ok(ranks::with(ranks, || open(root.path(), seed).map(drop)))
    });
    for (rank, found) in opened.into_iter().enumerate() {
        let e = found?.expect_err("rank 1 is of another study");
        match rank {
            1 => assert!(e.to_string().contains("--out") && e.to_string().contains("a disk that all see"), "{e}"),
            _ => assert_eq!(e.downcast_ref(), Some(&AnotherFailed { rank: 1 })),
        }
    }
    Ok(())
}
