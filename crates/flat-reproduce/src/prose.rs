//! The prose of a study's page: Markdown with holes for computed values.
//!
//! A paragraph is what stands between empty lines; one that begins with `# ` is the title, with `## ` a heading. `{{name}}` is
//! a hole; a paragraph that is one hole takes tables and plots. `{{only cpu}}` before a paragraph leaves it to that scale.
//! `{{fragment name}}` begins a piece of its own, to be filled as often as there is something to say.

use crate::markdown::{Block, Page, Table};
use crate::recipe::Sizes;
use crate::scale::Scale;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};

/// What stands on every page of the smallest scale.
const SMOKE: &str = "**This is the smoke scale: it shows that everything runs, its numbers mean nothing.**";

/// What goes into the holes.
#[derive(Default)]
pub(crate) struct Holes(BTreeMap<&'static str, Vec<Block>>);

impl Holes {
    /// Words or a number.
    pub fn text(mut self, name: &'static str, text: impl ToString) -> Self {
        self.0.insert(name, vec![Block::Text(text.to_string())]);
        self
    }

    /// A table.
    pub fn table(self, name: &'static str, table: Table) -> Self {
        self.blocks(name, vec![Block::Table(table)])
    }

    /// Flags of a run under their own names.
    pub fn flags(self, run: &toml::Table, names: &[&'static str]) -> Self {
        names.iter().fold(self, |holes, name| {
            let value = run.get(*name).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string));
            holes.text(name, value.unwrap_or_default())
        })
    }

    /// How many images there are of each kind.
    pub fn images(self, [train, validation, test]: Sizes) -> Self {
        self.text("train", train).text("validation", validation).text("test", test)
    }

    /// Whatever fills a paragraph; nothing leaves it out.
    pub fn blocks(mut self, name: &'static str, blocks: Vec<Block>) -> Self {
        self.0.insert(name, blocks);
        self
    }
}

/// A prose file.
pub(crate) struct Prose {
    scale: Scale,
    fragments: BTreeMap<&'static str, Vec<String>>,
}

impl Prose {
    /// Reads a prose file for a page of that scale.
    pub fn new(text: &'static str, scale: Scale) -> Self {
        let mut fragments = BTreeMap::new();
        let mut name = "";
        for part in text.split("\n\n") {
            let part = part.trim();
            if let Some(next) = part.strip_prefix("{{fragment ").and_then(|rest| rest.strip_suffix("}}")) {
                name = next;
            } else if !part.is_empty() {
                fragments.entry(name).or_insert_with(Vec::new).push(joined(part));
            }
        }
        Self { scale, fragments }
    }

    /// The page, without its fragments.
    ///
    /// # Errors
    /// A hole that nothing fills, something that no hole takes, a file without a title.
    pub fn page(&self, holes: Holes) -> Result<Page> {
        let smoke = if self.scale == Scale::Smoke { SMOKE } else { "" };
        let mut blocks = self.fragment("", holes.text("smoke", smoke))?.into_iter();
        match blocks.next() {
            Some(Block::Text(first)) if first.starts_with("# ") => Ok(Page::new(&first[2..], blocks.collect())),
            _ => bail!("the prose has no title: begin with `# `"),
        }
    }

    /// A fragment.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub fn fragment(&self, name: &str, holes: Holes) -> Result<Vec<Block>> {
        let Some(paragraphs) = self.fragments.get(name) else { bail!("the prose has no fragment `{name}`") };
        let (mut blocks, mut used) = (Vec::new(), BTreeSet::new());
        for paragraph in paragraphs {
            let (kept, paragraph) = match paragraph.strip_prefix("{{only ").and_then(|rest| rest.split_once("}} ")) {
                Some((scale, rest)) => (scale == self.scale.to_string(), rest),
                None => (true, paragraph.as_str()),
            };
            let found = fill(paragraph, &holes, &mut used)?;
            blocks.extend(found.into_iter().filter(|block| kept && !matches!(block, Block::Text(t) if t.is_empty())));
        }
        match holes.0.keys().find(|name| !used.contains(**name)) {
            Some(unused) => bail!("the prose has no hole `{{{{{unused}}}}}` for what was computed"),
            None => Ok(blocks),
        }
    }
}

