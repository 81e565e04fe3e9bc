//! The folder of a reproduction: its cells, computed once and kept.

mod share;

use crate::args::ReproduceArgs;
use crate::flags::{Flags, normalised};
use crate::images::{Images, Sums};
use crate::markdown::Page;
use crate::provenance::Provenance;
use crate::recipe::{Sizes, parse};
use crate::scratch::{self, clear};
use anyhow::{Context, Result, bail};
use flat_run::measure::SCHEMA;
use flat_run::store::{lock, same_data, write_whole};
use flat_run::value::short;
use flat_run::{Bar, Shown, Standings, Ui, ranks, signal, usage};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use share::Made;
use share::Share;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Cells that the screen is told of.
const MOST_SHOWN: usize = 100;

/// A cell as it lies in the folder.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    settings: Value,
    wall_s: f64,
    result: Value,
}

/// A reproduction in progress, its folder locked for this process.
pub struct Study<'a> {
    root: PathBuf,
    provenance: Provenance,
    /// Of the study's file.
    text: String,
    ui: Ui<'a>,
    bar: Option<Bar>,
    planned: u64,
    done: u64,
    /// The cells done, for the screen, the newest first.
    cells: Standings,
    /// What this rank does of it, where there are several.
    share: Option<Share>,
    /// The first rank's.
    _lock: Option<File>,
}

impl<'a> Study<'a> {
    /// Opens the folder of a study, new or to be continued; `text` is that of the study's file. All ranks open it together.
    ///
    /// # Errors
    /// The folder holds another study or a run, is in use, cannot be written, or is not seen by all ranks.
    pub fn open(root: &Path, of: Provenance, text: String, ui: Ui<'a>) -> Result<Self> {
        let whole = of.clone().with_parts(Vec::new());
        let lock = ranks::agree(ranks::here().is_first().then(|| Self::begin(root, &whole, &text)).transpose())?;
        ranks::agree(lock.as_ref().map_or_else(|| share::sees(root, &whole), |_| Ok(())))?;
        Ok(Self {
            root: root.to_path_buf(),
            provenance: of,
            text,
            ui,
            bar: None,
            planned: 0,
            done: 0,
            cells: Standings { title: "cells done".into(), rows: Vec::new() },
            share: Share::of_this_rank(),
            _lock: lock,
        })
    }

    /// Makes or finds the study in its folder, and locks it.
    fn begin(root: &Path, whole: &Provenance, text: &str) -> Result<File> {
        if root.join("config.toml").exists() {
            return Err(usage(format!("--out {}: a run is there, choose another folder", root.display())));
        }
        let file = root.join("study.json");
        std::fs::create_dir_all(root.join("cells"))
            .with_context(|| format!("cannot create --out {}", root.display()))?;
        let lock = lock(root, "cells")?;
        scratch::tidy(root)?;
        if file.exists() {
            let found: Provenance =
                read(&file).with_context(|| format!("{} is damaged: choose another --out", file.display()))?;
            if found != *whole {
                return Err(usage(format!(
                    "--out {}: it holds `{}` of version {}, not `{}` of {}; choose another folder",
                    root.display(),
                    found.words(),
                    found.version,
                    whole.words(),
                    whole.version
                )));
            }
        } else {
            write_whole(&file, &serde_json::to_vec_pretty(whole)?)?;
        }
        // as it is now: a file of the user's may change between two sittings
        write_whole(&root.join("study.toml"), text.as_bytes())?;
        Ok(lock)
    }

    /// Announces how many cells are to come, for the progress bar; may be called again as more become known.
    pub fn plan(&mut self, cells: usize) {
        self.planned += cells as u64;
        self.bar = None;
    }

    /// The result of a cell: computed now, or read where an earlier sitting computed it with the same settings. `None`
    /// where a signal asked to stop, and where a rank is still to compute it. `key` names the cell's file: letters, digits, `-`, `_` and `.`.
    ///
    /// # Errors
    /// Those of `compute`, a full disk, a key that is no file name. A damaged file of an earlier sitting costs a warning
    /// and is computed again.
    pub fn cell<S, T>(
        &mut self,
        key: &str,
        settings: &S,
        compute: impl FnOnce(Ui) -> Result<Option<T>>,
    ) -> Result<Option<T>>
    where
        S: Serialize,
        T: Serialize + DeserializeOwned,
    {
        self.cell_in(&[], key, settings, compute)
    }

