//! The page: tables, plots and what they come to.

use super::compare::{Row, proxy, rows};
use super::method::Method;
use super::plan::{LossPlan, Plan};
use super::{Contender, FITTED, Outcome, Trial};
use crate::choice::LossName;
use crate::plot::{Axis, Chart, Point as Mark, Series, curves};
use crate::reproduce::interval::{Mean, percent, short};
use crate::reproduce::training::Point;
use crate::reproduce::{Page, Scale, Study, Table};
use anyhow::Result;

/// The page of the study.
pub(super) fn page(study: &Study, scale: Scale, plan: &Plan, outcomes: &[Outcome]) -> Result<Page> {
    let mut page = Page::new("The escape from a bad minimum");
    page.text(
        "After Figure 3 of K. Ahn, A. Jadbabaie and S. Sra, \"How to Escape Sharp Minima with Random Perturbations\", ICML \
         2024, arXiv 2305.15659. Every run starts at a minimum that fits all training images and generalises badly (Liu, \
         Papailiopoulos and Achlioptas 2020, arXiv 1906.02613) and goes on at a constant learning rate, without momentum, \
         weight decay or augmentation, in batches of 128. RS is Algorithm 1 (`rsp`), SA Algorithm 2 (`sap`) with a sample of \
         so many examples of the batch, SAM and NSO as in `flat-train`.",
    );
    let [train, validation, test] = plan.images;
    page.text(format!(
        "{}; {train} training, {validation} validation and {test} test images; {} seeds, each with a bad minimum of its \
         own. rho and the learning rate were chosen by the validation accuracy of shorter runs from the first seed's \
         minimum, among the settings that keep {} % of training accuracy; where none does, the one that fits best was taken. Intervals are Student's, 95 %, over the \
         seeds; with few of them they are wide. trbar is the trace of the training loss's Hessian over the number of \
         parameters, on all training images, by 8 Rademacher probes; its means, and those of losses and eigenvalues, are \
         geometric.",
        plan.dataset,
        plan.seeds,
        100.0 * FITTED
    ));
    if scale == Scale::Smoke {
        page.text("**This is the smoke scale: it shows that everything runs, its numbers mean nothing.**");
    }
    page.text(in_short(outcomes));
    page.heading("The bad minima");
    page.table(minima(outcomes));
    for (outcome, part) in outcomes.iter().zip(&plan.losses) {
        let rows = rows(outcome);
        page.heading(title(outcome.loss));
        page.text(format!(
            "A {}. Runs of {} gradient evaluations (mini-batch gradients) at most, a gate that stays shut saves some; {} in the \
             search.{}",
            part.network,
            part.evals,
            part.search_evals,
            match part.settle {
                0 => String::new(),
                steps => format!(
                    " Every run, SGD's too, ends with {steps} steps of plain SGD at the rate that the bad minimum was made \
                     with: Algorithm 2 ends with a phase of plain descent, and it brings all methods to comparable training \
                     losses."
                ),
            }
        ));
        page.table(headline(outcome, &rows));
        page.text(verdict(outcome, &rows));
        page.table(measures(&rows));
        figures(study, outcome, &mut page)?;
        if !outcome.variants.is_empty() {
            page.table(ablations(outcome, part));
        }
    }
    page.heading("What was tried");
    for outcome in outcomes {
        page.table(search(outcome));
    }
    if scale == Scale::Cpu {
        page.text(
            "Networks, numbers of copies, rates and the ends of the grids come from trials on single seeds in which test \
             accuracies were seen; what the tables above show was then run once. With the squared loss an earlier form of the \
             study had 128 hidden units, six copies, minima left as soon as they fitted, 4,000 evaluations at lower rates and no \
             plain steps at the end: SGD gained 0.1, RS 4.7 and SA (batch 128) 5.2 points, with traces 2.26 [2.14, 2.39] and \
             2.17 [2.01, 2.36] times smaller after equal evaluations and no training loss in common with SGD.",
        );
    }
    page.heading("What the paper does not say, and what is not shown here");
    page.text(
        "The paper states ResNet-18 on CIFAR-10, a start at 100 % training and 48 % test accuracy, a learning rate of 0.001 \
         and batches of 128 (and 1 and 64 for SA). It does not state, as far as its text could be read: rho, the number of \
         epochs, the gate, momentum, the loss, how batch normalisation is treated for one example, the accuracies at the \
         end. These are chosen here. The traces are new: the paper plots test accuracy as their stand-in.",
    );
    page.text(match scale {
        Scale::Paper => {
            "The network has batch normalisation; one example is normalised with its batch, and the traces use the running \
             statistics."
        }
        _ => {
            "Not shown: the paper's network and data (`--scale paper`, for a GPU), networks with batch or group \
             normalisation, and any claim that a smaller trace is the cause of a better test accuracy. With cross entropy the \
             smallest SA sample needs a gate, without which the noise of one example's gradient undoes the fit, and loses \
             some of the fit even so; with the squared loss it takes a tenth of the other methods' learning rate, and the \
             steps at the end do not bring one seed's fit back. The bad minimum of the cross entropy is left as soon as 99.9 % are fitted, where the loss is still \
             high enough for all runs to pass the same losses; SGD gains some test accuracy on the way down from there. The \
             radii are few, at the ends of their grids in places; runs are short."
        }
    });
    Ok(page)
}

