//! What the view shows: work under way, the newest numbers of the run, its curves, and time without that of pauses.

use super::curves::{self, Curve, Interval};
use flat_run::store::{Line, Part};
use flat_run::{Reading, Shown, Standings};
use std::time::{Duration, Instant};

/// One piece of work.
#[derive(Debug)]
pub(super) struct Work {
    number: u64,
    pub what: String,
    pub unit: String,
    pub done: u64,
    pub length: u64,
    pub message: String,
    /// What was done when it began.
    begun: u64,
    started: Instant,
    /// Time of pauses before it began.
    paused: Duration,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct State {
    next: u64,
    /// Work under way, the outermost first.
    pub work: Vec<Work>,
    /// The run in this process.
    pub run: Option<Run>,
    /// How pieces of work stand.
    pub standings: Option<Standings>,
    /// The newest number that is estimated.
    pub estimate: Option<Estimate>,
    /// The eigenvalues that were found last, the largest first.
    pub eigenvalues: Vec<f64>,
    paused: Duration,
    paused_since: Option<Instant>,
    /// Whether the person asked to stop.
    pub stopping: bool,
}

/// A number as it is estimated, over the units of the work.
#[derive(Debug)]
pub(super) struct Estimate {
    number: u64,
    pub what: String,
    pub points: Vec<Interval>,
}

/// What the lines of a run's journal said.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub step: u64,
    pub lr: Option<f64>,
    pub rho: Option<f64>,
    pub evals: Option<f64>,
    /// Gradient evaluations a second, over the last steps.
    pub evals_per_s: Option<f64>,
    pub samples_per_s: Option<f64>,
    pub train_loss: Curve,
    pub held_out_loss: Curve,
    pub train_accuracy: Curve,
    pub held_out_accuracy: Curve,
    /// The trace along the run.
    pub trace: Vec<Interval>,
    /// The largest eigenvalue along the run.
    pub lambda_max: Vec<Interval>,
}

/// Weight of the past in the evaluations a second.
const PAST: f64 = 0.9;

impl State {
    pub(super) const NEW: Self = Self {
        next: 0,
        work: Vec::new(),
        run: None,
        standings: None,
        estimate: None,
        eigenvalues: Vec::new(),
        paused: Duration::ZERO,
        paused_since: None,
        stopping: false,
    };

    /// Begins a piece of work; returns its number.
    pub(super) fn begin(&mut self, what: &str, done: u64, length: u64, unit: &str) -> u64 {
        self.next += 1;
        self.work.push(Work {
            number: self.next,
            what: what.into(),
            unit: unit.into(),
            done,
            length,
            message: String::new(),
            begun: done,
            started: Instant::now(),
            paused: self.paused,
        });
        self.next
    }

    pub(super) fn update(&mut self, number: u64, done: u64, message: String) {
        if let Some(work) = self.work.iter_mut().find(|work| work.number == number) {
            (work.done, work.message) = (done, message);
        }
    }

    pub(super) fn end(&mut self, number: u64) {
        self.work.retain(|work| work.number != number);
    }

    /// Takes up the number that a piece of work has come to. It stays until another work has one.
    pub(super) fn read(&mut self, number: u64, done: u64, reading: Reading) {
        let Some(work) = self.work.iter().find(|work| work.number == number) else { return };
        let Some(point) = Interval::of(done as f64, reading.value, Some(reading.interval)) else { return };
        let estimate = match &mut self.estimate {
            Some(estimate) if estimate.number == number => estimate,
            other => {
                let what = work.what.clone();
                other.insert(Estimate { number, what, points: Vec::new() })
            }
        };
        estimate.points.retain(|before| before.x < point.x);
        estimate.points.push(point);
        curves::thin(&mut estimate.points);
    }

    /// Takes up what is shown beside the progress.
    pub(super) fn show(&mut self, shown: Shown<'_>) {
        match shown {
            Shown::Line(line) => self.line(line),
            Shown::Standings(standings) => self.standings = Some(standings.clone()),
            Shown::Eigenvalues(found) => self.eigenvalues = found.to_vec(),
        }
    }

    /// Takes up a line of a run's journal. One of an earlier step than the last is another run's.
    pub(super) fn line(&mut self, line: &Line) {
        let step = match line {
            Line::Step(at) | Line::Epoch(at) => at.step,
            Line::Flatness(at) => at.step,
            Line::Other => return,
        };
        let run = match &mut self.run {
            Some(run) if run.step <= step => run,
            run => run.insert(Run::default()),
        };
        run.line(step, line);
    }

