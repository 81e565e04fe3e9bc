//! Pieces of HTML.

use std::fmt::Write;

/// Stands in a table where nothing is known.
pub(super) const NONE: &str = "–";

/// Text as it may stand between tags and in quoted attributes. Control characters, and those that turn the direction of what
/// follows, would let a name pose as another: they are replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A table in a box of its own, within which it scrolls; on a narrow screen its rows are cards. The first column heads the
/// rows. Caption and heads are text, the cells are HTML already.
pub(super) fn table(caption: &str, heads: &[String], rows: &[Vec<String>]) -> String {
    let caption = escape(caption);
    let heads: Vec<String> = heads.iter().map(|head| escape(head)).collect();
    let mut out = format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\">\n<table>\n<caption><span>{caption}</span></caption>\n<thead><tr>"
    );
    for head in &heads {
        let _ = write!(out, "<th scope=\"col\">{head}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (i, (head, cell)) in heads.iter().zip(row).enumerate() {
            let _ = match i {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ if cell == NONE => write!(out, "<td data-head=\"{head}\" class=\"none\">{cell}</td>"),
                _ => write!(out, "<td data-head=\"{head}\">{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_tag_or_leaves_its_attribute() {
        assert_eq!(
            escape("</script><img src='x' onerror=\"y\">&"),
            "&lt;/script&gt;&lt;img src=&#39;x&#39; onerror=&quot;y&quot;&gt;&amp;"
        );
        assert_eq!(escape("a\u{0}b\u{202e}c\u{1b}"), "a\u{fffd}b\u{fffd}c\u{fffd}");
    }
}
