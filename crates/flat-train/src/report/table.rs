//! A table of the page.

use maud::{Markup, html};

/// Stands in a table where nothing is known.
pub(super) const NONE: &str = "–";

/// A table in a box of its own, within which it scrolls; on a narrow screen its rows are cards. The first column heads
/// the rows. Without a caption, the text around it says what it shows.
pub(super) fn table(caption: &str, heads: &[String], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div class="scroll" role="region" tabindex="0" aria-label=(if caption.is_empty() { "table" } else { caption }) {
            table {
                @if !caption.is_empty() { caption { span { (caption) } } }
                thead { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, (head, cell)) in heads.iter().zip(row).enumerate() {
                                @if i == 0 {
                                    th scope="row" { (cell) }
                                } @else {
                                    td data-head=(head) class=[(cell.0 == NONE).then_some("none")] { (cell) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A table of text.
pub(super) fn plain(caption: &str, heads: &[String], rows: &[Vec<String>]) -> Markup {
    let rows: Vec<Vec<Markup>> = rows.iter().map(|row| row.iter().map(|cell| html! { (cell) }).collect()).collect();
    table(caption, heads, &rows)
}

/// A value and, smaller, what belongs to it.
pub(super) fn with(value: &str, small: &str) -> Markup {
    html! { (value) @if !small.is_empty() { " " small { (small) } } }
}
