//! The settings that a sweep may vary, by name.

use anyhow::Result;
use flat_core::setting::{Setting, Value};
use flat_run::settings::flags;
use flat_run::usage;

/// The setting of `train` that `--flag name=...` names.
///
/// # Errors
/// A usage error with the names that are nearest.
pub(crate) fn setting(flag: &str, name: &str) -> Result<Setting> {
    if name == "seed" {
        return Err(usage(format!("--{flag} seed: the seeds of every cell are --seeds, as in 0..5")));
    }
    let all = flags();
    if let Some(found) = all.iter().find(|f| f.setting.name == name || f.setting.aliases.contains(&name)) {
        return Ok(found.setting.clone());
    }
    let mut near: Vec<(usize, &str)> = all.iter().map(|f| (distance(name, f.setting.name), f.setting.name)).collect();
    near.sort_unstable();
    let near: Vec<&str> =
        near.into_iter().take_while(|(d, _)| *d <= (name.len() / 4).clamp(2, 4)).take(3).map(|(_, n)| n).collect();
    let near = if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(", ")) };
    Err(usage(format!("--{flag} {name}: `train` has no such setting{near}; see flat-train train --help")))
}

/// The value of a setting as its kind has it.
///
/// # Errors
/// A usage error that names flag, setting and value.
pub(crate) fn read(flag: &str, setting: &Setting, value: &Value) -> Result<Value> {
    let name = setting.name;
    if name == "optimizer" {
        // a base's name stands for the plain rule over it
        let text = value.to_string();
        return match flat_optim::parse_optimizer(&text) {
            Ok(_) => Ok(Value::Text(text)),
            Err(e) => Err(usage(format!("--{flag} {e}"))),
        };
    }
    setting.read(value).map_err(|e| usage(format!("--{flag} {name}={}: {}", e.value, e.expected)))
}

/// Letters to insert, delete, replace, or exchange with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters_and_neighbours_exchanged() {
        for (a, b, d) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("rho", "rho", 0), ("rhos", "rho", 1), ("rohs", "rho", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_those_near_it() {
        let told = |name: &str| setting("grid", name).expect_err(name).to_string();
        assert!(told("bach-size").contains("batch-size") && told("rohs").contains("rho"), "{}", told("rohs"));
        assert!(!told("completely-different").contains("near it"), "{}", told("completely-different"));
        assert!(told("seed").contains("--seeds"));
    }
}
