//! The page: what the paper says, what was worked out, what was measured.

use super::Findings;
use super::ends::End;
use super::manifold::BLOCKS;
use super::sweep::{Along, Family, PATIENCE, Swept, seeds, slope_at_start};
use super::walk::{Algorithm, DELTA};
use crate::{Page, Scale, Table};
use anyhow::Result;

/// A number of any size in few digits.
fn number(x: f64) -> String {
    let size = x.abs();
    if size == 0.0 || (1e-2..1e5).contains(&size) {
        let digits = if size >= 100.0 { 0 } else { 3 };
        format!("{x:.digits$}")
    } else {
        format!("{x:.2e}")
    }
}

/// A number that may not exist.
fn maybe(x: Option<String>) -> String {
    x.unwrap_or_else(|| "-".into())
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Bowl => "bowl",
        Family::Valley => "valley",
    }
}

/// Everything but the plots.
pub(super) fn page(found: &Findings, scale: Scale) -> Result<Page> {
    let mut page = Page::new("Theorems on test functions");
    page.text(
        "K. Ahn, A. Jadbabaie, S. Sra, \"How to Escape Sharp Minima with Random Perturbations\", ICML 2024, arXiv 2305.15659. \
         RS is their Algorithm 1 (rule `rsp`), SA their Algorithm 2 (`sap`), as implemented in flat-optim. \
         trbar = tr(hess f) / D over D parameters, Phi(x) the limit of gradient flow. A point is (eps, sqrt eps)-flat where \
         ||x - Phi(x)|| <= eps and ||dPhi grad trbar|| <= sqrt(eps) at Phi(x). \
         Every statement is marked: **theorem** (the paper's), **by hand** (worked out here for these functions), \
         **measured** (here), **not in the paper**. Intervals are 95 %, Student's t.",
    );
    if scale == Scale::Smoke {
        page.text("This is the smoke scale: it shows that everything runs, its numbers mean nothing.");
    }
    functions(&mut page);
    ends(&mut page, &found.ends);
    rates(&mut page, found, scale)?;
    crosschecks(&mut page, found);
    drifts(&mut page, found);
    manifold(&mut page, found);
    Ok(page)
}

