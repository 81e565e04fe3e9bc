//! The page: tables, plots and what they come to.

use super::compare::{Row, proxy, rows};
use super::method::Method;
use super::part::Part;
use super::tables::{ablations, headline, margins, measures, minima, search};
use super::{Contender, FITTED, Outcome};
use crate::interval::{correlation_text, short};
use crate::training::Point;
use crate::{Page, Scale, Study};
use anyhow::Result;
use flat_plot::{Axis, Chart, Point as Mark, Series, curves};
use flat_run::settings::choice::LossName;
use flat_run::store::file::write_whole;

/// The page of the study.
pub(super) fn page(study: &Study, scale: Scale, parts: &[Part], outcomes: &[Outcome]) -> Result<Page> {
    let mut page = Page::new("The escape from a bad minimum");
    page.text(
        "After Figure 3 of K. Ahn, A. Jadbabaie and S. Sra, \"How to Escape Sharp Minima with Random Perturbations\", ICML \
         2024, arXiv 2305.15659. Every run starts at a minimum that fits all training images and generalises badly (Liu, \
         Papailiopoulos and Achlioptas 2020, arXiv 1906.02613) and goes on at a constant learning rate, without momentum, \
         weight decay or augmentation, in batches of 128. RS is Algorithm 1 (`rsp`), SA Algorithm 2 (`sap`) with a sample of \
         so many examples of the batch, SAM and NSO as in `flat-train`.",
    );
    page.text(format!(
        "Every seed has a bad minimum of its own. rho and the learning rate were chosen by the validation accuracy of shorter \
         runs from the first seed's minimum, among the settings that keep {} % of training accuracy; where none does, the one \
         that fits best was taken. Intervals are Student's, 95 %, over the seeds; with few of them they are wide. trbar is the \
         trace of the training loss's Hessian over the number of parameters, by 8 Rademacher probes; its means, and those of \
         losses and eigenvalues, are geometric. One example is normalised with its batch where the network has batch \
         normalisation, which then costs as much as the batch; traces use the running statistics.",
        100.0 * FITTED
    ));
    if scale == Scale::Smoke {
        page.text("**This is the smoke scale: it shows that everything runs, its numbers mean nothing.**");
    }
    page.text(in_short(outcomes));
    page.heading("The bad minima");
    page.table(minima(outcomes));
    for (outcome, part) in outcomes.iter().zip(parts) {
        let rows = rows(outcome);
        page.heading(&outcome.title);
        page.text(sizes(part));
        page.table(headline(outcome, &rows));
        if let Some(table) = margins(&rows) {
            page.table(table);
        }
        page.text(verdict(outcome, &rows));
        page.table(measures(&rows));
        figures(study, outcome, &mut page)?;
        if !outcome.variants.is_empty() {
            page.table(ablations(outcome, part));
        }
    }
    page.heading("What was tried");
    for (outcome, part) in outcomes.iter().zip(parts) {
        page.table(search(outcome));
        if !part.found.is_empty() {
            page.text(part.found);
        }
    }
    page.heading("What the paper does not say, and what is not shown here");
    page.text(
        "The paper states ResNet-18 on CIFAR-10, a start at 100 % training and 48 % test accuracy, a learning rate of 0.001 \
         and batches of 128 (and 1 and 64 for SA). It does not state, as far as its text could be read: rho, the number of \
         epochs, the gate, momentum, the loss, how batch normalisation is treated for one example, the accuracies at the \
         end. These are chosen here. The traces are new: the paper plots test accuracy as their stand-in.",
    );
    if scale == Scale::Cpu {
        page.text(
            "Networks, numbers of copies, rates and the ends of the grids come from trials on single seeds in which test \
             accuracies were seen; what the tables above show was then run once. Not shown: the paper's network on all of its \
             data (`--scale paper`, for a GPU), and any claim that a smaller trace is the cause of a better test accuracy. The \
             bad minima of the cross entropy are left when 99.9 % are fitted or a few epochs later. Except with group \
             normalisation the loss is still high enough there for runs to pass the same losses, and SGD gains some test \
             accuracy on the way down. The radii are few, at the ends of their grids in places; runs are short.",
        );
    }
    Ok(page)
}

