//! The budget of every run of a sweep.

use anyhow::Result;
use flat_core::setting::{Value, Values};
use flat_run::{RunConfig, usage};
use std::fmt;
use std::str::FromStr;

/// What every run may spend. Gradient evaluations are those of a whole batch of the run, as `evals` of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// The same number of gradient evaluations: this one, or as many as `--epochs`, `--steps` or `--evals` mean for the cheapest
    /// way, a plain step. A rule with two gradients a step takes half as many steps.
    Evals(Option<u64>),
    /// The same number of steps, whatever one costs.
    Steps,
}

impl Default for Budget {
    fn default() -> Self {
        Self::Evals(None)
    }
}

impl FromStr for Budget {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "steps" => Ok(Self::Steps),
            "evals" => Ok(Self::Evals(None)),
            _ => match text.strip_prefix("evals=").map(str::parse) {
                Some(Ok(n)) if n > 0 => Ok(Self::Evals(Some(n))),
                _ => Err(usage(format!("--budget {text}: write evals, evals=N with N above 0, or steps"))),
            },
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evals(None) => f.write_str("evals"),
            Self::Evals(Some(n)) => write!(f, "evals={n}"),
            Self::Steps => f.write_str("steps"),
        }
    }
}

impl Budget {
    /// The flags with the length of the run that the budget gives; `plain_steps` are the steps that `config` says without it.
    pub(crate) fn lay_over(self, flags: &Values, config: &RunConfig, plain_steps: u64) -> Values {
        let evals = match self {
            Self::Steps => return flags.clone(),
            Self::Evals(given) => given.or(config.evals).unwrap_or(plain_steps),
        };
        let mut flags = flags.clone();
        ["epochs", "steps"].iter().for_each(|name| drop(flags.remove(name)));
        flags.insert("evals", Value::Count(evals));
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_read_back_as_written() {
        for text in ["evals", "evals=300", "steps"] {
            assert_eq!(text.parse::<Budget>().map(|b| b.to_string()).ok().as_deref(), Some(text));
        }
        for text in ["evals=0", "evals=a", "epochs", ""] {
            assert!(text.parse::<Budget>().expect_err(text).to_string().contains("--budget"));
        }
    }
}
