//! One report of the steps of all agents.

use flat_optim::StepReport;

/// Numbers of an agent's step that a report of all is made of.
pub const NUMBERS: usize = 8;

/// The size of an agent's part of the batch, and what its report says.
pub fn numbers(part: usize, report: &StepReport) -> [f64; NUMBERS] {
    let flag = |is: bool| f64::from(u8::from(is));
    [
        part as f64,
        report.loss,
        report.grad_norm,
        report.surrogate_norm,
        report.evals,
        flag(report.perturbed),
        flag(report.clipped),
        flag(report.skipped.is_some()),
    ]
}

/// The report of all agents, whose numbers stand one after another, on a batch of `rows`; `like` has what is the same for all.
/// Means are weighted by the parts of the batch and added up in the order of agents.
pub fn of_all(like: &StepReport, rows: usize, all: &[f64]) -> StepReport {
    let agents = || all.chunks_exact(NUMBERS);
    let mean = |of: usize| agents().map(|agent| agent[0] / rows as f64 * agent[of]).sum();
    let any = |of: usize| agents().any(|agent| agent[of] > 0.0);
    let skipped: Vec<String> =
        agents().enumerate().filter(|(_, agent)| agent[7] > 0.0).map(|(k, _)| k.to_string()).collect();
    let words =
        |who: String| format!("the loss or gradient of agent {who} is not finite; every other agent made its step");
    StepReport {
        loss: mean(1),
        grad_norm: mean(2),
        surrogate_norm: mean(3),
        evals: mean(4),
        perturbed: any(5),
        clipped: any(6),
        skipped: (!skipped.is_empty()).then(|| words(skipped.join(", "))),
        ..like.clone()
    }
}
