//! The words of the documentation: a first sentence is short enough to be read at one go.

use crate::tool::top;
use std::path::{Path, PathBuf};

/// Words that a first sentence stays below.
const MOST: usize = 25;

/// Rust files below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Words of the first sentence. A formula in backticks is one word, parentheses with a year are a source and none.
fn words(paragraph: &str) -> usize {
    let mut text = String::new();
    for (i, part) in paragraph.split('`').enumerate() {
        text.push_str(if i % 2 == 0 { part } else { "CODE" });
    }
    let is_year = |word: &str| {
        let digits: String = word.chars().filter(char::is_ascii_digit).collect();
        digits.len() == 4 && (digits.starts_with("19") || digits.starts_with("20"))
    };
    let mut count = 0;
    let mut inside: Option<(usize, bool)> = None;
    let all: Vec<&str> = text.split_whitespace().collect();
    for (i, word) in all.iter().enumerate() {
        if word.starts_with('(') {
            inside = Some((count, false));
        }
        count += 1;
        if let Some((before, source)) = &mut inside {
            *source |= is_year(word);
            if word.contains(')') {
                count = if *source { *before } else { count };
                inside = None;
            }
        }
        let next_begins = all.get(i + 1).is_none_or(|next| !next.starts_with(|c: char| c.is_lowercase()));
        if word.ends_with(['.', '?', '!']) && *word != "al." && next_begins && inside.is_none() {
            break;
        }
    }
    count
}

/// First paragraphs of a file and of its public items, with the line that each begins at.
fn paragraphs(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut docs: Vec<(usize, &str)> = Vec::new();
    let mut of_file: Vec<&str> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("//!") {
            of_file.push(doc.trim());
        } else if let Some(doc) = line.strip_prefix("///") {
            docs.push((i + 1, doc.trim()));
        } else if !line.starts_with("#[") {
            let public = line.starts_with("pub ");
            if let Some((at, _)) = docs.first().filter(|_| public) {
                let first: Vec<&str> = docs.iter().map(|(_, doc)| *doc).take_while(|doc| !doc.is_empty()).collect();
                found.push((*at, first.join(" ")));
            }
            docs.clear();
        }
    }
    let first: Vec<&str> = of_file.into_iter().take_while(|doc| !doc.is_empty()).collect();
    found.push((1, first.join(" ")));
    found
}

#[test]
fn first_sentences_of_files_and_public_items_have_fewer_than_25_words() {
    let mut files = Vec::new();
    for name in std::fs::read_dir(top().join("crates")).expect("crates").flatten() {
        sources(&name.path().join("src"), &mut files);
    }
    sources(&top().join("src"), &mut files);
    assert!(files.len() > 300, "{} files", files.len());
    let mut long = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("text");
        for (line, paragraph) in paragraphs(&text).into_iter().filter(|(_, paragraph)| words(paragraph) >= MOST) {
            long.push(format!("{}:{line}: {} words: {paragraph}", file.display(), words(&paragraph)));
        }
    }
    assert!(long.is_empty(), "say it in two sentences:\n{}", long.join("\n"));
}

#[test]
fn words_are_counted_up_to_the_end_of_the_first_sentence() {
    for (text, expected) in [
        ("The mean. Not this one.", 2),
        ("`a + b + c` of Ahn et al. 2024 and more. No", 8),
        ("The trace (Hutchinson 1990, \"A Stochastic Estimator\") of a matrix. No", 5),
        ("A window (of 3x3 pixels) moves. no", 7),
        ("No end at all", 4),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
}
