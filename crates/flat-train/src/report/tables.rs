//! The tables of the runs: what differs, what they came to, what they ran on.

use super::html::{escape, table};
use super::run::Run;
use super::summary::{Standing, Summary};
use flat_run::measure::{self, TraceRecord};
use flat_run::store::Point;
use flat_run::value::{percent, short, wilson};
use std::collections::BTreeSet;

const NONE: &str = "–";

/// The settings that are not the same in all of the runs; `None` where there are none.
pub(super) fn differences(runs: &[Run]) -> Option<String> {
    let keys: BTreeSet<&str> = runs.iter().flat_map(|r| r.settings.keys().map(String::as_str)).collect();
    let rows: Vec<Vec<String>> = keys
        .into_iter()
        .filter(|key| runs.iter().any(|r| r.setting(key) != runs[0].setting(key)))
        .map(|key| row(escape(key), runs, |run| run.setting(key).map(escape)))
        .collect();
    (!rows.is_empty())
        .then(|| table("One column a run; – where a setting has no effect.", &columns("setting", runs), &rows))
}

/// What the runs came to.
pub(super) fn results(runs: &[Run]) -> String {
    let standings: Vec<Standing> = runs.iter().map(|r| Standing::of(r.summary.as_ref(), &r.journal)).collect();
    let now = |name: &str, cell: &dyn Fn(&Run, &Standing) -> Option<String>| -> Vec<String> {
        let cells = runs.iter().zip(&standings).map(|(r, s)| cell(r, s).unwrap_or_else(|| NONE.into()));
        [escape(name)].into_iter().chain(cells).collect()
    };
    let end = |name: &str, cell: &dyn Fn(&Summary) -> Option<String>| {
        row(escape(name), runs, |run| run.summary.as_ref().and_then(cell))
    };
    let state = |run: &Run, s: &Standing| match &run.summary {
        Some(summary) => Some(escape(summary.state.as_deref().unwrap_or("finished"))),
        None => Some(with("in progress", &format!("at step {}, numbers so far", s.steps))),
    };
    let mut rows = vec![
        now("state", &state),
        now("test accuracy", &|run, s| {
            let accuracy = s.test_accuracy?;
            let interval = run.test_images(accuracy).map(|n| wilson(accuracy, n));
            Some(interval.map_or(percent(accuracy), |[low, high]| {
                with(&percent(accuracy), &format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high))
            }))
        }),
        now("test loss", &|_, s| s.test_loss.map(short)),
        now("best test accuracy on the way", &|_, s| s.best_test_accuracy.map(percent)),
        now("validation accuracy", &|run, s| {
            let (accuracy, n) = (s.val_accuracy?, run.setting("validation")?.parse().ok()?);
            let [low, high] = wilson(accuracy, n);
            Some(with(&percent(accuracy), &format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high)))
        }),
        now("validation loss", &|_, s| s.val_loss.map(short)),
        now("best validation accuracy on the way", &|_, s| s.best_val_accuracy.map(percent)),
        end("train accuracy", &|s| s.train_accuracy.map(percent)),
        end("train loss", &|s| s.train_loss.map(short)),
        now("Hessian trace", &|_, s| s.trace.as_ref().and_then(trace)),
        now("||gradient|| there", &|_, s| {
            s.trace.as_ref().and_then(|t| t.read::<TraceRecord>().ok()?.grad_norm).map(short)
        }),
    ];
    rows.extend(measure::along().filter(|along| along.name != "trace").map(|along| {
        let name = along.name.to_string();
        now(&lower(along.title), &|run, _| run.journal.last(&name).and_then(measured))
    }));
    rows.extend([
        now("steps", &|_, s| Some(s.steps.to_string())),
        now("gradient evaluations", &|_, s| s.evals.map(|e| format!("{e:.0}"))),
        now("perturbed steps", &|run, s| {
            let perturbed = s.perturbed.filter(|_| run.perturbs())?;
            Some(with(&perturbed.to_string(), &format!("of {}", s.steps)))
        }),
        end("skipped steps", &|s| Some(s.skipped_steps.to_string())),
        end("seconds", &|s| s.wall_s.map(|w| format!("{w:.1}"))),
        end("warnings", &|s| (!s.warnings.is_empty()).then(|| escape(&s.warnings.join("; ")))),
    ]);
    let known = rows.into_iter().filter(|row| row[1..].iter().any(|cell| cell != NONE)).collect::<Vec<_>>();
    table("One column a run.", &columns("result", runs), &known)
}

/// What the runs ran on.
pub(super) fn environment(runs: &[Run]) -> String {
    let said = |name: &str, of_summary: fn(&Summary) -> String, key: &'static str| {
        row(escape(name), runs, |run| {
            let said = run.summary.as_ref().map(of_summary).or_else(|| run.setting(key).map(str::to_string));
            said.map(|text| escape(&text))
        })
    };
    let setting = |name: &str, key: &'static str| row(escape(name), runs, |run| run.setting(key).map(escape));
    let rows = [
        row("version of flat-train".into(), runs, |run| run.version().map(escape)),
        said("device", |s| s.device.clone(), "device"),
        said("element type", |s| s.dtype.clone(), "dtype"),
        said("seed", |s| s.seed.to_string(), "seed"),
        setting("data set", "dataset"),
        setting("model", "model"),
        row("parameters".into(), runs, |run| run.summary.as_ref().map(|s| s.dim.to_string())),
        row("optimizer".into(), runs, |run| match &run.summary {
            Some(s) if s.base == s.optimizer => Some(escape(&s.optimizer)),
            Some(s) => Some(escape(&format!("{} over {}", s.optimizer, s.base))),
            None => run.setting("optimizer").filter(|rule| *rule != "plain").or(run.setting("base")).map(escape),
        }),
        row("folder".into(), runs, |run| Some(format!("<code>{}</code>", escape(&run.path)))),
    ];
    table("One column a run.", &columns("", runs), &rows)
}

fn trace(trace: &Point) -> Option<String> {
    let mut words = trace.interval.map_or(String::new(), |[low, high]| format!("{} to {}", short(low), short(high)));
    let record = trace.read::<TraceRecord>().ok()?;
    for (count, what) in [(record.trace.probes, "probes"), (record.examples, "images")] {
        if let Some(count) = count {
            let comma = if words.is_empty() { "" } else { "; " };
            words.push_str(&format!("{comma}{count} {what}"));
        }
    }
    Some(with(&short(trace.value?), &words))
}

/// A number measured along the run, with its interval.
fn measured(point: &Point) -> Option<String> {
    let interval = point.interval.map_or(String::new(), |[low, high]| format!("{} to {}", short(low), short(high)));
    Some(with(&short(point.value?), &interval))
}

/// A title within a row's head.
fn lower(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

/// A value and, smaller, what belongs to it.
fn with(value: &str, small: &str) -> String {
    if small.is_empty() { escape(value) } else { format!("{} <small>{}</small>", escape(value), escape(small)) }
}

fn row(head: String, runs: &[Run], cell: impl Fn(&Run) -> Option<String>) -> Vec<String> {
    let cells = runs.iter().map(|run| cell(run).unwrap_or_else(|| NONE.into()));
    [head].into_iter().chain(cells).collect()
}

fn columns(corner: &str, runs: &[Run]) -> Vec<String> {
    let names = runs.iter().enumerate().map(|(i, run)| format!("{}{}", super::chart::swatch(i), escape(&run.name)));
    [escape(corner)].into_iter().chain(names).collect()
}