fn functions(page: &mut Page) {
    page.heading("The functions");
    page.text(
        "* **Hyperbola** (x1 x2 - 1)^2. Minima x1 x2 = 1, trbar = x1^2 + x2^2 there, flat at +-(1, 1) with trbar 2.\n\
         * **Bowl** (<y, z> - 1)^2 / 2 over y, z of D/2 numbers each. One sample: n = 1, f_1 = f, as the Hessian of f has rank one \
         already. With q = y - z: flow and Phi in closed form, trbar = (2 + |q|^2) / D along the minima, \
         ||dPhi grad trbar|| = (2/D) |q| sqrt((|q|^2 + 4) / (|q|^2 + 2)), flat iff y = z.\n\
         * **Valley** (D/n) e^(s q) |w|^2 / 2 over q and w of n = D - 1 numbers, samples f_i = D e^(s q) w_i^2 / 2 (rank-one Hessians at the \
         minima w = 0). Phi(q, w) = (q - s |w|^2 / 4, 0), trbar = e^(s q). s is chosen so that the slope of trbar at the start is 2 \
         sqrt(eps): a different function for each eps, all with curvatures between 1/2 and 2 on the way. This is the class's slow \
         case, where the whole way is hardly steeper than the threshold. It has no flattest minimum, but flat points.\n\
         * **Sparse regression** by a diagonal linear network, below.",
    );
    page.text(format!(
        "**Choice of the constants**, once for all eps and D: the theorems' choices with every constant hidden in O() set to 1 and \
         delta = {DELTA}. RS: eta = delta eps, rho = delta sqrt(eps), eps0 = delta^1.5 eps, eta' = 1/beta with beta the largest \
         curvature at the start. SA: eta, rho times nu and eps0 times nu^1.5, nu = min(D, eps^(-1/3)). GD runs with eta'; SAM and NSO with \
         the eta and rho of RS (NSO: sigma = rho / sqrt D). The start is a minimum moved off by 1 % (bowl) or 0.01 (valley), so that SAM has a \
         gradient to begin with. The steps counted are those until Phi(x_t) is first flat to sqrt(eps), and then of plain descent \
         until ||x - Phi(x)|| <= eps (the theorems speak of an iterate drawn from all T, which a first passage precedes)."
    ));
    page.text(
        "**By hand.** A perturbed step moves by eta rho^2 / 2 times dPhi grad trbar in the mean, one of SA by D times as much. \
         Along the bowl dQ/dt = -(4/D) Q (Q + 4) / (Q + 2) for Q = |q|^2 under dx/dt = -dPhi grad trbar, so RS takes \
         D / (4 eta rho^2) ln[Q0 (Q0 + 4) / (Q1 (Q1 + 4))] perturbed steps, with eta rho^2 = delta^3 eps^2 (SA: nu^3 times that) and Q1 about D^2 \
         eps / 8: eps^-2 log(1/eps) for RS, eps^-1 log for SA with nu = eps^(-1/3), eps^-2 log with nu = D. This is better than the bounds \
         because trbar falls exponentially along the bowl, while the bounds allow every step only the decrease eta rho^2 eps of the \
         last one. In the valley e^(-s q) grows by s^2 per time and the start is at twice the threshold: \
         T = 1 / (2 delta^3 eps^3) for RS, and 1 / (nu^3 D) of it for SA. These are the rates of the bounds: **the bounds are \
         tight over the class, and loose for the bowl**.",
    );
}

fn ends(page: &mut Page, ends: &[End]) {
    page.heading("Where the algorithms end");
    let mut table = Table::new(
        "trbar at Phi(x) at the end, eta = eta' = 0.01, rho = 0.1, eps0 = 1 (NSO: sigma = rho / sqrt D). Measured.",
        &[
            "function",
            "start",
            "steps",
            "algorithm",
            "gradients",
            "trbar at the end",
            "at the start",
            "smallest",
            "reference run",
        ],
    );
    for end in ends {
        let two = end.case.dim == 2;
        let first = end.path.first().map(|p| number(p.1)).unwrap_or_default();
        let reference = match (two, end.algorithm) {
            (true, Algorithm::Gd) => "16.06",
            (true, Algorithm::Rs) => "about 2.02",
            (true, Algorithm::Sa) => "about 2.00",
            _ => "-",
        };
        table.row([
            if two { "hyperbola".to_string() } else { format!("bowl, D = {}", end.case.dim) },
            if two { "(4, 0.25)".into() } else { "y = 3 e1, z = e1/3".to_string() },
            end.case.steps.to_string(),
            end.algorithm.name().into(),
            number(end.queries),
            end.trbar.text(4),
            first,
            number(2.0 / if two { 1.0 } else { end.case.dim as f64 }),
            reference.into(),
        ]);
    }
    page.table(table);
    page.text(
        "The starts are minima to the last bit, so SAM, whose perturbation is along the gradient, does not move at all; SA follows \
         the paper's remark there and takes the gradient a tiny step beside. The reference runs of the hyperbola are earlier ones of \
         this project with 20,000 steps; the paper states the minima and trbar, no end points of these runs.",
    );
}

