//! Plots of files within the page.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use std::path::Path;

/// A plot within the page.
#[derive(Debug)]
pub(super) struct Plot {
    /// The file's name.
    pub file: String,
    /// What it shows.
    pub caption: String,
    /// The SVG file as a `data:` address. A browser runs no script and loads nothing in an image.
    pub address: String,
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
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file, caption, address: svg_address(&svg) })
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

    /// The plot with its caption.
    pub fn figure(&self) -> Markup {
        html! {
            figure class="plot" {
                div class="scroll" role="region" tabindex="0" aria-label="plot" {
                    img src=(self.address) alt=(self.caption);
                }
                figcaption { (self.caption) }
            }
        }
    }
}

/// An SVG as the address of an image.
pub(super) fn svg_address(svg: &str) -> String {
    format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg))
}
