//! What a campaign tried and what came of it.

use crate::args::{Campaign, Given};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// What failed, and how to see it again.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The case.
    pub case: String,
    /// What was done to it and what happened.
    pub what: String,
}

/// What a campaign tried and what came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub campaign: String,
    /// Of the tool.
    pub version: &'static str,
    /// Seed of every random choice.
    pub seed: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// What was tried, in kills, faults, damages, tests, runs or inputs.
    pub tried: u64,
    /// What could be tried; absent where there is no end to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Why nothing could be tried here, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// How often each thing happened, by case.
    pub cases: BTreeMap<String, BTreeMap<String, u64>>,
    /// What failed.
    pub failures: Vec<Failure>,
    #[serde(skip)]
    begun: Instant,
    #[serde(skip)]
    time: Duration,
}

impl Report {
    pub(crate) fn begin(campaign: &Campaign, given: &Given) -> Self {
        Self {
            campaign: campaign.name().into(),
            version: env!("CARGO_PKG_VERSION"),
            seed: given.seed,
            seconds: 0.0,
            tried: 0,
            of: None,
            skipped: None,
            cases: BTreeMap::new(),
            failures: Vec::new(),
            begun: Instant::now(),
            time: Duration::from_secs(given.seconds),
        }
    }

    /// Whether there is time for another case.
    pub(crate) fn goes_on(&self) -> bool {
        self.begun.elapsed() < self.time
    }

    /// Counts something that happened to a case.
    pub(crate) fn count(&mut self, case: &str, what: &str) {
        self.add(case, what, 1);
    }

    /// As [`Self::count`], many times.
    pub(crate) fn add(&mut self, case: &str, what: &str, times: u64) {
        *self.cases.entry(case.into()).or_default().entry(what.into()).or_default() += times;
    }

    /// Counts a failure, says it and keeps it.
    pub(crate) fn fail(&mut self, case: &str, kind: &str, what: String) {
        eprintln!("{case}: {kind}: {what}");
        self.count(case, kind);
        self.failures.push(Failure { case: case.into(), what: format!("{kind}: {what}") });
    }

    pub(crate) fn end(&mut self) {
        self.seconds = self.begun.elapsed().as_secs_f64();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.of.map(|of| format!(" of {of}")).unwrap_or_default();
        writeln!(
            f,
            "{} {}, seed {}: {}{of} tried in {:.1} s, {} failures",
            self.campaign,
            self.version,
            self.seed,
            self.tried,
            self.seconds,
            self.failures.len()
        )?;
        if let Some(why) = &self.skipped {
            writeln!(f, "skipped: {why}")?;
        }
        let wide = self.cases.keys().map(String::len).max().unwrap_or_default();
        for (case, counts) in &self.cases {
            let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
            writeln!(f, "  {case:<wide$}  {}", counts.join(", "))?;
        }
        for Failure { case, what } in &self.failures {
            writeln!(f, "FAILED {case}: {what}")?;
        }
        Ok(())
    }
}
