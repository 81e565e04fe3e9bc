//! What the workspace may depend on: `deny.toml` says which licences, sources and crates.

use crate::tool::top;
use serde_json::Value;
use std::process::Command;

/// The platform that this is: crates of others may not have been downloaded.
fn host() -> String {
    let out = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_string()
}

fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host()])
        .current_dir(top())
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn policy() -> toml::Table {
    std::fs::read_to_string(top().join("deny.toml")).expect("deny.toml").parse().expect("TOML")
}

fn texts(table: &toml::Table, section: &str, key: &str) -> Vec<String> {
    let list = table[section].get(key).and_then(|v| v.as_array()).cloned().unwrap_or_default();
    list.iter().filter_map(|v| v.as_str().or_else(|| v.get("name")?.as_str())).map(String::from).collect()
}

/// Whether an SPDX expression can be fulfilled by the accepted licences alone.
fn accepted(expression: &str, allow: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    // OR binds weaker than AND; parentheses are opened from the innermost outwards
    if let Some(end) = expression.find(')') {
        let start = expression[..end].rfind('(').expect("a parenthesis that opens");
        let inner = if accepted(&expression[start + 1..end], allow) { "yes" } else { "no" };
        return accepted(&format!("{}{inner}{}", &expression[..start], &expression[end + 1..]), allow);
    }
    expression.split(" OR ").any(|all| {
        all.split(" AND ").all(|one| one.trim() == "yes" || allow.iter().any(|licence| licence == one.trim()))
    })
}

#[test]
fn every_dependency_has_a_licence_a_source_and_a_name_that_deny_toml_allows() {
    let (metadata, policy) = (metadata(), policy());
    let (allow, banned) = (texts(&policy, "licenses", "allow"), texts(&policy, "bans", "deny"));
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100 && !banned.is_empty(), "{} packages: the list is read", packages.len());
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(accepted(licence, &allow), "{name} has the licence {licence}");
        let source = package["source"].as_str().unwrap_or("path");
        assert!(source == "path" || source.starts_with("registry+"), "{name} comes from {source}");
        assert!(!banned.iter().any(|b| b == name), "{name} is banned");
    }
}

#[test]
fn a_licence_is_accepted_where_one_way_to_read_it_is() {
    let allow = ["MIT".to_string(), "Apache-2.0".to_string()];
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/GPL-3.0", true),
        ("GPL-3.0 OR (MIT AND Apache-2.0)", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("MIT AND GPL-3.0", false),
        ("none", false),
    ] {
        assert_eq!(accepted(expression, &allow), expected, "{expression}");
    }
}

/// Everything that a package needs at run time, a line each: `cargo tree` with these words besides.
fn tree(package: &str, more: &[&str]) -> String {
    let words = ["tree", "-p", package, "--edges", "normal", "--prefix", "none", "--offline"];
    let out = Command::new(env!("CARGO")).args(words).args(more).current_dir(top()).output().expect("cargo runs");
    let tree = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(tree.contains("candle-core"), "{package}: {tree} {}", String::from_utf8_lossy(&out.stderr));
    tree
}

#[test]
fn an_optimizer_and_a_metric_alone_bring_no_network_and_no_terminal() {
    for package in ["flat-optim", "flat-metrics", "flat-run", "flat-sweep"] {
        let tree = tree(package, &["--no-default-features"]);
        for web in ["hf-hub ", "tokio ", "reqwest ", "ureq ", "rustls ", "indicatif ", "ctrlc "] {
            assert!(!tree.contains(web), "{package} depends on {web}");
        }
    }
}

#[test]
fn the_tool_brings_one_small_client_and_neither_a_hub_client_nor_a_runtime() {
    let tool = tree("flat-train", &[]);
    assert!(tool.contains("ureq "));
    for heavy in ["candle-datasets ", "hf-hub ", "tokio ", "reqwest ", "hyper ", "aws-lc-sys ", "arrow-array "] {
        assert!(!tool.contains(heavy), "flat-train depends on {heavy}");
    }
}