fn rates(page: &mut Page, found: &Findings, scale: Scale) -> Result<()> {
    page.heading("Rates in eps and in D");
    let mut table = Table::new(
        format!(
            "Exponents of the number of steps. Bound: theorem. By hand: without logarithms. Mean drift: the line through the steps by \
             hand at the very places measured, logarithms and all. Measured: least squares in the logarithms over {} seeds, interval from the scatter about the line. \
             Last: perturbed steps over those of the mean drift, geometric mean.",
            seeds(scale)
        ),
        &[
            "function",
            "in",
            "algorithm",
            "where",
            "bound",
            "by hand",
            "mean drift",
            "measured",
            "last two places",
            "holds bound",
            "perturbed / drift",
        ],
    );
    for s in &found.sweeps {
        let (Some(fit), Some(bound)) = (&s.fit, s.line.bound) else { continue };
        table.row([
            family(s.line.family).to_string(),
            if s.line.along == Along::Eps { "eps".into() } else { "D".to_string() },
            s.line.algorithm.name().into(),
            s.line.regime.clone(),
            number(bound),
            maybe(s.line.by_hand.map(number)),
            maybe(s.predicted.as_ref().map(|p| number(p.exponent.value))),
            fit.exponent.text(3),
            maybe(s.last.map(number)),
            if fit.exponent.holds(bound) { "yes" } else { "no" }.into(),
            maybe(s.ratio.map(|r| r.text(3))),
        ]);
    }
    page.table(table);
    for s in &found.sweeps {
        if let Some(text) = verdict(s) {
            page.text(text);
        }
    }
    page.text(
        "**Why the valley's intervals miss the law by a few hundredths** (RS and SA in eps, SA in D): the scatter between seeds is so small that \
         corrections which vanish with eps are seen. By hand: a kick of size a across the valley moves Phi by s a^2 / 4 down it, which adds to the drift about the share \
         eta (D/n) e^(sq) / 2 for RS and eta D e^(sq) / 2 for SA (less 1/n, which the projection takes); eta falls with eps. For RS at eps = 0.2, D = 4 \
         that is 0.03, and as much is missing in the table below. SA's kicks, of size eta D rho, also end beyond eps0 and need plain steps to come back, \
         2 % of the steps at D = 3 and half of them at D = 32 (eps = 0.008). On the bowl, with one sample, the projection takes all kicks away, and the prediction is met to about 1 %, \
         which is what the start is off the minima. None of this contradicts an upper bound, which has a constant in front.",
    );
    page.text(
        "**GD, SAM, NSO.** GD stays where it came to the minima. NSO with sigma = rho / sqrt(D) is as quick as RS: it has the same mean drift. \
         SAM, started off the minima, is quicker than RS at the same rho, on the bowl by about D: its perturbation lies along the gradient, \
         the one curved direction, as that of SA does; at an exact minimum it has no direction and stays (first table). The theorems give no rates for these three; **not in the paper**.",
    );
    page.text(
        "In D, the starts have the slope 4 sqrt(eps) (bowl) and 2 sqrt(eps) (valley) at every D. On the bowl that start moves out with D, \
         since a Hessian of rank one and curvature beta has trbar at most beta / D: the trace to be got rid of, trbar(x0) - trbar(x_T), grows \
         as D, and with it the steps of RS. The bound has that difference in its O(). **Not in the paper.**",
    );
    let mut table = Table::new(
        format!(
            "Every place, means over the seeds. The budget is {PATIENCE} times the steps of RS's mean drift ({} times SA's for SA).",
            5.0 * PATIENCE
        ),
        &[
            "function",
            "eps",
            "D",
            "algorithm",
            "reached",
            "steps",
            "gradients",
            "perturbed by drift",
            "descent",
            "slope at start / sqrt eps",
            "budget",
        ],
    );
    for s in &found.sweeps {
        for ((eps, dim), f) in s.line.places.iter().zip(&s.found) {
            let never = f.steps().next().is_none();
            let mean = |of: fn(&super::walk::Walk) -> f64| -> Result<String> {
                Ok(match f.mean(of).transpose()? {
                    Some(x) => format!("{} [{}, {}]", number(x.value), number(x.ci95[0]), number(x.ci95[1])),
                    None if never => "never within budget".into(),
                    None => "not by all seeds".into(),
                })
            };
            let factor = if s.line.algorithm == Algorithm::Sa { 5.0 * PATIENCE } else { PATIENCE };
            table.row([
                family(s.line.family).to_string(),
                number(*eps),
                dim.to_string(),
                s.line.algorithm.name().into(),
                format!("{}/{}", f.steps().count(), f.walks.len()),
                mean(|w| w.steps as f64)?,
                mean(|w| w.queries)?,
                number(f.predicted),
                number(f.walks.iter().map(|w| w.descent as f64).sum::<f64>() / f.walks.len() as f64),
                number(slope_at_start(s.line.family, s.line.along, *eps, *dim)),
                number((factor * f.predicted).ceil()),
            ]);
        }
    }
    page.table(table);
    Ok(())
}

