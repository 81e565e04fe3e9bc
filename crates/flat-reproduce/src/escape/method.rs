//! The methods of the comparison, their settings and their ablations.

use crate::flags::Flags;
use crate::network::has_batch_norm;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A method of the comparison.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    /// As cells name it.
    pub key: String,
    /// As the page names it.
    pub name: String,
    /// What makes a run one of it.
    pub flags: Flags,
}

impl Method {
    /// Whether it is Algorithm 1.
    pub fn is_rs(&self) -> bool {
        self.flags.text("optimizer") == Some("rsp")
    }

    /// Whether it is Algorithm 2.
    pub fn is_sa(&self) -> bool {
        self.flags.text("optimizer") == Some("sap")
    }
}

/// Mini-batch gradients that a step of a run takes where every step is perturbed.
pub(super) fn evals_per_step(run: &Flags) -> Result<f64> {
    let sample = run.number("sap-examples").filter(|_| run.text("sap-direction") != Some("batch"));
    let batch = run.needed("batch-size")?;
    Ok(match (run.text("optimizer"), sample) {
        (Some("sgd"), _) => 1.0,
        // one example is normalised with its batch
        (Some("sap"), Some(1.0)) if has_batch_norm(run) => 3.0,
        (Some("sap"), Some(n)) if n < batch => 1.0 + 2.0 * n / batch,
        _ => 2.0,
    })
}

/// A method with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Setting {
    /// The method's key.
    pub method: String,
    /// Learning rate, radius and gate.
    pub flags: Flags,
}

impl Setting {
    /// Of an entry of a grid, which names its method beside the numbers.
    ///
    /// # Errors
    /// It names none.
    pub fn of(entry: &Flags) -> Result<Self> {
        let method = entry.text("method").context("an entry of the study's grid names no method")?;
        Ok(Self { method: method.into(), flags: entry.without(&["method"]) })
    }

    /// rho, for `nso` sigma; 0 where nothing is perturbed.
    pub fn size(&self) -> f64 {
        self.flags.number("rho").or(self.flags.number("sigma")).unwrap_or(0.0)
    }

    /// Learning rate.
    pub fn lr(&self) -> f64 {
        self.flags.number("lr").unwrap_or_default()
    }

    fn gate(&self) -> Option<f64> {
        self.flags.number("eps0")
    }

    /// As cells name it.
    pub fn key(&self) -> String {
        let gate = self.gate().map(|g| format!("-gate{g}")).unwrap_or_default();
        format!("{}-lr{}-rho{}{gate}", self.method, self.lr(), self.size())
    }

    /// The numbers as the page prints them: rho, lr, eps0.
    pub fn numbers(&self) -> [String; 3] {
        let size = match (self.flags.number("rho"), self.flags.number("sigma")) {
            (Some(rho), _) => rho.to_string(),
            (_, Some(sigma)) => format!("sigma {sigma}"),
            _ => "-".into(),
        };
        [size, self.lr().to_string(), self.gate().map_or("none".into(), |g| g.to_string())]
    }
}

/// A change of a setting whose effect is measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Ablation {
    /// As cells name it.
    pub key: String,
    name: String,
    /// Keys of the methods that it makes a difference to.
    methods: Vec<String>,
    /// Flags that are set.
    #[serde(default)]
    flags: Flags,
    /// Flags that are left out.
    #[serde(default)]
    without: Vec<String>,
    /// Factor on rho.
    times_rho: Option<f64>,
    /// What is done instead to a setting with a gate.
    where_gated: Option<Gated>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gated {
    name: String,
    without: Vec<String>,
}

impl Ablation {
    /// Whether it makes a difference to a method.
    pub fn concerns(&self, method: &str) -> bool {
        self.methods.iter().any(|key| key == method)
    }

    /// As the page names it.
    pub fn name(&self, setting: &Setting) -> &str {
        self.gated(setting).map_or(&self.name, |gated| &gated.name)
    }

    /// The changed run.
    pub fn over(&self, setting: &Setting, run: &Flags) -> Flags {
        let leave_out =
            |run: &Flags, names: &[String]| run.without(&names.iter().map(String::as_str).collect::<Vec<_>>());
        if let Some(gated) = self.gated(setting) {
            return leave_out(run, &gated.without);
        }
        let run = leave_out(run, &self.without).under(&self.flags);
        match (self.times_rho, run.number("rho")) {
            (Some(factor), Some(rho)) => run.with("rho", factor * rho),
            _ => run,
        }
    }

    fn gated(&self, setting: &Setting) -> Option<&Gated> {
        self.where_gated.as_ref().filter(|_| setting.gate().is_some())
    }
}
