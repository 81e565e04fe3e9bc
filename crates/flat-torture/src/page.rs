//! `docs/reliability.md`: every promise names a test, and every test that it names is there.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Every name of a function in the tests and sources below a folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            functions(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let names = text.split("#[test]").skip(1).filter_map(|rest| rest.split("fn ").nth(1)?.split('(').next());
            found.extend(names.map(String::from));
        }
    }
    Ok(())
}

#[test]
fn every_promise_of_the_page_names_tests_that_are_there() -> Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(top.join("docs/reliability.md"))?;
    let mut there = BTreeSet::new();
    for folder in ["tests", "crates"] {
        functions(&top.join(folder), &mut there)?;
    }
    let promised = page.split("\n## ").find(|part| part.starts_with("What is promised")).context("what is promised")?;
    let promises: Vec<&str> = promised.split("\n- ").skip(1).collect();
    assert!(promises.len() > 10, "{} promises", promises.len());
    for promise in promises {
        let names: Vec<&str> =
            promise.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 2).collect();
        assert!(!names.is_empty(), "no test holds this: {promise}");
        for name in names {
            assert!(there.contains(name), "no test is named {name}: {promise}");
        }
    }
    Ok(())
}