/// What a line comes to, in words.
fn verdict(s: &Swept) -> Option<String> {
    let (fit, bound, predicted) = (s.fit.as_ref()?, s.line.bound?, s.predicted.as_ref()?);
    let name = format!(
        "{} on the {}, in {}{}",
        s.line.algorithm.name(),
        family(s.line.family),
        if s.line.along == Along::Eps { "eps" } else { "D" },
        if s.line.regime.is_empty() { String::new() } else { format!(", {}", s.line.regime) }
    );
    // in eps, fewer steps as eps falls is a larger exponent; in D a smaller one
    let better = if s.line.along == Along::Eps { fit.exponent.ci95[0] > bound } else { fit.exponent.ci95[1] < bound };
    let with_drift = match (fit.exponent.holds(predicted.exponent.value), s.ratio) {
        (true, _) => format!("and the exponent by the mean drift, {}", number(predicted.exponent.value)),
        (false, Some(r)) => format!(
            "but not the exponent by the mean drift, {} (perturbed steps are {} of it)",
            number(predicted.exponent.value),
            r.text(3)
        ),
        (false, None) => String::new(),
    };
    Some(if fit.exponent.holds(bound) {
        format!("* {name}: the interval holds the theorem's {bound} {with_drift}.")
    } else if better && (predicted.exponent.value - bound).abs() >= 0.01 {
        format!("* {name}: better than the theorem's {bound}, as it may; the interval is {}.", {
            let also = if fit.exponent.holds(predicted.exponent.value) { "holds" } else { "does not hold" };
            format!(
                "{} and {also} the exponent by the mean drift, {}",
                fit.exponent.text(3),
                number(predicted.exponent.value)
            )
        })
    } else if (predicted.exponent.value - bound).abs() < 0.01 {
        format!(
            "* {name}: by the mean drift the exponent is the theorem's, {bound}; the interval {} misses it by {:.3}, for the reasons below.",
            fit.exponent.text(3),
            (fit.exponent.value - bound).abs()
        )
    } else {
        format!(
            "* {name}: the interval {} lies on the other side of the theorem's {bound}, as the mean drift has it at these places, {}: the \
             start moves with D, see below.",
            fit.exponent.text(3),
            number(predicted.exponent.value)
        )
    })
}

fn crosschecks(page: &mut Page, found: &Findings) {
    page.heading("The closed forms against the certificate");
    let mut table = Table::new(
        "Start and end of a walk of RS, eps = 0.1, D = 4: Phi, distance and slope in closed form, and by `flat_metrics::Certificate`, \
         which follows the flow, finds the normal space by Lanczos and the slope by differences of Hessian-vector products. Measured.",
        &["function", "place", "distance", "by the certificate", "slope", "interval of the certificate", "verdict"],
    );
    for c in &found.crosschecks {
        table.row([
            family(c.family).to_string(),
            c.place.clone(),
            format!("{:.3e}", c.exact[0]),
            format!("{:.3e}", c.distance),
            format!("{:.4}", c.exact[1]),
            format!("[{:.4}, {:.4}]", c.norm_interval[0], c.norm_interval[1]),
            c.verdict.clone(),
        ]);
    }
    page.table(table);
    page.text(
        "The end of a walk stands at the threshold itself, sqrt(0.1) = 0.316, so that an interval that holds it, and the verdict \
         `Undecided`, are the right answer there.",
    );
}

