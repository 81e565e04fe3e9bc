//! The guide in `docs/book`: its commands run, its links lead somewhere, its numbers are those of the studies.

use crate::tool::{Room, json, tool, top};
use flat_core::name::meant;
use flat_core::setting::SettingType;
use flat_run::settings::OptimizerName;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Blocks that no test runs: chapter, first line, reason.
const NOT_RUN: [(&str, &str, &str); 14] = [
    ("install.md", "cargo build --release", "builds the workspace"),
    ("install.md", "cargo install --path crates/flat-train --locked", "installs"),
    ("install.md", "scripts/wheel", "builds the workspace, and installs"),
    ("install.md", "cargo build --release --features cuda,cudnn", "needs NVIDIA's toolkit"),
    ("install.md", "source <(flat-train completions bash)", "changes the shell and the home of whoever runs it"),
    ("first-hour.md", "flat-train train --optimizer rsp", "takes minutes; a test of the README's command is in CI"),
    ("data.md", "flat-train data fetch cifar10", "downloads"),
    (
        "data.md",
        "flat-train data show flowers",
        "needs the \
     reader's images",
    ),
    (
        "machines.md",
        "mpirun -n 2 flat-train train --optimizer sam --grains 8 --out runs/two",
        "needs an MPI; scripts/check-mpi has one",
    ),
    (
        "machines.md",
        "mpirun -n 4 flat-train reproduce sam-vs-sgd --scale cpu --out runs/study",
        "needs an MPI; scripts/check-mpi has one",
    ),
    ("machines.md", "#!/bin/sh", "needs Slurm"),
    ("machines.md", "export FLAT_MPI_LIBRARY=/opt/mpi/lib/libmpi.so.40", "needs a container"),
    (
        "machines.md",
        "mpirun -n 4 flat-train bench --ranks --models resnet20 --optimizers sgd,sam --batch-sizes 32",
        "needs an MPI; scripts/check-mpi has one",
    ),
    ("own-model.md", "cargo run --release -p flat-minima --example own_model", "builds; it is run in CI"),
];

fn source() -> PathBuf {
    top().join("docs/book/src")
}

/// A file of the book with its name.
struct Chapter {
    name: String,
    text: String,
}

/// A fenced block: what follows the backticks, the line it begins at, its text.
struct Block {
    info: String,
    line: usize,
    text: String,
}

impl Chapter {
    /// Every file, by name.
    fn all() -> Vec<Self> {
        let mut all: Vec<Self> = (source().read_dir().expect("docs/book/src").flatten())
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "md"))
            .map(|entry| Self {
                name: entry.file_name().into_string().expect("a name"),
                text: std::fs::read_to_string(entry.path()).expect("text"),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None::<Block>);
        for (i, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(info), None) => open = Some(Block { info: info.into(), line: i + 1, text: String::new() }),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text += &format!("{line}\n"),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block that does not end", self.name);
        blocks
    }

    /// The text without its blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let lines = self.text.lines().filter(|line| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Targets of the links and pictures of a text; `%2E` is the point that mdBook would take for a chapter's.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.map(|target| target.replace("%2E", ".")).collect()
}

/// The anchor that a heading has, on GitHub as in mdBook.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_command_of_the_guide_runs() {
    let mut ran = 0;
    for chapter in Chapter::all() {
        let room = Room::new();
        let here = room.path("");
        for (name, to) in [("data", top().join("data")), ("models", top().join("models")), ("flat-train", tool())] {
            std::os::unix::fs::symlink(to.canonicalize().expect("it is there"), here.join(name)).expect("a link");
        }
        let path = format!("{}:{}", here.display(), std::env::var("PATH").unwrap_or_default());
        for block in chapter.blocks().iter().filter(|block| block.info == "sh") {
            let out = Command::new("sh")
                .args(["-euc", &block.text])
                .current_dir(&here)
                .env("PATH", &path)
                .env_remove("FLAT_DATA_DIR")
                .stdin(Stdio::null())
                .output()
                .expect("sh starts");
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{}, line {}:\n{}{said}", chapter.name, block.line, block.text);
            ran += block.text.matches("flat-train ").count();
        }
    }
    assert!(ran > 40, "{ran} commands: the blocks are found");
}

#[test]
fn blocks_are_of_kinds_that_are_checked_and_those_that_are_not_run_have_a_reason() {
    let mut listed: Vec<(&str, &str)> = NOT_RUN.iter().map(|(chapter, line, _)| (*chapter, *line)).collect();
    for chapter in Chapter::all() {
        for block in chapter.blocks() {
            let place = format!("{}, line {}", chapter.name, block.line);
            let first = block.text.lines().next().unwrap_or_default();
            match block.info.as_str() {
                "sh" => assert!(block.text.contains("flat-train "), "{place}: no command"),
                "sh,no-run" => {
                    let at = listed.iter().position(|block| *block == (chapter.name.as_str(), first));
                    listed.remove(at.unwrap_or_else(|| panic!("{place}: not in NOT_RUN")));
                }
                // code of an example compiles; here it would not
                "rust,ignore" => assert!(first.starts_with("{{#include "), "{place}: include an example"),
                "python" | "toml" => {}
                info => panic!("{place}: a block of {info:?}"),
            }
        }
    }
    assert!(listed.is_empty(), "NOT_RUN names what the book has not: {listed:?}");
}

