//! Horizontal bars with intervals.

use super::file::{COLOURS, Heading, file};
use super::frame::text;
use super::scale::{Scale, label};
use anyhow::{Result, bail};
use maud::html;

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// Bars of one group have one colour.
    pub group: usize,
    /// Its length.
    pub value: f64,
    /// Ends of its interval.
    pub interval: [f64; 2],
}

/// Draws bars from 0, each labelled with its value.
///
/// # Errors
/// No bar that is finite.
pub fn bars(title: &str, caption: &str, unit: &str, bars: &[Bar]) -> Result<String> {
    let longest = bars.iter().map(|b| b.value.max(b.interval[1])).filter(|x| x.is_finite()).fold(0.0, f64::max);
    if longest <= 0.0 {
        bail!("{title}: there is no bar to draw");
    }
    let (top, row, left, width) = (84.0, 34.0, 300.0, 960.0);
    let foot = top + row * bars.len() as f64;
    let scale = Scale::between(0.0, longest, false, 4);
    let at = |x: f64| left + scale.place(x) * (width - left - 110.0);
    let drawn = bars.iter().enumerate().filter(|(_, b)| b.value.is_finite());
    let rows = drawn.map(|(i, bar)| (bar, top + row * i as f64, bar.interval.map(at)));
    let heading = Heading { caption: caption.into(), notes: Vec::new() };
    let drawing = html! {
        @for (value, name) in &scale.ticks {
            path class="grid" d=(format_args!("M{:.1} {:.1}V{foot:.1}", at(*value), top - 6.0)) {}
            (text((at(*value), foot + 17.0), "middle", name))
        }
        (text((left, foot + 38.0), "start", unit))
        @for (bar, y, [low, high]) in rows {
            g class={ "s" (bar.group % COLOURS) } {
                (text((24.0, y + 15.0), "start", &bar.name))
                rect class="bar" x=(left) y=(y) width=(format_args!("{:.1}", at(bar.value) - left)) height="22" {}
                path class="axis" d=(format_args!("M{low:.1} {:.1}H{high:.1}", y + 11.0)) {}
                (text((at(bar.value).max(high) + 8.0, y + 15.0), "start", &label(bar.value)))
            }
        }
    };
    Ok(file([width, foot + 50.0], title, &heading, &drawing))
}
