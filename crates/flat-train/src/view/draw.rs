//! One picture of the view.

use super::curves::{Curve, Interval};
use super::keys;
use super::state::{Run, State, Work};
use crate::news;
use flat_run::value::short;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Bar, BarChart, BarGroup, Block, Chart, Dataset, GraphType, LineGauge, Paragraph};
use std::time::Instant;

/// Lines that the news have at least, with their frame.
const NEWS: u16 = 5;
/// Lines that a row of charts needs.
const CHART: u16 = 7;

/// Draws everything.
pub(super) fn picture(frame: &mut Frame<'_>, state: &State, now: Instant) {
    let work = &state.work[state.work.len().saturating_sub(3)..];
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2 * work.len() as u16), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    for (area, work) in Layout::vertical(vec![Constraint::Length(2); work.len()]).split(head).iter().zip(work) {
        progress(frame, *area, state, work, now);
    }
    let lower = match &state.run {
        Some(run) => charts(frame, body, run),
        None => body,
    };
    let lines = news::newest(usize::from(lower.height.saturating_sub(2)));
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" news ")), lower);
    let help = if state.run.is_some() { keys::HELP_OF_RUN } else { keys::HELP };
    let foot_text = match (state.stopping, state.is_paused()) {
        (true, _) => "stopping, with all that is done saved ...".into(),
        (false, true) => format!("PAUSED   {}", help.replace("pause", "go on")),
        (false, false) => help.to_string(),
    };
    frame.render_widget(Paragraph::new(foot_text).style(Style::new().add_modifier(Modifier::REVERSED)), foot);
}

/// A line of numbers and a gauge under it.
fn progress(frame: &mut Frame<'_>, area: Rect, state: &State, work: &Work, now: Instant) {
    let [text, gauge] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let (gone, left) = state.seconds(work, now);
    let left = left.map_or(String::new(), |left| format!(", about {} left", duration(left)));
    let Work { what, done, length, unit, message, .. } = work;
    let line = format!("{what} {done}/{length} {unit}  {} gone{left}  {message}", duration(gone));
    frame.render_widget(Paragraph::new(news::printable(&line).into_owned()), text);
    let ratio = if *length > 0 { *done as f64 / *length as f64 } else { 0.0 };
    let percent = format!("{:3.0} %", 100.0 * ratio.clamp(0.0, 1.0));
    frame.render_widget(LineGauge::default().ratio(ratio.clamp(0.0, 1.0)).label(percent), gauge);
}

/// Seconds for a person.
fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

/// The numbers and curves of the run; returns the place that is left.
fn charts(frame: &mut Frame<'_>, area: Rect, run: &Run) -> Rect {
    let has_flatness = !run.trace.is_empty() || !run.lambda_max.is_empty();
    let rows: u16 = if has_flatness && area.height >= 1 + 2 * CHART + NEWS { 2 } else { 1 };
    let height = (area.height.saturating_sub(1 + NEWS) / rows).clamp(CHART.min(area.height), 20);
    let [numbers, upper, flatness, rest] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Length(if rows == 2 { height } else { 0 }),
        Constraint::Fill(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(newest(run)), numbers);
    // on a small terminal flatness takes the place of accuracy
    let shown = if has_flatness && rows == 1 { 3 } else { 2 };
    let upper = Layout::horizontal(vec![Constraint::Fill(1); shown]).split(upper);
    chart(frame, upper[0], "loss", &[("train", &run.train_loss), ("held out", &run.held_out_loss)]);
    chart(frame, upper[1], "accuracy", &[("train", &run.train_accuracy), ("held out", &run.held_out_accuracy)]);
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(flatness);
    let (trace, lambda) = if rows == 2 { (left, right) } else { (*upper.get(2).unwrap_or(&left), right) };
    if has_flatness {
        intervals(frame, trace, &run.trace);
        bars(frame, lambda, &run.lambda_max);
    }
    rest
}