#[test]
fn every_link_of_the_guide_leads_somewhere() {
    let mut seen = 0;
    for chapter in Chapter::all() {
        for link in links(&chapter.prose()).into_iter().filter(|link| !link.starts_with("https://")) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let path = if file.is_empty() { source().join(&chapter.name) } else { source().join(file) };
            assert!(path.exists(), "{}: {link} is not there", chapter.name);
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).expect("text");
                let found = text
                    .lines()
                    .filter_map(|l| l.strip_prefix('#'))
                    .any(|l| anchor(l.trim_start_matches('#')) == heading);
                assert!(found, "{}: {link} names no heading", chapter.name);
            }
            seen += 1;
        }
        for block in chapter.blocks().iter().filter(|block| block.text.starts_with("{{#include ")) {
            let named = block.text.trim().trim_start_matches("{{#include ").trim_end_matches("}}");
            let (file, part) = named.split_once(':').expect("a file and an anchor");
            let text = std::fs::read_to_string(source().join(file)).expect("the file that is included");
            for mark in ["ANCHOR", "ANCHOR_END"] {
                let times = text.lines().filter(|line| line.trim() == format!("// {mark}: {part}")).count();
                assert_eq!(times, 1, "{}: {mark} of {part} in {file}", chapter.name);
            }
        }
    }
    assert!(seen > 60, "{seen} links: they are found");
}

#[test]
fn a_link_out_of_the_book_holds_in_the_pages_too() {
    // mdBook writes `.html` for every `.md`, also where no page is made of it
    for chapter in Chapter::all() {
        for target in chapter.prose().split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)) {
            let out = target.starts_with("../");
            assert!(!out || !target.contains(".md"), "{}: write {} with %2E", chapter.name, target);
        }
    }
    let book: toml::Table =
        std::fs::read_to_string(top().join("docs/book/book.toml")).expect("it").parse().expect("TOML");
    let (from, to) = (book["book"]["src"].as_str(), book["build"]["build-dir"].as_str());
    let depth = |path: Option<&str>| Path::new(path.expect("a folder")).components().count();
    assert_eq!(depth(from), depth(to), "pages lie as deep as their sources");
}

#[test]
fn the_summary_lists_every_chapter_once() {
    let chapters = Chapter::all();
    let summary = chapters.iter().find(|c| c.name == "SUMMARY.md").expect("SUMMARY.md");
    let listed = links(&summary.text);
    let found: Vec<&str> = chapters.iter().map(|c| c.name.as_str()).filter(|name| *name != "SUMMARY.md").collect();
    assert_eq!(listed.len(), found.len(), "{listed:?}");
    for name in found {
        assert!(listed.iter().any(|l| l == name), "SUMMARY.md does not list {name}");
    }
}

/// The number of `name` in a setting such as `looksam-alpha 0.3, rho 0.05`.
fn number<'a>(setting: &'a str, name: &str) -> Option<&'a str> {
    setting.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix(' '))
}

#[test]
fn the_table_of_radii_is_that_of_the_rules_and_of_the_canon() {
    let text = std::fs::read_to_string(top().join("docs/results/canon/results.json")).expect("the page's numbers");
    let canon: Value = serde_json::from_str(&text).expect("JSON");
    let tried = canon["tables"].as_array().expect("tables").iter().find(|t| t["columns"][2] == "setting");
    let tried: Vec<[&str; 4]> = (tried.expect("what was tried")["rows"].as_array().expect("rows").iter())
        .map(|row| [0, 1, 2, 6].map(|i| row[i].as_str().expect("text")))
        .collect();
    let page = std::fs::read_to_string(source().join("radius.md")).expect("the chapter");
    let rows: Vec<Vec<&str>> =
        page.lines().filter(|l| l.starts_with("| `")).map(|l| l.split('|').map(str::trim).collect()).collect();
    let rules = json("optimizers")["rules"].clone();
    let mut compared = 0;
    for rule in rules.as_array().expect("rules") {
        let name = rule["name"].as_str().expect("a name");
        let of = |title: &str| meant(title, &OptimizerName::names(), &OptimizerName::others()) == Some(name);
        let mine: Vec<_> = tried.iter().filter(|[_, title, ..]| *title != "SGD" && of(title)).collect();
        let Some([_, _, first, _]) = mine.first() else { continue };
        let option = ["rho", "sigma", "entropy-lr"].into_iter().find(|o| number(first, o).is_some()).expect("a radius");
        let options = rule["options"].as_array().expect("options");
        let default = &options.iter().find(|o| o["name"] == option).expect("an option")["default"];
        let mut radii: Vec<&str> = mine.iter().filter_map(|[_, _, setting, _]| number(setting, option)).collect();
        radii.sort_by(|a, b| a.parse::<f64>().expect("a number").total_cmp(&b.parse().expect("a number")));
        radii.dedup();
        let chosen = ["mnist-mlp", "mnist-lenet"].map(|case| {
            mine.iter().find(|[of, _, _, chosen]| *of == case && *chosen == "chosen").expect("a chosen setting")[2]
        });
        let row = rows.iter().find(|row| row[1] == format!("`{name}`")).unwrap_or_else(|| panic!("no row of {name}"));
        let expected = [format!("`{option}` {default}"), radii.join(", "), chosen[0].into(), chosen[1].into()];
        assert_eq!(row[3..7], expected, "{name}");
        compared += 1;
    }
    assert_eq!((compared, rows.len()), (19, 19), "every row is compared");
}
