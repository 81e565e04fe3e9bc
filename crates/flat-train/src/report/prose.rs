//! A page of Markdown: text that is escaped, tables that fit the window, plots of files that were read.

use super::plot::Plot;
use super::table::table;
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

/// The Markdown below its title. Raw HTML is shown as text; of links those to the web are kept, and of images the plots.
pub(super) fn prose(markdown: &str, plots: &[Plot]) -> Markup {
    let mut events = harmless(markdown).into_iter();
    let mut out = String::new();
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => {
                until(&mut events, TagEnd::Heading(HeadingLevel::H1));
            }
            Event::Start(Tag::Table(_)) => out.push_str(&table_of(until(&mut events, TagEnd::Table)).0),
            Event::Start(Tag::Paragraph) => out.push_str(&paragraph(until(&mut events, TagEnd::Paragraph), plots).0),
            other => push_html(&mut out, std::iter::once(lower(other))),
        }
    }
    PreEscaped(out)
}

/// The events, raw HTML as text and without links to anything but the web.
fn harmless(markdown: &str) -> Vec<Event<'_>> {
    let mut kept = Vec::new();
    let mut links = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => kept.push(Event::Text(text)),
            Event::Start(Tag::HtmlBlock) => kept.push(Event::Start(Tag::Paragraph)),
            Event::End(TagEnd::HtmlBlock) => kept.push(Event::End(TagEnd::Paragraph)),
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                links.push(dest_url.starts_with("https://"));
                if links.last() == Some(&true) {
                    kept.push(event);
                }
            }
            Event::End(TagEnd::Link) => {
                if links.pop() == Some(true) {
                    kept.push(event);
                }
            }
            other => kept.push(other),
        }
    }
    kept
}

/// The events before an end, which is taken too.
fn until<'a>(events: &mut impl Iterator<Item = Event<'a>>, end: TagEnd) -> Vec<Event<'a>> {
    events.take_while(|event| *event != Event::End(end)).collect()
}

/// A heading one level lower: the study has the page's second.
fn lower(event: Event<'_>) -> Event<'_> {
    let below = |level| match level {
        HeadingLevel::H1 | HeadingLevel::H2 => HeadingLevel::H3,
        HeadingLevel::H3 => HeadingLevel::H4,
        _ => HeadingLevel::H5,
    };
    match event {
        Event::Start(Tag::Heading { level, id, classes, attrs }) => {
            Event::Start(Tag::Heading { level: below(level), id, classes, attrs })
        }
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(below(level))),
        other => other,
    }
}

/// The plots of a paragraph of images; of a plot that is not there its words.
fn paragraph(events: Vec<Event<'_>>, plots: &[Plot]) -> Markup {
    let images = events.iter().filter_map(|event| match event {
        Event::Start(Tag::Image { dest_url, .. }) => Some(dest_url.as_ref()),
        _ => None,
    });
    let found: Vec<&Plot> = images.filter_map(|file| plots.iter().find(|plot| plot.file == file)).collect();
    if !found.is_empty() {
        return html! { @for plot in found { (plot.figure()) } };
    }
    let is_image = |event: &Event<'_>| matches!(event, Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image));
    html! { p { (inline(events.into_iter().filter(|event| !is_image(event)))) } }
}

/// The table of the events within one.
fn table_of(events: Vec<Event<'_>>) -> Markup {
    let (mut heads, mut rows) = (Vec::new(), Vec::<Vec<Markup>>::new());
    let mut events = events.into_iter();
    let mut in_head = false;
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::TableHead) => in_head = true,
            Event::Start(Tag::TableRow) => (in_head, rows) = (false, rows.into_iter().chain([Vec::new()]).collect()),
            Event::Start(Tag::TableCell) => {
                let cell = until(&mut events, TagEnd::TableCell);
                match rows.last_mut() {
                    Some(row) if !in_head => row.push(inline(cell.into_iter())),
                    _ => heads.push(cell.iter().filter_map(words).collect::<String>()),
                }
            }
            _ => {}
        }
    }
    table("", &heads, &rows)
}

/// The text of an event.
fn words<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    }
}

fn inline<'a>(events: impl Iterator<Item = Event<'a>>) -> Markup {
    let mut out = String::new();
    push_html(&mut out, events);
    PreEscaped(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_text_tables_and_plots_and_no_markup_of_its_own() {
        let plot = Plot { file: "a.svg".into(), caption: "A & b".into(), address: "data:x".into() };
        let text = "# Title\n\nMade, see [results](results.json), [web](https://example.org/?a=1&b=2), \
                    [bad](javascript:alert(1)).\n\n<script>alert(1)</script>\n\n## Part\n\nx < y <b>and</b> `c`\n\n\
                    | a | *b* |\n|---|---|\n| 1 | **2** <i> |\n\n![words](a.svg)\n\n![gone](http://evil/x.png)\n";
        let page = prose(text, &[plot]).into_string();
        for there in [
            "Made, see results, <a href=\"https://example.org/?a=1&amp;b=2\">web</a>, bad.",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "<h3>Part</h3>",
            "x &lt; y &lt;b&gt;and&lt;/b&gt; <code>c</code>",
            "<th scope=\"col\">b</th>",
            "<td data-head=\"b\"><strong>2</strong> &lt;i&gt;</td>",
            "<img src=\"data:x\" alt=\"A &amp; b\">",
            "<p>gone</p>",
        ] {
            assert!(page.contains(there), "{there} is not in {page}");
        }
        assert!(!page.contains("Title") && !page.contains("javascript") && !page.contains("evil"), "{page}");
    }
}