/// What a part is made of.
fn sizes(part: &Part) -> String {
    let [train, validation, test] = part.images;
    let curvature = match part.curvature == train {
        true => "all training images".to_string(),
        false => format!("the first {} training images", part.curvature),
    };
    let settle = match part.settle {
        0 => String::new(),
        steps => format!(
            " Every run, SGD's too, ends with {steps} steps of plain SGD at the rate that the bad minimum was made with: \
             Algorithm 2 ends with a phase of plain descent, and it brings all methods to comparable training losses."
        ),
    };
    format!(
        "{train} training, {validation} validation and {test} test images, {} seeds; the Hessian is that of {curvature}. Runs \
         of {} gradient evaluations (mini-batch gradients) at most, a gate that stays shut saves some; {} in the \
         search.{settle}",
        part.seeds, part.evals, part.search_evals
    )
}

/// How the test accuracy of SGD, RS and SA moved.
fn moved(rows: &[Row]) -> String {
    let gain = |method: Method| rows.iter().find(|r| r.setting.method == method).and_then(|r| r.gain);
    let escaped = |method| gain(method).is_some_and(|g| g.value >= 0.05);
    let stays = gain(Method::Sgd).is_some_and(|g| g.value.abs() <= 0.02);
    let sa = rows
        .iter()
        .filter(|r| matches!(r.setting.method, Method::Sa(_)))
        .filter_map(|r| r.gain)
        .fold(f64::NEG_INFINITY, |best, g| best.max(g.value));
    let moved = match (stays, escaped(Method::Rs) && sa >= 0.05) {
        (true, true) => "SGD stays at the bad minimum's test accuracy within 2 points, while RS and SA gain 5 or more.",
        (true, false) => "SGD stays within 2 points of the bad minimum's test accuracy; RS and SA do not both gain 5.",
        (false, true) => "RS and SA gain 5 points of test accuracy or more, but SGD does not stay within 2 either.",
        (false, false) => {
            "No setting was found in which RS and SA gain 5 points of test accuracy while SGD stays within 2."
        }
    };
    let points = |gain: f64| format!("{:.1}", 100.0 * gain);
    format!(
        "{moved} SGD moves by {}, RS by {}, the best SA by {} points.",
        gain(Method::Sgd).map_or("unknown".into(), |g| points(g.value)),
        gain(Method::Rs).map_or("unknown".into(), |g| points(g.value)),
        points(sa)
    )
}

/// The findings of every loss in a sentence or two each.
fn in_short(outcomes: &[Outcome]) -> String {
    let finding = |outcome: &Outcome| {
        let rows = rows(outcome);
        let times = |method: Method| {
            let row = rows.iter().find(|r| r.setting.method == method)?;
            Some(format!("{} for {}", row.at_equal_loss?.text(short), method.name()))
        };
        let methods = rows.iter().map(|r| r.setting.method).filter(|m| matches!(m, Method::Rs | Method::Sa(_)));
        let times: Vec<String> = methods.filter_map(times).collect();
        let traces = match times.is_empty() {
            true => String::new(),
            false => format!(" SGD's trbar at equal training loss is larger by a factor of {}.", times.join(", ")),
        };
        format!("* **{}**: {}{traces}", outcome.title, moved(&rows))
    };
    outcomes.iter().map(finding).collect::<Vec<_>>().join("\n")
}