/// Lines as one, but for the items of a list.
fn joined(paragraph: &str) -> String {
    let mut out = String::new();
    for line in paragraph.lines() {
        let item = line.starts_with("* ") || line.starts_with("- ");
        out.push_str(if out.is_empty() {
            ""
        } else if item {
            "\n"
        } else {
            " "
        });
        out.push_str(line.trim());
    }
    out
}

/// A paragraph with its holes filled.
fn fill(paragraph: &str, holes: &Holes, used: &mut BTreeSet<&'static str>) -> Result<Vec<Block>> {
    let mut of = |name: &str| match holes.0.get_key_value(name) {
        Some((name, blocks)) => {
            used.insert(name);
            Ok(blocks)
        }
        None => bail!("nothing was computed for the hole `{{{{{name}}}}}` of the prose"),
    };
    if let Some(name) =
        paragraph.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).filter(|n| !n.contains('{'))
    {
        return Ok(of(name)?.clone());
    }
    let (mut text, mut rest) = (String::new(), paragraph);
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { bail!("a hole is not closed in: {paragraph}") };
        text.push_str(before);
        match of(name)?.as_slice() {
            [Block::Text(words)] => text.push_str(words),
            _ => bail!("the hole `{{{{{name}}}}}` is no text: give it a paragraph of its own"),
        }
        rest = after;
    }
    text.push_str(rest);
    let text = text.trim_end();
    Ok(vec![match text.strip_prefix("## ") {
        Some(heading) => Block::Heading(heading.into()),
        None => Block::Text(text.into()),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A {{what}}\n\n{{smoke}}\n\n## Numbers\n\nOne\nline:\n* a\n* {{n}}\n\n{{only cpu}} Large.\n\n{{table}}\n\n\
                        {{fragment part}}\n\nPart {{key}}.";

    fn holes() -> Holes {
        Holes::default().text("what", "page").text("n", 3).table("table", Table::new("t", &["c"]))
    }

    fn text(scale: Scale) -> Result<String> {
        let from =
            crate::Provenance { study: "s".into(), scale, seed: 0, version: "0".into(), file: None, parts: Vec::new() };
        Ok(Prose::new(TEXT, scale).page(holes())?.markdown(&from))
    }

    #[test]
    fn holes_are_filled_in_their_places_and_scales_keep_what_is_theirs() -> Result<()> {
        let (smoke, cpu) = (text(Scale::Smoke)?, text(Scale::Cpu)?);
        for page in [&smoke, &cpu] {
            assert!(
                page.starts_with("# A page\n") && page.contains("\nOne line:\n* a\n* 3\n\nt\n\n| c |")
                    || page.contains("Large.")
            );
            assert!(!page.contains("{{"), "{page}");
        }
        assert!(smoke.contains("smoke scale") && !smoke.contains("Large."));
        assert!(!cpu.contains("smoke scale") && cpu.contains("\n\nLarge.\n"));
        let part = Prose::new(TEXT, Scale::Cpu).fragment("part", Holes::default().text("key", "x"))?;
        assert!(matches!(&part[..], [Block::Text(t)] if t == "Part x."));
        Ok(())
    }

    #[test]
    fn a_hole_without_value_and_a_value_without_hole_are_errors_that_name_it() {
        let error = |holes| Prose::new(TEXT, Scale::Cpu).page(holes).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error(Holes::default().text("what", "page")).contains("{{n}}"));
        assert!(error(holes().text("other", 1)).contains("{{other}}"));
        assert!(error(holes().table("n", Table::new("", &[]))).contains("{{n}}"), "a table within a line");
        // also where the scale leaves the paragraph out
        let hidden = Prose::new("# T\n\n{{smoke}}\n\n{{only paper}} {{x}}", Scale::Cpu);
        assert!(hidden.page(Holes::default()).is_err() && hidden.page(Holes::default().text("x", 1)).is_ok());
    }
}
