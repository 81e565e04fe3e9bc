//! Comma-separated values.

/// Lines of cells as CSV by RFC 4180, each ended by a line feed alone.
pub fn csv(lines: &[Vec<String>]) -> String {
    lines.iter().map(row).collect()
}

/// A line of cells by RFC 4180, quoted where they must be; it ends in a line feed alone.
pub fn row<S: AsRef<str>>(cells: impl IntoIterator<Item = S>) -> String {
    let quoted = |cell: S| match cell.as_ref() {
        cell if cell.contains(['"', ',', '\n', '\r']) => format!("\"{}\"", cell.replace('"', "\"\"")),
        cell => cell.to_string(),
    };
    cells.into_iter().map(quoted).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_comma_a_quote_or_a_line_break_is_quoted() {
        let line = ["a", "b,c", "d \"e\"", "f\r\ng", ""].map(String::from).to_vec();
        assert_eq!(csv(&[line, vec!["1".into()]]), "a,\"b,c\",\"d \"\"e\"\"\",\"f\r\ng\",\n1\n");
    }
}