    /// As [`Self::cell`], of a cell that computes in `folders`: they go once its result is on the disk, and not before.
    ///
    /// # Errors
    /// As there; a folder that cannot be cleared.
    pub fn cell_in<S, T>(
        &mut self,
        folders: &[PathBuf],
        key: &str,
        settings: &S,
        compute: impl FnOnce(Ui) -> Result<Option<T>>,
    ) -> Result<Option<T>>
    where
        S: Serialize,
        T: Serialize + DeserializeOwned,
    {
        if key.is_empty()
            || key.starts_with('.')
            || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        {
            bail!("`{key}` is no name of a cell");
        }
        if signal::asked() {
            return Ok(None);
        }
        let file = self.root.join("cells").join(format!("{key}.json"));
        // through text, so that numbers compare as they are read back
        let settings: Value = serde_json::from_str(&serde_json::to_string(settings)?)?;
        if let Some(kept) = self.share.as_ref().and_then(|share| share.known(key)) {
            let (wall_s, result) = (kept.wall_s, serde_json::from_value(kept.result.clone())?);
            self.advance(key, wall_s);
            return Ok(Some(result));
        }
        if self.share.as_ref().is_none_or(Share::reads)
            && let Some((kept, result)) = self.kept(&file, &settings)?
        {
            folders.iter().try_for_each(|folder| clear(folder))?;
            self.advance(key, kept.wall_s);
            self.share.iter_mut().for_each(|share| share.note(key, &kept));
            return Ok(Some(result));
        }
        if !self.share.as_mut().is_none_or(|share| share.takes(key)) {
            return Ok(None);
        }
        let started = Instant::now();
        self.show(key);
        // a cell may show a bar of its own where there is no other
        let ui = if self.bar.is_some() { self.ui.quiet() } else { self.ui };
        let Some(result) = compute(ui).with_context(|| format!("cell {key}"))? else {
            self.share.iter_mut().for_each(Share::stop);
            return Ok(None);
        };
        let wall_s = started.elapsed().as_secs_f64();
        let kept = Kept { settings, wall_s, result: serde_json::to_value(&result)? };
        write_whole(&file, &serde_json::to_vec_pretty(&kept)?)?;
        folders.iter().try_for_each(|folder| clear(folder))?;
        self.advance(key, wall_s);
        let Some(share) = &mut self.share else { return Ok(Some(result)) };
        // all ranks go on from it together
        share.note(key, &kept);
        Ok(None)
    }

    /// An earlier sitting's result, where it was of these settings.
    fn kept<T: DeserializeOwned>(&self, file: &Path, settings: &Value) -> Result<Option<(Kept, T)>> {
        if !file.exists() {
            return Ok(None);
        }
        match read::<Kept>(file).and_then(|kept| Ok((serde_json::from_value(kept.result.clone())?, kept))) {
            Ok((result, kept)) => {
                let same = kept.settings == *settings || normalised(kept.settings.clone()) == *settings;
                Ok(same.then_some((kept, result)))
            }
            Err(e) => {
                self.ui.warn(format!("{}: {e:#}; computing it again", file.display()));
                Ok(None)
            }
        }
    }

    fn show(&mut self, key: &str) {
        if self.planned > 1 {
            let (study, done, planned) = (&self.provenance.study, self.done, self.planned.max(self.done + 1));
            let ui = self.screen();
            let bar = self.bar.get_or_insert_with(|| ui.bar(study, done, planned, "cells"));
            bar.update(done, || key.to_string());
        }
    }

    fn advance(&mut self, key: &str, wall_s: f64) {
        self.done += 1;
        self.cells.rows.insert(0, [key.into(), String::new(), format!("{} s", short(wall_s))]);
        self.cells.rows.truncate(MOST_SHOWN);
        self.screen().show(Shown::Standings(&self.cells));
        self.show(key);
    }

    /// A folder within the study, for checkpoints and the like; created.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        // what is made and cleared there must be the study's own
        flat_core::file::no_link(&folder)
            .and_then(|()| std::fs::create_dir_all(&folder))
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// The study's folder, where the plots of its page belong.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// So many images of the data set of the flags, which must be those of the cells that are there.
    ///
    /// # Errors
    /// Those of [`Images::load`] and [`Self::is_of`].
    pub(super) fn images(&self, flags: &Flags, args: &ReproduceArgs, sizes: Sizes) -> Result<Images> {
        let (images, sums) = Images::load(flags, args.data_dir.as_deref(), sizes)?;
        self.is_of(&sums)?;
        Ok(images)
    }

    /// Refuses other images than those of the cells that are there: the sums are of the whole data set.
    ///
    /// # Errors
    /// A usage error that names what changed; a full disk.
    pub(super) fn is_of(&self, sums: &Sums) -> Result<()> {
        same_data(&self.root, sums)
    }

