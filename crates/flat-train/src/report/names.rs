//! Short folder names that tell the runs apart.

use std::path::PathBuf;

/// A name for each of these different absolute paths: the last part, with as many of the parts before it as tell it from the
/// others that end alike.
pub(super) fn apart(paths: &[PathBuf]) -> Vec<String> {
    let parts = |path: &PathBuf| -> Vec<String> {
        path.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let all: Vec<Vec<String>> = paths.iter().map(parts).collect();
    let tail = |parts: &[String], n: usize| parts[parts.len().saturating_sub(n)..].join("/");
    let name = |(i, own): (usize, &Vec<String>)| {
        let clear = |n: &usize| all.iter().enumerate().all(|(j, other)| i == j || tail(other, *n) != tail(own, *n));
        tail(own, (1..own.len()).find(clear).unwrap_or(own.len()))
    };
    let names: Vec<String> = all.iter().enumerate().map(name).collect();
    // names that are not UTF-8 may read alike to their very beginning
    let number = |(i, name): (usize, &String)| match names[..i].iter().filter(|n| *n == name).count() {
        0 => name.clone(),
        n => format!("{name} ({})", n + 1),
    };
    names.iter().enumerate().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_long_as_it_must_be() {
        let paths = ["/x/a/run", "/x/b/run", "/x/b/other", "/y/b/run"].map(PathBuf::from);
        assert_eq!(apart(&paths), ["a/run", "x/b/run", "other", "y/b/run"]);
        assert_eq!(apart(&[PathBuf::from("/")]), ["/"]);
    }
}