fn verdict(outcome: &Outcome, rows: &[Row]) -> String {
    let moved = moved(rows);
    let (r, n) = proxy(outcome, |fit| fit.end()?.trbar);
    let r = r.map_or("cannot be told".into(), |r| format!("is {}", correlation_text(r, n)));
    let (at_unit_margin, m) = proxy(outcome, |fit| Some(fit.unit_margin?.trbar));
    let at_unit_margin =
        at_unit_margin.map_or(String::new(), |r| format!(", at unit margin {}", correlation_text(r, m)));
    let why = match outcome.loss {
        LossName::CrossEntropy => {
            "A method that lowers the cross entropy further has a smaller trace for that reason alone, since the margins \
             grow: compare at equal loss, or at equal margin."
        }
        LossName::Mse => {
            "The squared loss has no growing margins. Where a method stays at a higher loss than the start there is no loss \
             in common with SGD, and the traces are compared after equal evaluations."
        }
    };
    format!(
        "{moved} {why} The correlation of test accuracy with the logarithm of trbar over the ends of {n} runs {r}{at_unit_margin} (intervals as if the runs were \
         independent); where it is far from -1, test accuracy is no stand-in for the trace."
    )
}

fn figures(study: &Study, outcome: &Outcome, page: &mut Page) -> Result<()> {
    let seeds = outcome.minima.len();
    let caption = format!("{}; means of {seeds} seeds, the bands reach from the lowest to the highest", outcome.title);
    for (name, heading, label, logarithmic) in [
        ("trbar", "Trace along the evaluations", "trace of the Hessian / d", true),
        ("test", "Test accuracy along the evaluations", "test accuracy, %", false),
    ] {
        let value = |p: &Point| match logarithmic {
            true => p.trbar,
            false => Some(100.0 * p.held_out_accuracy),
        };
        let names: Vec<String> = outcome.contenders.iter().map(label_of).collect();
        let series = outcome
            .contenders
            .iter()
            .zip(&names)
            .map(|(c, name)| Series { name, points: marks(outcome, c, &value, logarithmic), dashed: false })
            .filter(|s| !s.points.is_empty())
            .collect();
        let file = format!("{}-{name}.svg", outcome.part);
        let chart = Chart {
            title: heading,
            caption: &caption,
            x: Axis { label: "gradient evaluations", logarithmic: false },
            y: Axis { label, logarithmic },
            series,
        };
        write_whole(&study.root().join(&file), curves(&chart)?.as_bytes())?;
        page.figure(file, format!("{heading}. {caption}."));
    }
    Ok(())
}

fn label_of(contender: &Contender) -> String {
    let [rho, ..] = contender.setting.numbers();
    match contender.setting.method {
        Method::Sgd => "SGD".into(),
        Method::Nso => format!("NSO, {rho}"),
        method => format!("{}, rho {rho}", method.name()),
    }
}

/// The means over the seeds, from the bad minimum on, with the lowest and the highest as band.
fn marks(outcome: &Outcome, c: &Contender, value: &dyn Fn(&Point) -> Option<f64>, geometric: bool) -> Vec<Mark> {
    let paths: Vec<Vec<&Point>> =
        outcome.minima.iter().zip(&c.fits).map(|(m, fit)| [&m.bad].into_iter().chain(&fit.points).collect()).collect();
    let length = paths.iter().map(Vec::len).min().unwrap_or_default();
    (0..length)
        .filter_map(|i| {
            let values: Vec<f64> = paths.iter().map(|path| value(path[i])).collect::<Option<_>>()?;
            let mean = |f: fn(f64) -> f64| values.iter().map(|x| f(*x)).sum::<f64>() / values.len() as f64;
            let y = if geometric { mean(f64::ln).exp() } else { mean(|x| x) };
            // the bad minimum's own evaluations are not counted
            let x = if i == 0 { 0.0 } else { paths.iter().map(|p| p[i].evals).sum::<f64>() / paths.len() as f64 };
            let ends = values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], v| [lo.min(*v), hi.max(*v)]);
            Some(Mark { x, y, band: (values.len() > 1).then_some(ends) })
        })
        .collect()
}
