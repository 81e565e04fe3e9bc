//! The page of a study in Markdown: text, tables and plots.

use crate::provenance::Provenance;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A table of a page; also what `results.json` holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// What it shows, with units.
    pub caption: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The cells as printed, row by row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(caption: impl Into<String>, columns: &[&str]) -> Self {
        Self { caption: caption.into(), columns: columns.iter().map(|c| (*c).into()).collect(), rows: Vec::new() }
    }

    /// Adds a row; what it lacks is left empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let line =
            |cells: &[String]| format!("| {} |\n", cells.iter().map(|c| escaped(c)).collect::<Vec<_>>().join(" | "));
        let mut text = format!("{}\n\n{}", self.caption, line(&self.columns));
        text.push_str(&format!("|{}\n", "---|".repeat(self.columns.len())));
        text.extend(self.rows.iter().map(|row| line(row)));
        text
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|").replace('\n', " ")
}

/// A plot of a page; also what `results.json` holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figure {
    /// Name of the SVG file beside the page.
    file: String,
    /// What it shows.
    caption: String,
}

/// A piece of a page.
#[derive(Debug, Clone)]
pub(super) enum Block {
    /// The title of a section.
    Heading(String),
    /// A paragraph of Markdown.
    Text(String),
    /// A table.
    Table(Table),
    /// A plot.
    Figure(Figure),
}

impl Block {
    /// A plot that was drawn into the study's folder under this name.
    pub fn figure(file: impl Into<String>, caption: impl Into<String>) -> Self {
        Self::Figure(Figure { file: file.into(), caption: caption.into() })
    }
}

/// Text, tables and plots in their order.
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    blocks: Vec<Block>,
}

impl Page {
    /// A page of these blocks.
    pub(super) fn new(title: impl Into<String>, blocks: Vec<Block>) -> Self {
        Self { title: title.into(), blocks }
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The tables in their order.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.blocks.iter().filter_map(|b| if let Block::Table(t) = b { Some(t) } else { None })
    }

    /// The plots in their order.
    pub(super) fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.blocks.iter().filter_map(|b| if let Block::Figure(f) = b { Some(f) } else { None })
    }

    /// The page as Markdown, with the command that makes it.
    pub fn markdown(&self, from: &Provenance) -> String {
        let mut out = format!("# {}\n\n", self.title);
        let _ = writeln!(
            out,
            "Made by `flat-train reproduce {}`, version {}; the numbers are in [results.json](results.json).",
            from.words(),
            from.version
        );
        for block in &self.blocks {
            let _ = match block {
                Block::Heading(text) => writeln!(out, "\n## {text}"),
                Block::Text(text) => writeln!(out, "\n{text}"),
                Block::Table(table) => write!(out, "\n{}", table.markdown()),
                Block::Figure(Figure { file, caption }) => {
                    writeln!(out, "\n![{}]({file})\n\n{caption}", escaped(caption))
                }
            };
        }
        out
    }

    /// The page for a terminal: titles and tables.
    pub fn summary(&self) -> String {
        let tables: Vec<String> = self.tables().map(aligned).collect();
        format!("{}\n\n{}", self.title, tables.join("\n"))
    }
}

/// A table in columns of even width.
fn aligned(table: &Table) -> String {
    let width = |i: usize| {
        table.rows.iter().chain([&table.columns]).map(|row| row[i].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let mut out = format!("{}\n", table.caption);
    for row in [&table.columns].into_iter().chain(&table.rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:<w$}")).collect();
        out.push_str(&format!("  {}\n", cells.join("  ").trim_end()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scale;

    #[test]
    fn a_page_is_markdown_in_the_order_it_was_written() {
        let mut table = Table::new("Numbers", &["a", "b"]);
        table.row(["1|2"]);
        let words = [Block::Heading("Part".into()), Block::Text("Words.".into())];
        let page = Page::new("Title", [&words[..], &[Block::Table(table), Block::figure("f.svg", "a plot")]].concat());
        let version = "0".into();
        let from =
            Provenance { study: "theory".into(), scale: Scale::Smoke, seed: 3, version, file: None, parts: Vec::new() };
        let text = page.markdown(&from);
        let order: Vec<usize> =
            ["# Title", "theory --scale smoke --seed 3", "## Part", "Words.", "| 1\\|2 |  |", "![a plot](f.svg)"]
                .iter()
                .map(|part| text.find(part).unwrap_or_else(|| panic!("{part} in {text}")))
                .collect();
        assert!(order.is_sorted(), "{text}");
        assert!(page.summary().contains("1|2"));
    }
}
