//! A choice as a paragraph that fits the terminal.

use flat_run::value::table;

/// Columns where nothing says how many there are.
const COLUMNS: usize = table::WIDTH;

/// A choice in words.
pub(super) struct Entry {
    /// What one types.
    pub name: String,
    /// A line each, longer ones wrapped; empty ones are left out.
    pub lines: Vec<String>,
}

/// The entries one below another, their names in a column of their own.
pub(super) fn page(entries: &[Entry]) -> String {
    set(entries, columns())
}

/// Words on the whole width.
pub(super) fn paragraph(text: &str) -> String {
    table::wrapped(text, columns()).join("\n")
}

fn set(entries: &[Entry], columns: usize) -> String {
    let rows = entries.iter().flat_map(|Entry { name, lines }| {
        let names = std::iter::once(name.as_str()).chain(std::iter::repeat(""));
        names.zip(lines.iter().filter(|line| !line.is_empty()))
    });
    table::pairs_within(columns, rows)
}

/// Columns of the terminal, or what `COLUMNS` says.
fn columns() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let of_terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    said.or_else(of_terminal).unwrap_or(COLUMNS).max(40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_the_terminal_and_no_word_is_lost() {
        let entry = |name: &str, line: &str| Entry { name: name.into(), lines: vec![line.into(), String::new()] };
        let text = "one gradient at a perturbed point, twice as dear as a step of plain gradient descent";
        let entries = [entry("sam", text), entry("longer-name", "x")];
        for columns in [40, 60, 200] {
            let page = set(&entries, columns);
            assert!(page.lines().all(|line| line.chars().count() <= columns), "{page}");
            let words: Vec<&str> = page.split_whitespace().collect();
            assert_eq!(words.join(" "), format!("sam {text} longer-name x"));
            let columns = page.lines().map(|line| line.find(|c: char| c != ' ')).max();
            assert!(columns.flatten() == Some(0) || columns.flatten() == Some("longer-name  ".len()));
        }
    }
}