    /// Notes that the work was held, or goes on.
    pub(super) fn pause(&mut self, held: bool, now: Instant) {
        match (held, self.paused_since) {
            (true, None) => self.paused_since = Some(now),
            (false, Some(since)) => {
                self.paused += now - since;
                self.paused_since = None;
            }
            _ => {}
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// Seconds that a piece of work took, and about how many it will take.
    pub(super) fn seconds(&self, work: &Work, now: Instant) -> (f64, Option<f64>) {
        let pauses =
            self.paused + self.paused_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let since = now.saturating_duration_since(work.started);
        let gone = since.saturating_sub(pauses.saturating_sub(work.paused)).as_secs_f64();
        let done = work.done.saturating_sub(work.begun);
        let left = work.length.saturating_sub(work.done) as f64;
        (gone, (done > 0).then(|| gone / done as f64 * left))
    }
}

impl Run {
    fn line(&mut self, step: u64, line: &Line) {
        let x = step as f64;
        match line {
            Line::Step(at) => {
                self.train_loss.push(x, at.loss);
                let rate = at.evals.zip(self.evals).zip(at.wall_s).map(|((now, before), s)| (now - before) / s);
                if let Some(rate) = rate.filter(|rate| rate.is_finite() && step > self.step) {
                    self.evals_per_s = Some(self.evals_per_s.map_or(rate, |past| PAST * past + (1.0 - PAST) * rate));
                }
                (self.lr, self.rho, self.evals, self.samples_per_s) = (at.lr, at.rho, at.evals, at.samples_per_s);
            }
            Line::Epoch(at) if at.split == Some(Part::Train) => self.train_accuracy.push(x, at.accuracy),
            Line::Epoch(at) => {
                self.held_out_loss.push(x, at.loss);
                self.held_out_accuracy.push(x, at.accuracy);
            }
            Line::Flatness(at) => {
                for (name, to) in [("trace", &mut self.trace), ("lambda_max", &mut self.lambda_max)] {
                    let point = at.measured.get(name);
                    to.extend(point.and_then(|point| Interval::of(x, point.value?, point.interval)));
                }
            }
            Line::Other => {}
        }
        self.step = step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_run::store::Progress;

    fn step(step: u64) -> Line {
        let evals = Some(2.0 * step as f64);
        Line::Step(Progress { step, loss: Some(1.0 / step as f64), evals, wall_s: Some(0.5), ..Progress::default() })
    }

    #[test]
    fn lines_make_curves_and_an_earlier_step_is_another_run() {
        let mut state = State::NEW;
        (1..=4).for_each(|i| state.line(&step(i)));
        let run = state.run.as_ref().expect("a run");
        assert_eq!((run.train_loss.points().len(), run.step, run.evals_per_s), (4, 4, Some(4.0)));
        state.line(&step(1));
        assert_eq!(state.run.map(|run| run.train_loss.points().to_vec()), Some(vec![(1.0, 1.0)]));
    }

    #[test]
    fn an_estimate_has_a_point_a_unit_and_outlives_its_work() {
        let mut state = State::NEW;
        let number = state.begin("trace", 0, 5000, "probes");
        let about = |value: f64, half: f64| Reading { value, interval: [value - half, value + half] };
        state.read(number, 1, about(3.0, 2.0));
        state.read(number, 1, about(4.0, 2.0));
        state.read(number, 2, about(f64::NAN, 1.0));
        state.read(number, 2, about(5.0, 1.0));
        let points = |state: &State| state.estimate.as_ref().map(|e| e.points.iter().map(|p| (p.x, p.low)).collect());
        assert_eq!(points(&state), Some(vec![(1.0, 2.0), (2.0, 4.0)]));
        (3..5000).for_each(|i| state.read(number, i, about(1.0, 1.0)));
        let kept = state.estimate.as_ref().map_or(0, |e| e.points.len());
        assert!((400..1024).contains(&kept), "{kept}");
        state.end(number);
        state.read(number, 5000, about(9.0, 1.0));
        assert_eq!(state.estimate.as_ref().map(|e| e.points.len()), Some(kept));
        let other = state.begin("eigenvalues", 0, 9, "products");
        state.read(other, 1, about(1.0, 0.5));
        assert_eq!(points(&state), Some(vec![(1.0, 0.5)]));
    }

    #[test]
    fn pauses_are_neither_gone_nor_left() {
        let mut state = State::NEW;
        let number = state.begin("training", 10, 30, "steps");
        state.update(number, 20, String::new());
        let begun = state.work[0].started;
        let after = |s| begun + Duration::from_secs(s);
        state.pause(true, after(5));
        state.pause(false, after(105));
        assert_eq!(state.seconds(&state.work[0], after(110)), (10.0, Some(10.0)));
        state.pause(true, after(110));
        assert_eq!(state.seconds(&state.work[0], after(200)).0, 10.0);
        state.end(number);
        assert!(state.work.is_empty());
    }
}
