//! Results as text that fits a terminal of eighty columns: tables, named values, paragraphs.

/// Columns that results fit, whatever the terminal has: what is printed is the same everywhere.
pub const WIDTH: usize = 80;

/// A table for a person. Where its columns need more than [`WIDTH`], those that do not fit follow in a second block under it,
/// with the first column again.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns from the left that are aligned to the left.
    words: usize,
}

impl Table {
    /// A table with these heads, whose first `words` columns hold words and the others numbers.
    pub fn new<S: Into<String>>(words: usize, heads: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![heads.into_iter().map(Into::into).collect()], words }
    }

    /// Adds a row; cells that are missing are empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The text, without an end of line after the last row.
    pub fn text(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let cell = |row: &[String], i: usize| row.get(i).cloned().unwrap_or_default();
        let width = |i: usize| self.rows.iter().map(|row| cell(row, i).chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>, block: &[usize]| {
            let cells = block.iter().map(|&i| match (cell(row, i), widths[i]) {
                (cell, w) if i < self.words => format!("{cell:<w$}"),
                (cell, w) => format!("{cell:>w$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let block = |block: &Vec<usize>| {
            let lines: Vec<String> = self.rows.iter().map(|row| line(row, block)).collect();
            lines.join("\n")
        };
        blocks(&widths).iter().map(block).collect::<Vec<_>>().join("\n\n")
    }
}

/// The columns of each block: as many as fit, and the first one in all.
fn blocks(widths: &[usize]) -> Vec<Vec<usize>> {
    let Some(first) = widths.first() else { return Vec::new() };
    let (mut out, mut used) = (vec![vec![0]], *first);
    for (i, width) in widths.iter().enumerate().skip(1) {
        if used + 2 + width > WIDTH && out.last().is_some_and(|block| block.len() > 1) {
            out.push(vec![0]);
            used = *first;
        }
        used += 2 + width;
        if let Some(block) = out.last_mut() {
            block.push(i);
        }
    }
    out
}

/// Names and what they stand for, a line each; longer ones go on below, and an empty name goes on with the one before.
pub fn pairs<N: AsRef<str>, V: AsRef<str>>(rows: impl IntoIterator<Item = (N, V)>) -> String {
    pairs_within(WIDTH, rows)
}

/// [`pairs`] of another width.
pub fn pairs_within<N: AsRef<str>, V: AsRef<str>>(width: usize, rows: impl IntoIterator<Item = (N, V)>) -> String {
    let rows: Vec<(N, V)> = rows.into_iter().collect();
    let indent = rows.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0) + 2;
    let mut lines = Vec::new();
    for (name, value) in &rows {
        for (i, part) in wrapped(value.as_ref(), width.saturating_sub(indent)).into_iter().enumerate() {
            let name = if i == 0 { name.as_ref() } else { "" };
            lines.push(format!("{name:<indent$}{part}"));
        }
    }
    lines.join("\n")
}

/// A paragraph.
pub fn paragraph(text: &str) -> String {
    wrapped(text, WIDTH).join("\n")
}

/// An item of a list: what does not fit its line goes on below, set in.
pub fn item(text: &str) -> String {
    let mut rest = wrapped(text, WIDTH - 2).into_iter();
    let first = rest.next().unwrap_or_default();
    rest.fold(first, |all, line| format!("{all}\n  {line}"))
}

/// Lines of at most so many characters, broken at single spaces; a longer word has a line of its own.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            // the spaces between two columns of text are not carried to the next line
            Some(_) if word.is_empty() => {}
            _ => lines.push(word.into()),
        }
    }
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_table_goes_on_below_with_its_names() {
        let mut table = Table::new(1, ["layer", "size", "trace"]);
        table.row(["fc1.weight", "25088", "0.6478 +- 0.0444"]);
        table.row(["all", "25450"]);
        let narrow = "layer        size             trace\nfc1.weight  25088  0.6478 +- 0.0444\nall         25450";
        assert_eq!(table.text(), narrow);
        let mut wide = Table::new(1, (0..12).map(|i| format!("column-{i:02}")));
        wide.row((0..12).map(|i| i.to_string()));
        let text = wide.text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let heads: Vec<&str> = text.split_whitespace().filter(|word| word.starts_with("column")).collect();
        // the first one again in the second block
        assert_eq!(heads.len(), 13);
        assert_eq!(text.matches("column-00").count(), 2);
    }

    #[test]
    fn named_values_and_items_hang_and_paragraphs_fit() {
        let long = "word ".repeat(40);
        let text = pairs([("loss", "0.5"), ("trace", long.trim_end())]);
        assert!(text.starts_with("loss   0.5\ntrace  word word") && text.contains("\n       word"), "{text}");
        assert!(text.lines().chain(paragraph(&long).lines()).all(|line| line.chars().count() <= WIDTH));
        assert!(item(&long).lines().skip(1).all(|line| line.starts_with("  word")) && item(&long).lines().count() > 2);
        assert_eq!(wrapped("a  b", 10), ["a  b"]);
        assert_eq!(wrapped(&"x".repeat(90), 80).len(), 1);
    }
}