    /// What the study's file says.
    ///
    /// # Errors
    /// A usage error that names file, line and key.
    pub(super) fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        parse(self.provenance.file.as_deref(), &self.text)
    }

    /// What the study is of.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Where to show progress: nowhere while nothing is computed.
    fn screen(&self) -> Ui<'a> {
        if self.share.as_ref().is_some_and(Share::reads) { self.ui.quiet() } else { self.ui }
    }

    /// Writes `results.json` and `results.md`.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(&mut self, page: &Page, results: &impl Serialize) -> Result<Value> {
        self.bar = None;
        let whole = serde_json::json!({
            "provenance": self.provenance,
            "cells": self.done,
            "title": page.title(),
            "tables": page.tables().collect::<Vec<_>>(),
            "figures": page.figures().collect::<Vec<_>>(),
            "schema": SCHEMA,
            "results": results,
        });
        write_whole(&self.root.join("results.json"), &serde_json::to_vec_pretty(&whole)?)?;
        write_whole(&self.root.join("results.md"), page.markdown(&self.provenance).as_bytes())?;
        Ok(whole)
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    Ok(serde_json::from_slice(&flat_core::file::read(file, flat_core::file::TEXT)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scale;

    fn open(root: &Path, scale: Scale) -> Result<Study<'static>> {
        Study::open(root, Provenance::of("test", scale, 0, None), String::new(), Ui::NONE)
    }

    #[test]
    fn a_cell_is_computed_once_and_again_only_with_other_settings() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut count = 0;
        let mut once = |settings: f64| -> Result<Option<f64>> {
            let mut study = open(dir.path(), Scale::Smoke)?;
            study.cell("a", &settings, |_| {
                count += 1;
                Ok(Some(settings * 2.0))
            })
        };
        assert_eq!((once(0.1)?, once(0.1)?, once(0.3)?, once(0.3)?), (Some(0.2), Some(0.2), Some(0.6), Some(0.6)));
        assert_eq!(count, 2);
        Ok(())
    }

    #[test]
    fn what_is_damaged_is_computed_again_and_what_fails_is_not_kept() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut study = open(dir.path(), Scale::Smoke)?;
        assert!(study.cell::<_, f64>("a", &1, |_| bail!("no")).is_err());
        assert_eq!(study.cell::<_, f64>("a", &1, |_| Ok(None))?, None);
        assert_eq!(study.cell("a", &1, |_| Ok(Some(2.0)))?, Some(2.0));
        std::fs::write(dir.path().join("cells/a.json"), b"{")?;
        assert_eq!(study.cell("a", &1, |_| Ok(Some(3.0)))?, Some(3.0));
        assert!(study.cell("../a", &1, |_| Ok(Some(3.0))).is_err());
        Ok(())
    }

    #[test]
    fn the_folders_of_a_cell_go_after_its_result_is_kept_even_where_the_sitting_before_was_killed_between() -> Result<()>
    {
        let dir = tempfile::tempdir()?;
        let mut study = open(dir.path(), Scale::Smoke)?;
        let (run, kept) = (study.folder("runs")?.join("a"), dir.path().join("cells/a.json"));
        let make = || std::fs::create_dir_all(run.join("checkpoints"));
        make()?;
        // a cell that fails or is stopped keeps its folder to go on from
        assert!(study.cell_in::<_, f64>(std::slice::from_ref(&run), "a", &1, |_| bail!("no")).is_err());
        assert_eq!(study.cell_in::<_, f64>(std::slice::from_ref(&run), "a", &1, |_| Ok(None))?, None);
        assert!(run.exists() && !kept.exists());
        assert_eq!(study.cell_in(std::slice::from_ref(&run), "a", &1, |_| Ok(Some(2.0)))?, Some(2.0));
        assert!(!run.exists() && kept.exists());
        // killed after the result was written and before all was deleted, under either name
        make()?;
        std::fs::create_dir_all(scratch::going(&run).join("checkpoints"))?;
        assert_eq!(study.cell_in(std::slice::from_ref(&run), "a", &1, |_| bail!("computed twice"))?, Some(2.0));
        assert!(!run.exists());
        drop(study);
        open(dir.path(), Scale::Smoke)?;
        assert_eq!(std::fs::read_dir(dir.path().join("runs"))?.count(), 0);
        Ok(())
    }

    #[test]
    fn another_study_in_the_folder_or_another_process_at_it_is_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let study = open(dir.path(), Scale::Smoke)?;
        assert!(open(dir.path(), Scale::Smoke).is_err(), "locked");
        drop(study);
        let e = open(dir.path(), Scale::Cpu).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(e.contains("--scale smoke") && e.contains("choose another folder"), "{e}");
        Ok(())
    }
}
