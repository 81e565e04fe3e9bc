//! Horizontal bars with intervals.

use super::{FONT, GRID, INK, SERIES, draw, label};
use anyhow::{Result, bail};
use plotters::prelude::*;

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
    let (top, row, left, width) = (84, 34, 300, 960);
    let foot = top + row * bars.len() as i32;
    let at = |x: f64| left + (x / longest * f64::from(width - left - 110)).round() as i32;
    draw((width as u32, (foot + 50) as u32), |root| {
        root.draw(&Text::new(title, (24, 14), (FONT, 24).into_font().color(&INK)))?;
        root.draw(&Text::new(caption, (24, 46), (FONT, 15).into_font().color(&INK)))?;
        for tick in 0..=4 {
            let value = longest * f64::from(tick) / 4.0;
            root.draw(&PathElement::new([(at(value), top - 6), (at(value), foot)], GRID.stroke_width(1)))?;
            root.draw(&Text::new(label(value), (at(value) - 12, foot + 6), (FONT, 14).into_font().color(&INK)))?;
        }
        root.draw(&Text::new(unit, (left, foot + 26), (FONT, 15).into_font().color(&INK)))?;
        for (i, bar) in bars.iter().enumerate().filter(|(_, b)| b.value.is_finite()) {
            let y = top + row * i as i32;
            let colour = SERIES[bar.group % SERIES.len()];
            root.draw(&Text::new(bar.name.as_str(), (24, y + 3), (FONT, 15).into_font().color(&INK)))?;
            root.draw(&Rectangle::new([(left, y), (at(bar.value), y + 22)], colour.mix(0.75).filled()))?;
            let [low, high] = bar.interval.map(at);
            root.draw(&PathElement::new([(low, y + 11), (high, y + 11)], INK.stroke_width(2)))?;
            let text = at(bar.value).max(high) + 8;
            root.draw(&Text::new(label(bar.value), (text, y + 3), (FONT, 15).into_font().color(&INK)))?;
        }
        Ok(())
    })
}
