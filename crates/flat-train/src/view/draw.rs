//! One picture of the view.

use super::curves::{Curve, Interval};
use super::keys;
use super::state::{Estimate, Run, State, Work};
use crate::news;
use flat_run::Standings;
use flat_run::value::short;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{
    Axis, Bar, BarChart, BarGroup, Block, Chart, Dataset, GraphType, LineGauge, Paragraph, Row, Table,
};
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
    let body = standings(frame, body, state);
    let lower = match &state.run {
        Some(run) => charts(frame, body, run),
        None => findings(frame, body, state),
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

/// How pieces of work stand, in as many lines as there is place for beside the rest; returns the place that is left.
fn standings(frame: &mut Frame<'_>, area: Rect, state: &State) -> Rect {
    let Some(Standings { title, rows }) = &state.standings else { return area };
    let room = if state.run.is_some() { area.height / 3 } else { area.height.saturating_sub(NEWS) };
    let height = room.min(rows.len() as u16 + 2);
    if height < 3 {
        return area;
    }
    let [upper, rest] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    let clean = |text: &String| news::printable(text).into_owned();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) as u16;
    let widths = [Constraint::Fill(1), Constraint::Length(width(1)), Constraint::Length(width(2))];
    let lines = rows.iter().map(|row| Row::new(row.iter().map(clean)));
    let title = format!(" {} ", clean(title));
    frame.render_widget(Table::new(lines, widths).column_spacing(2).block(Block::bordered().title(title)), upper);
    rest
}

/// The number that is estimated as it narrows, and the eigenvalues that were found; returns the place that is left.
fn findings(frame: &mut Frame<'_>, area: Rect, state: &State) -> Rect {
    let shown = usize::from(state.estimate.is_some()) + usize::from(!state.eigenvalues.is_empty());
    let height = area.height.saturating_sub(NEWS).min(20);
    if shown == 0 || height < CHART {
        return area;
    }
    let [upper, rest] = Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area);
    let places = Layout::horizontal(vec![Constraint::Fill(1); shown]).split(upper);
    if let Some(Estimate { what, points, .. }) = &state.estimate {
        let now = points.last().map_or(String::new(), |p| format!("{} ± {}", short(p.value), short(p.high - p.value)));
        intervals(frame, places[0], &news::printable(&format!("{what} {now}")), points);
    }
    if !state.eigenvalues.is_empty() {
        let ranked = state.eigenvalues.iter().enumerate().map(|(i, value)| ((i + 1) as f64, *value));
        bars(frame, places[shown - 1], "eigenvalues", End::First, &ranked.collect::<Vec<_>>());
    }
    rest
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
        intervals(frame, trace, "trace of the Hessian", &run.trace);
        let found: Vec<(f64, f64)> = run.lambda_max.iter().map(|found| (found.x, found.value)).collect();
        bars(frame, lambda, "largest eigenvalue", End::Last, &found);
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
fn intervals(frame: &mut Frame<'_>, area: Rect, title: &str, trace: &[Interval]) {
    let ends: Vec<[(f64, f64); 2]> = trace.iter().map(|t| [(t.x, t.low), (t.x, t.high)]).collect();
    let values: Vec<(f64, f64)> = trace.iter().map(|t| (t.x, t.value)).collect();
    let whole =
        |data| Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(Color::Blue).data(data);
    let mut sets: Vec<_> = ends.iter().map(|ends| whole(ends)).collect();
    sets.push(Dataset::default().marker(Marker::Dot).graph_type(GraphType::Scatter).style(Color::Yellow).data(&values));
    frame.render_widget(axes(title, ends.iter().flatten().copied(), sets), area);
}

/// The end of a row of numbers that is shown where there is no place for all.
#[derive(Clone, Copy)]
enum End {
    First,
    Last,
}

/// Numbers by place or step, a bar each, as many as there is place for.
fn bars(frame: &mut Frame<'_>, area: Rect, title: &str, end: End, numbers: &[(f64, f64)]) {
    const WIDTH: u16 = 7;
    let count = usize::from(area.width.saturating_sub(2) / (WIDTH + 1)).max(1).min(numbers.len());
    let shown = match end {
        End::First => &numbers[..count],
        End::Last => &numbers[numbers.len() - count..],
    };
    let most = shown.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let bar = |(x, value): &(f64, f64)| {
        // a bar of no height would have no number either
        let height = (1000.0 * (value / most).clamp(0.001, 1.0)) as u64;
        Bar::default().value(height).text_value(short(*value)).label(Line::from(format!("{x:.0}")))
    };
    let group = BarGroup::default().bars(&shown.iter().map(bar).collect::<Vec<_>>());
    let block = Block::bordered().title(format!(" {title} "));
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