fn title(loss: LossName) -> &'static str {
    match loss {
        LossName::CrossEntropy => "Cross entropy",
        LossName::Mse => "Squared loss",
    }
}

fn key(loss: LossName) -> &'static str {
    match loss {
        LossName::CrossEntropy => "ce",
        LossName::Mse => "mse",
    }
}

fn minima(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(
        "The minima that the runs start at, and good ones of the same network from random weights by the same plain SGD. \
         Accuracies in percent; the random labels are fitted on all copies.",
        &[
            "loss",
            "seed",
            "random labels fitted",
            "bad: train",
            "bad: test",
            "bad: loss",
            "bad: trbar",
            "good: test",
            "good: loss",
            "good: trbar",
            "a bad minimum",
        ],
    );
    let trace = |p: &Point| p.trbar.map_or(String::new(), short);
    for outcome in outcomes {
        for (seed, m) in outcome.minima.iter().enumerate() {
            table.row([
                title(outcome.loss).to_string(),
                seed.to_string(),
                percent(m.random.train_accuracy),
                percent(m.bad.train_accuracy),
                percent(m.bad.held_out_accuracy),
                short(m.bad.train_loss),
                trace(&m.bad),
                percent(m.good.held_out_accuracy),
                short(m.good.train_loss),
                trace(&m.good),
                if m.is_bad() { "yes" } else { "no" }.to_string(),
            ]);
        }
    }
    table
}

fn text(mean: &Option<Mean>, number: impl Fn(f64) -> String) -> String {
    mean.map_or("diverged".into(), |m| m.text(number))
}

fn headline(outcome: &Outcome, rows: &[Row]) -> Table {
    let mut table = Table::new(
        format!(
            "{}: the ends of the runs, means over the seeds with 95 % intervals. The last two columns say how many times \
             larger SGD's trbar is: at the larger of the two final training losses, which the other run has passed \
             (interpolated on its way, in logarithms), and after the same number of evaluations.",
            title(outcome.loss)
        ),
        &[
            "method",
            "rho",
            "lr",
            "gate",
            "evals",
            "train loss",
            "train acc., lowest, %",
            "test acc., %",
            "gain, points",
            "trbar",
            "lambda_max",
            "SGD / it, equal loss",
            "SGD / it, equal evals",
        ],
    );
    for row in rows {
        let [rho, lr, gate] = row.setting.numbers();
        let ratio = |mean: &Option<Mean>| match row.setting.method {
            Method::Sgd => "1".into(),
            _ => mean.map_or("no common loss".into(), |m| m.text(short)),
        };
        table.row([
            row.setting.method.name(),
            rho,
            lr,
            gate,
            text(&row.evals, |x| format!("{x:.0}")).split(' ').next().unwrap_or_default().to_string(),
            text(&row.train_loss, short),
            row.train_accuracy.map_or("diverged".into(), percent),
            text(&row.test_accuracy, percent),
            text(&row.gain, percent),
            text(&row.trbar, short),
            text(&row.lambda_max, short),
            ratio(&row.at_equal_loss),
            ratio(&row.at_equal_evals),
        ]);
    }
    table
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
        format!("* **{}**: {}{traces}", title(outcome.loss), moved(&rows))
    };
    outcomes.iter().map(finding).collect::<Vec<_>>().join("\n")
}

fn verdict(outcome: &Outcome, rows: &[Row]) -> String {
    let moved = moved(rows);
    let (r, n) = proxy(outcome);
    let r = r.map_or("cannot be told".into(), |r| format!("is {r:.2}"));
    let why = match outcome.loss {
        LossName::CrossEntropy => {
            "A method that lowers the cross entropy further has a smaller trace for that reason alone, since the margins \
             grow: compare at equal loss."
        }
        LossName::Mse => {
            "The squared loss has no growing margins. Where a method stays at a higher loss than the start there is no loss \
             in common with SGD, and the traces are compared after equal evaluations."
        }
    };
    format!(
        "{moved} {why} The correlation of test accuracy with the logarithm of trbar over the ends of {n} runs {r}; where it is far \
         from -1, test accuracy is no stand-in for the trace."
    )
}

