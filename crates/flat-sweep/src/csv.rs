//! Comma-separated values.

/// Lines of cells as CSV (RFC 4180), quoted where they must be.
pub fn csv(lines: &[Vec<String>]) -> String {
    lines.iter().map(|line| line.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n").collect()
}

fn quoted(cell: &str) -> String {
    match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_string(),
    }
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
