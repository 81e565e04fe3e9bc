//! `flat-train data`.

use super::print;
use crate::args::DataAction;
use crate::exit::Outcome;
use anyhow::{Result, bail};
use flat_data::{Coloring, DatasetKind, Split, VerifyReport};
use flat_run::{Ui, signal, usage};
use serde_json::json;
use std::path::Path;
use std::sync::Mutex;

/// Fetches, makes or verifies.
pub(super) fn run(action: DataAction, ui: Ui<'static>, as_json: bool) -> Result<Outcome> {
    match action {
        DataAction::Fetch { dataset, data_dir } => fetch(dataset, data_dir.as_deref(), ui, as_json),
        DataAction::Color { correlation, seed, out, data_dir } => {
            color(Coloring { correlation, seed }, data_dir.as_deref(), out.as_deref(), as_json)
        }
        DataAction::Verify { dataset, data_dir } => verify(dataset, data_dir.as_deref(), as_json),
    }
}

fn fetch(kind: DatasetKind, dir: Option<&Path>, ui: Ui<'static>, as_json: bool) -> Result<Outcome> {
    let bar = Mutex::new(None);
    let fetched = flat_data::fetch(kind, dir, move |transfer| {
        if signal::stop_requested() {
            // nothing that looks whole is left behind; the next fetch takes up what is missing
            std::process::exit(130);
        }
        let Ok(mut bar) = bar.lock() else { return };
        let (_, bar) = match &mut *bar {
            Some((file, bar)) if *file == transfer.file => (&*file, bar),
            slot => {
                let (file, bar) =
                    slot.insert((transfer.file.clone(), ui.bar(&transfer.file, 0, transfer.total, "bytes")));
                (&*file, bar)
            }
        };
        bar.update(transfer.done, String::new);
    })?;
    let files: Vec<_> = fetched
        .files
        .iter()
        .map(|f| json!({ "path": f.path, "bytes": f.bytes, "sha256": f.sha256, "downloaded": f.downloaded }))
        .collect();
    print(as_json, &json!({ "dataset": kind.name(), "dir": fetched.dir, "files": files }), || {
        let line = |f: &flat_data::FetchedFile| {
            let what = if f.downloaded { "downloaded" } else { "was there" };
            format!("{what}  {:>10} bytes  sha256 {}  {}", f.bytes, f.sha256, f.path.display())
        };
        fetched.files.iter().map(line).collect::<Vec<_>>().join("\n")
    })
}

fn color(coloring: Coloring, mnist: Option<&Path>, out: Option<&Path>, as_json: bool) -> Result<Outcome> {
    let Coloring { correlation, seed } = coloring;
    if !(0.0..=1.0).contains(&correlation) {
        return Err(usage(format!("--correlation {correlation}: give a share in [0, 1]")));
    }
    let made = flat_data::make_colored(coloring, mnist, out)?;
    let kind = made.dataset.kind;
    let parts = [("train", &made.dataset.train), ("test", &made.dataset.test)].map(|(name, split)| (name, part(split)));
    let files: Vec<_> =
        made.files.iter().map(|f| json!({ "path": f.path, "bytes": f.bytes, "sha256": f.sha256 })).collect();
    let mut value = json!({
        "dataset": kind.name(), "dir": made.dir, "correlation": correlation, "seed": seed, "files": files,
    });
    parts.iter().for_each(|(name, part)| value[*name] = part.clone());
    print(as_json, &value, || {
        let head = format!("{kind} in {}, correlation {correlation}, seed {seed}", made.dir.display());
        let of = |(name, part): &(&str, serde_json::Value)| {
            format!(
                "{name}: {} images, {} in the colour of their class; {} groups, the smallest of {} images",
                part["images"], part["aligned"], part["groups"], part["smallest_group"]
            )
        };
        let file =
            |f: &flat_data::MadeFile| format!("{:>10} bytes  sha256 {}  {}", f.bytes, f.sha256, f.path.display());
        let lines = parts.iter().map(of).chain(made.files.iter().map(file));
        [head].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
    })
}

/// Sizes of a split and of its groups.
fn part(split: &Split) -> serde_json::Value {
    let Some(groups) = split.groups() else { return serde_json::Value::Null };
    let aligned = groups.present().filter(|(group, _)| group.class == group.attribute).map(|(_, all)| all.len());
    json!({
        "images": split.len(),
        "aligned": aligned.sum::<usize>(),
        "groups": groups.present().count(),
        "smallest_group": groups.present().map(|(_, all)| all.len()).min(),
    })
}

fn verify(kind: DatasetKind, dir: Option<&Path>, as_json: bool) -> Result<Outcome> {
    let report = flat_data::verify(kind, dir)?;
    let mut value = serde_json::to_value(&report)?;
    value["ok"] = report.is_ok().into();
    print(as_json, &value, || table(&report))?;
    if report.is_ok() {
        return Ok(Outcome::Done);
    }
    let broken = report.files.iter().find_map(|f| Some(format!("{}: {}", f.path.display(), f.problem.as_ref()?)));
    bail!("{kind} is damaged: {}", broken.or(report.problem).unwrap_or_default())
}

fn table(report: &VerifyReport) -> String {
    let mut rows: Vec<String> = report
        .files
        .iter()
        .map(|f| {
            let state = format!("{:?}", f.state).to_lowercase();
            format!("{state:<10} {:>10} bytes  {}  {}", f.bytes, f.path.display(), f.problem.as_deref().unwrap_or(""))
        })
        .collect();
    if let (Some(train), Some(test)) = (report.train, report.test) {
        rows.push(format!("{}: {train} training and {test} test images", report.kind));
    }
    rows.join("\n")
}