/// What was asked of the comparison, and what came out.
fn measures(rows: &[Row]) -> Table {
    let mut table =
        Table::new("What was asked for, at equal training loss, and what was found.", &["asked", "found", "met"]);
    let of = |method: Method| rows.iter().find(|r| r.setting.method == method);
    let times = |row: &Row| match (row.at_equal_loss, row.at_equal_evals) {
        (Some(m), _) => format!("{} times", m.text(short)),
        (None, Some(m)) => format!("no common loss; {} times after equal evaluations", m.text(short)),
        (None, None) => "diverged".into(),
    };
    // whether a condition on ratios at equal loss holds; `None` where there are no such ratios
    let word = |met: Option<bool>| met.map_or("cannot be told", |met| if met { "yes" } else { "no" });
    let ratio = |row: &Row| row.at_equal_loss.map(|m| m.value);
    let more = |a: &Row, b: &Row| ratio(a).zip(ratio(b)).map(|(a, b)| a >= b);
    for (method, factor) in [(Method::Rs, 2.0), (Method::Sa(128), 4.0)] {
        if let Some(row) = of(method) {
            let met = row.at_equal_loss.map(|m| m.value >= factor && m.ci95.is_some_and(|[lo, _]| lo > 1.0));
            let asked = format!("{} lowers trbar {factor} times against SGD, the interval apart from 1", method.name());
            table.row([asked, times(row), word(met).into()]);
        }
    }
    if let (Some(rs), Some(sa)) = (of(Method::Rs), of(Method::Sa(128))) {
        let (a, b) = (sa.setting.rho, rs.setting.rho);
        table.row(["SA has the smaller rho", &format!("{a} against {b}"), word(Some(a < b))]);
        let found = format!("SA: {}; RS: {}", times(sa), times(rs));
        table.row(["SA lowers trbar at least as much as RS", &found, word(more(sa, rs))]);
        for small in [Method::Sa(64), Method::Sa(8), Method::Sa(1)].into_iter().filter_map(of) {
            let asked = format!("{} lowers trbar at least as much as batch 128", small.setting.method.name());
            table.row([asked, times(small), word(more(small, sa)).into()]);
        }
    }
    let low = |row: &Row| row.train_accuracy.unwrap_or_default();
    if let Some(worst) = rows.iter().min_by(|a, b| low(a).total_cmp(&low(b))) {
        let found = format!("lowest {} % ({})", percent(low(worst)), worst.setting.method.name());
        table.row(["training accuracy stays at 99.9 % or above", &found, word(Some(low(worst) >= FITTED))]);
    }
    table
}

fn figures(study: &Study, outcome: &Outcome, page: &mut Page) -> Result<()> {
    let seeds = outcome.minima.len();
    let caption =
        format!("{}; means of {seeds} seeds, the bands reach from the lowest to the highest", title(outcome.loss));
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
        let file = format!("{}-{name}.svg", key(outcome.loss));
        let chart = Chart {
            title: heading,
            caption: &caption,
            x: Axis { label: "gradient evaluations", logarithmic: false },
            y: Axis { label, logarithmic },
            series,
        };
        curves(&chart, &study.root().join(&file))?;
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

fn ablations(outcome: &Outcome, part: &LossPlan) -> Table {
    let mut table = Table::new(
        format!(
            "Ablations: the chosen setting with one thing changed, {} evaluations, means over the seeds with 95 % intervals.",
            part.search_evals
        ),
        &["method", "change", "evals", "train loss", "train acc., lowest, %", "test acc., %", "trbar"],
    );
    for variant in &outcome.variants {
        let ends: Option<Vec<&Point>> = variant.fits.iter().map(|fit| fit.end()).collect();
        let Some(ends) = ends else {
            table.row([variant.method.name(), variant.name.clone(), String::new(), "diverged".into()]);
            continue;
        };
        let mean = |f: &dyn Fn(&Point) -> f64| Mean::of(&ends.iter().map(|p| f(p)).collect::<Vec<_>>());
        let lowest = ends.iter().fold(1.0, |low: f64, p| low.min(p.train_accuracy));
        table.row([
            variant.method.name(),
            variant.name.clone(),
            mean(&|p| p.evals).map_or(String::new(), |m| format!("{:.0}", m.value)),
            text(&mean(&|p| p.train_loss.ln()).map(|m| m.map(f64::exp)), short),
            percent(lowest),
            text(&mean(&|p| p.held_out_accuracy), percent),
            text(&mean(&|p| p.trbar.unwrap_or(f64::NAN).ln()).map(|m| m.map(f64::exp)), short),
        ]);
    }
    table
}

fn search(outcome: &Outcome) -> Table {
    let mut table = Table::new(
        format!("{}: the settings tried, from the first seed's bad minimum.", title(outcome.loss)),
        &["method", "rho", "lr", "gate", "evals", "train loss", "train acc., %", "validation acc., %", "chosen"],
    );
    for Trial { setting, fit } in &outcome.trials {
        let [rho, lr, gate] = setting.numbers();
        let chosen = outcome.contenders.iter().any(|c| c.setting == *setting);
        let chosen = if chosen { "chosen" } else { "" }.to_string();
        let numbers = match fit.end() {
            Some(end) => [
                format!("{:.0}", end.evals),
                short(end.train_loss),
                percent(end.train_accuracy),
                percent(end.held_out_accuracy),
            ],
            None => ["", "diverged", "", ""].map(String::from),
        };
        table.row([setting.method.name(), rho, lr, gate].into_iter().chain(numbers).chain([chosen]));
    }
    table
}