/// The newest numbers in a line.
fn newest(run: &Run) -> String {
    let of = |name: &str, x: Option<f64>| x.map(|x| format!("{name} {}", short(x)));
    let whole = |name: &str, x: Option<f64>| x.map(|x| format!("{x:.0} {name}"));
    let shown = [
        Some(format!("step {}", run.step)),
        of("lr", run.lr),
        of("rho", run.rho),
        whole("evaluations", run.evals),
        run.evals_per_s.map(|rate| format!("{} evaluations/s", short(rate))),
        whole("images/s", run.samples_per_s),
        run.trace.last().map(|t| format!("trace {} [{}, {}]", short(t.value), short(t.low), short(t.high))),
    ];
    shown.into_iter().flatten().collect::<Vec<_>>().join("   ")
}

/// Curves over steps.
fn chart(frame: &mut Frame<'_>, area: Rect, title: &str, curves: &[(&str, &Curve)]) {
    let colours = [Color::Blue, Color::Yellow];
    let data = curves.iter().zip(colours).filter(|((_, curve), _)| !curve.points().is_empty());
    let sets = data.map(|((name, curve), colour)| {
        let kind = if curve.points().len() > 1 { GraphType::Line } else { GraphType::Scatter };
        let marker = if colour == colours[0] { Marker::Braille } else { Marker::Dot };
        Dataset::default().name(*name).marker(marker).graph_type(kind).style(colour).data(curve.points())
    });
    let sets: Vec<_> = sets.collect();
    let points = curves.iter().flat_map(|(_, curve)| curve.points().iter().copied());
    frame.render_widget(axes(title, points, sets), area);
}

/// Numbers over steps with their intervals, each an upright line.
fn intervals(frame: &mut Frame<'_>, area: Rect, trace: &[Interval]) {
    let ends: Vec<[(f64, f64); 2]> = trace.iter().map(|t| [(t.x, t.low), (t.x, t.high)]).collect();
    let values: Vec<(f64, f64)> = trace.iter().map(|t| (t.x, t.value)).collect();
    let whole =
        |data| Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(Color::Blue).data(data);
    let mut sets: Vec<_> = ends.iter().map(|ends| whole(ends)).collect();
    sets.push(Dataset::default().marker(Marker::Dot).graph_type(GraphType::Scatter).style(Color::Yellow).data(&values));
    frame.render_widget(axes("trace of the Hessian", ends.iter().flatten().copied(), sets), area);
}

/// The largest eigenvalue, a bar for each time it was found, as many as there is place for.
fn bars(frame: &mut Frame<'_>, area: Rect, lambda: &[Interval]) {
    const WIDTH: u16 = 7;
    let count = usize::from(area.width.saturating_sub(2) / (WIDTH + 1)).max(1);
    let last = &lambda[lambda.len().saturating_sub(count)..];
    let most = last.iter().map(|l| l.value).fold(f64::MIN_POSITIVE, f64::max);
    let bar = |l: &Interval| {
        let height = (1000.0 * (l.value / most).clamp(0.0, 1.0)) as u64;
        Bar::default().value(height).text_value(short(l.value)).label(Line::from(format!("{:.0}", l.x)))
    };
    let group = BarGroup::default().bars(&last.iter().map(bar).collect::<Vec<_>>());
    let block = Block::bordered().title(" largest eigenvalue ");
    let chart = BarChart::default().block(block).data(group).bar_width(WIDTH).bar_gap(1).max(1000).style(Color::Blue);
    frame.render_widget(chart, area);
}

/// A chart with its axes about the points.
fn axes<'a>(title: &str, points: impl Iterator<Item = (f64, f64)>, sets: Vec<Dataset<'a>>) -> Chart<'a> {
    const NONE: [f64; 2] = [f64::INFINITY, f64::NEG_INFINITY];
    let around = |[low, high]: [f64; 2], x: f64| [low.min(x), high.max(x)];
    let (x, y) = points.fold((NONE, NONE), |(a, b), (x, y)| (around(a, x), around(b, y)));
    let labels = |[low, high]: [f64; 2]| [short(low), short(high)];
    let axis = |bounds: [f64; 2]| match bounds[0] <= bounds[1] {
        // one point lies in the middle
        true if bounds[0] == bounds[1] => Axis::default().bounds([bounds[0] - 1.0, bounds[0] + 1.0]),
        true => Axis::default().bounds(bounds).labels(labels(bounds)),
        false => Axis::default(),
    };
    Chart::new(sets).block(Block::bordered().title(format!(" {title} "))).x_axis(axis(x)).y_axis(axis(y))
}
