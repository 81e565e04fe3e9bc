//! The folder of a reproduction, read back.

use super::plot::Plot;
use anyhow::{Context, Result, anyhow, bail};
use flat_reproduce::{Provenance, Table};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Component, Path};

/// A reproduction: tables and plots.
#[derive(Debug)]
pub(super) struct StudyPage {
    /// The folder's name, longer where another folder has the same.
    pub name: String,
    /// The folder as it was named.
    pub path: String,
    /// What made it.
    pub provenance: Provenance,
    /// Whether its results are there.
    pub finished: bool,
    /// Its title; its name while it is in progress.
    pub title: String,
    /// Its page as Markdown, where it has one: tables, plots and what they mean.
    pub prose: Option<String>,
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its plots.
    pub figures: Vec<Plot>,
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    provenance: Option<Provenance>,
    title: String,
    tables: Vec<Table>,
    figures: Vec<Figure>,
}

#[derive(Deserialize)]
struct Figure {
    file: String,
    caption: String,
}

impl StudyPage {
    /// Reads `study.json` and, where it is there, `results.json` with the plots it names. A page that was kept may have the
    /// second alone.
    ///
    /// # Errors
    /// A missing or damaged file, which is named.
    pub fn read(folder: &Path, name: String) -> Result<Self> {
        let (begun, file) = (folder.join("study.json"), folder.join("results.json"));
        let finished = file.exists();
        let mut results: Option<Results> = finished.then(|| parse(&file)).transpose()?;
        let kept = results.as_mut().and_then(|results| results.provenance.take()).filter(|_| !begun.exists());
        let provenance = match kept {
            Some(provenance) => provenance,
            None => parse(&begun)?,
        };
        let results = results.unwrap_or_else(|| Results {
            provenance: None,
            title: provenance.study.clone(),
            tables: Vec::new(),
            figures: Vec::new(),
        });
        if let Some(t) = results.tables.iter().find(|t| t.rows.iter().any(|row| row.len() != t.columns.len())) {
            bail!("{} is damaged: a row of the table `{}` is not as long as its head", file.display(), t.caption);
        }
        let plot = |figure: Figure| plot(folder, &file, figure);
        Ok(Self {
            name,
            path: folder.display().to_string(),
            provenance,
            finished,
            title: results.title,
            prose: prose(&folder.join("results.md"))?,
            tables: results.tables,
            figures: results.figures.into_iter().map(plot).collect::<Result<_>>()?,
        })
    }
}

fn plot(folder: &Path, results: &Path, Figure { file, caption }: Figure) -> Result<Plot> {
    let mut parts = Path::new(&file).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        bail!("{} is damaged: the figure `{file}` is no file beside it", results.display());
    }
    Plot::read(&folder.join(&file), caption)
}

/// The Markdown of a study; one in progress has none, nor one of which only the numbers were kept.
fn prose(file: &Path) -> Result<Option<String>> {
    match file.exists() {
        true => Ok(Some(flat_core::file::read_text(file).with_context(|| format!("cannot read {}", file.display()))?)),
        false => Ok(None),
    }
}

fn parse<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = flat_core::file::read(file, flat_core::file::TEXT)
        .with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&bytes).map_err(|e| anyhow!("{} is damaged: {e}", file.display()))
}