fn drifts(page: &mut Page, found: &Findings) {
    page.heading("Drift");
    page.text(
        "**Theorem.** E_u grad f(x + rho u) = grad f + (rho^2 / 2) grad trbar + O(rho^3); for SA the drift is (rho^2 / 2) grad tr, D times as \
         much. **Measured** on the bowl at y = 3 e1, z = e1/3, an exact minimum: the mean of v along t = dPhi grad trbar over (rho^2/2) ||t||^2, from single steps of \
         the rules, without variance reduction (the term of first order has no part along the minima). 1 and D are expected, up to O(rho).",
    );
    let mut table =
        Table::new("Drift coefficients.", &["D", "rho", "RS", "SA", "SA / RS", "SA / RS / D", "within 5 % of D"]);
    for d in &found.drifts {
        let dim = d.setting.dim as f64;
        let share = d.ratio.value / dim;
        table.row([
            d.setting.dim.to_string(),
            d.setting.rho.to_string(),
            d.rs.text(4),
            d.sa.text(3),
            d.ratio.text(2),
            format!("{share:.4}"),
            if (share - 1.0).abs() <= 0.05 { "yes" } else { "no" }.into(),
        ]);
    }
    page.table(table);
}

fn manifold(page: &mut Page, found: &Findings) {
    page.heading("A manifold of minima in many dimensions");
    page.text(format!(
        "Regression by a diagonal linear network, f_i = (sum_j a_j (u_j^2 - v_j^2) - 1)^2 / 2 over {BLOCKS} blocks of D / {} features, one \
         measurement a block, a_1 = 1/2 and a_j = +-1 otherwise. Blocks share no parameter, so the flow multiplies u_j by \
         e^(-2 a_j t), v_j by e^(2 a_j t) with one t a block (one equation in one unknown), and the normals (a u, -a v) of the minima are \
         orthogonal: dPhi is one projection a block. tr = (4/n) sum a_j^2 (u_j^2 + v_j^2) >= (4/n) sum over blocks of min |a_j| = 2, with equality \
         exactly where u_1^2 = 2 and all else vanishes: **the flattest minima are the sparsest solutions** (by hand). The start spreads the answer \
         over all features, at about 6 times the smallest trace. eta = 0.05, eta' = 0.2, eps0 = 0.3. The paper has no such experiment.",
        2 * BLOCKS
    ));
    let mut table = Table::new(
        "Gradients of f until trbar(Phi(x)) is within 5 % of its smallest value, and the end (at 1 % or at the budget). Measured.",
        &[
            "D",
            "algorithm",
            "rho",
            "gradients to 5 %",
            "gradients spent",
            "trbar / smallest at the end",
            "distance to the flattest, start",
            "end",
        ],
    );
    for run in &found.manifold {
        let (Some(first), Some(last)) = (run.path.first(), run.path.last()) else { continue };
        table.row([
            run.setting.dim.to_string(),
            run.setting.choice.algorithm.name().into(),
            number(run.setting.choice.rho),
            run.arrived.map_or_else(|| "never within budget".into(), number),
            number(last.queries),
            number(last.ratio),
            number(first.distance),
            number(last.distance),
        ]);
    }
    page.table(table);
    page.text(
        "SA's cost grows as log D (by hand: the weight of the sparse solution starts at 1/D of its final size and grows exponentially at a rate without D). \
         At the same radius RS drifts D times more slowly. (By hand:) a larger radius helps only up to about D^(1/4): beyond it the part of second order in \
         the perturbation, which sums over all parameters to about rho^2 / sqrt(D), is as large as the answers that are fitted.",
    );
}
