//! The folder of a reproduction, read back.

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
    /// Its tables.
    pub tables: Vec<Table>,
    /// Its plots.
    pub figures: Vec<Plot>,
}

/// A plot within the page.
#[derive(Debug)]
pub(super) struct Plot {
    /// What it shows.
    pub caption: String,
    /// The SVG file as a `data:` address. A browser runs no script and loads nothing in an image.
    pub address: String,
}

#[derive(Deserialize)]
struct Results {
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
    /// Reads `study.json` and, where it is there, `results.json` with the plots it names.
    ///
    /// # Errors
    /// A missing or damaged file, which is named.
    pub fn read(folder: &Path, name: String) -> Result<Self> {
        let provenance: Provenance = parse(&folder.join("study.json"))?;
        let file = folder.join("results.json");
        let finished = file.exists();
        let results = match finished {
            true => parse(&file)?,
            false => Results { title: provenance.study.clone(), tables: Vec::new(), figures: Vec::new() },
        };
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
            tables: results.tables,
            figures: results.figures.into_iter().map(plot).collect::<Result<_>>()?,
        })
    }
}

impl Plot {
    /// An SVG file.
    ///
    /// # Errors
    /// One that cannot be read, or is no whole SVG.
    pub fn read(path: &Path, caption: String) -> Result<Self> {
        let svg = flat_core::file::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !(svg.contains("<svg") && svg.trim_end().ends_with("</svg>")) {
            bail!("{} is damaged: it is no whole SVG file", path.display());
        }
        Ok(Self { caption, address: svg_address(&svg) })
    }

    /// The plots of the folders in `RUN/metrics`, by name; those that do not read are left out.
    pub fn beside(run: &Path) -> Vec<Self> {
        let entries = |folder: &Path| {
            let found = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let mut found: Vec<_> = found.collect();
            found.sort();
            found
        };
        let files =
            entries(&run.join("metrics")).into_iter().filter(|path| path.is_dir()).flat_map(|dir| entries(&dir));
        let caption = |file: &Path| {
            let names = [file.parent().and_then(Path::file_name), file.file_stem()];
            names.into_iter().flatten().map(|name| name.to_string_lossy()).collect::<Vec<_>>().join(": ")
        };
        let svg = files.filter(|file| file.extension().is_some_and(|end| end == "svg"));
        svg.filter_map(|file| Self::read(&file, caption(&file)).ok()).collect()
    }
}

fn plot(folder: &Path, results: &Path, Figure { file, caption }: Figure) -> Result<Plot> {
    let mut parts = Path::new(&file).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        bail!("{} is damaged: the figure `{file}` is no file beside it", results.display());
    }
    Plot::read(&folder.join(&file), caption)
}

/// An SVG as the address of an image.
pub(super) fn svg_address(svg: &str) -> String {
    format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg))
}

fn parse<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = flat_core::file::read(file, flat_core::file::TEXT)
        .with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&bytes).map_err(|e| anyhow!("{} is damaged: {e}", file.display()))
}
