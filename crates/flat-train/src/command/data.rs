//! `flat-train data`.

mod shown;

use super::print;
use crate::args::{DataAction, FetchArgs};
use crate::exit::Outcome;
use anyhow::{Result, bail};
use flat_data::{
    Checked, Coloring, DatasetKind, FetchEvent, FetchOptions, FetchedFile, Patience, Split, Transfer, VerifyReport,
};
use flat_run::value::table::item;
use flat_run::{Bar, Ui, signal, usage};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Fetches, makes or verifies.
pub(super) fn run(action: DataAction, ui: Ui<'static>, as_json: bool) -> Result<Outcome> {
    match action {
        DataAction::Fetch(args) => fetch(&args, ui, as_json),
        DataAction::Color { correlation, seed, out, data_dir } => {
            color(Coloring { correlation, seed }, data_dir.as_deref(), out.as_deref(), as_json)
        }
        DataAction::Show(args) => shown::show(&args, as_json),
        DataAction::Verify { dataset, data_dir } => verify(dataset, data_dir.as_deref(), as_json),
    }
}

fn fetch(args: &FetchArgs, ui: Ui<'static>, as_json: bool) -> Result<Outcome> {
    let wait = |flag: &str, seconds: f64| match seconds {
        // the longest that a clock can be told to wait, and more than anyone does
        s if (0.01..=1e6).contains(&s) => Ok(Duration::from_secs_f64(s)),
        s => Err(usage(format!("--{flag} {s}: give seconds in [0.01, 1e6]"))),
    };
    let patience = Patience::within(wait("timeout", args.timeout)?, wait("max-time", args.max_time)?);
    let options = FetchOptions { patience, ..Default::default() };
    let mut shown = Shown { ui, kind: args.dataset, waits: false, bar: None };
    let fetched = match flat_data::fetch(args.dataset, args.data_dir.as_deref(), &options, &mut |e| shown.event(e)) {
        Err(flat_data::Error::Interrupted) => return Ok(Outcome::Interrupted),
        result => result?,
    };
    drop(shown);
    let file = |f: &FetchedFile| json!({ "path": f.path, "bytes": f.bytes, "sha256": f.sha256, "checked": f.checked, "downloaded": f.downloaded });
    let value = json!({
        "dataset": args.dataset.name(), "dir": fetched.dir, "repository": fetched.repository, "revision": fetched.revision,
        "files": fetched.files.iter().map(file).collect::<Vec<_>>(),
    });
    print(as_json, &value, || {
        let (dir, repository, revision) = (fetched.dir.display(), &fetched.repository, &fetched.revision);
        let head = format!("{} in {dir}, from {repository} at commit {revision}", args.dataset);
        let line = |f: &FetchedFile| {
            let what = if f.downloaded { "downloaded" } else { "was there" };
            let checked = match f.checked {
                Checked::File => "checked: the known file",
                Checked::Contents => "checked: the original's images and labels",
                _ => "not checked: no sum is known",
            };
            item(&format!("{what} {}: {} bytes, {checked}, sha256 {}", f.path.display(), f.bytes, f.sha256))
        };
        [item(&head)].into_iter().chain(fetched.files.iter().map(line)).collect::<Vec<_>>().join("\n")
    })
}

/// What a person sees of a fetch.
struct Shown {
    ui: Ui<'static>,
    kind: DatasetKind,
    /// Whether it was said that another process is waited for.
    waits: bool,
    /// The file that is coming, since when, and its bar.
    bar: Option<(String, Instant, Bar)>,
}

impl Shown {
    fn event(&mut self, event: FetchEvent) -> ControlFlow<()> {
        match event {
            FetchEvent::Waiting { lock, process } if !self.waits => {
                self.waits = true;
                let process = process.map_or("another process".into(), |id: u32| format!("process {id}"));
                let (kind, lock) = (self.kind, lock.display());
                self.ui
                    .warn(format!("waiting for {process}, which fetches {kind} too and holds {lock}; Ctrl-C gives up"));
            }
            FetchEvent::Again { fault, after } => {
                self.bar = None;
                self.ui.warn(format!("{fault}; trying again in {} s", after.as_secs_f64()));
            }
            FetchEvent::Transfer(transfer) if transfer.done > 0 => self.transfer(transfer),
            _ => {}
        }
        signal::go_on()
    }

    fn transfer(&mut self, transfer: &Transfer) {
        if self.bar.as_ref().is_none_or(|(file, ..)| *file != transfer.file) {
            let bar = self.ui.bar(&transfer.file, 0, transfer.total, "bytes");
            self.bar = Some((transfer.file.clone(), Instant::now(), bar));
        }
        if let Some((_, since, bar)) = &mut self.bar {
            let rate = transfer.done as f64 / since.elapsed().as_secs_f64().max(0.1);
            bar.update(transfer.done, || format!("{:.1} MB/s", rate / 1e6));
        }
    }
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
            item(&format!(
                "{name}: {} images, {} in the colour of their class; {} groups, the smallest of {} images",
                part["images"], part["aligned"], part["groups"], part["smallest_group"]
            ))
        };
        let file =
            |f: &flat_data::MadeFile| item(&format!("{}: {} bytes, sha256 {}", f.path.display(), f.bytes, f.sha256));
        let lines = parts.iter().map(of).chain(made.files.iter().map(file));
        [item(&head)].into_iter().chain(lines).collect::<Vec<_>>().join("\n")
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
            let problem = f.problem.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
            item(&format!("{state}: {}, {} bytes{problem}", f.path.display(), f.bytes))
        })
        .collect();
    if let (Some(train), Some(test)) = (report.train, report.test) {
        rows.push(format!("{}: {train} training and {test} test images", report.kind));
    }
    rows.join("\n")
}
