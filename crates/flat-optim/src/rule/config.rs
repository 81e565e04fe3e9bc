//! Rules by name.

use crate::error::names;
use crate::{BaseKind, Error, GradientRule, NsoConfig, Plain, Result, RspConfig, SamConfig, SapConfig};
use std::fmt;
use std::str::FromStr;

/// The rules by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// `plain`, [`Plain`].
    Plain,
    /// `sam`, [`crate::Sam`].
    Sam,
    /// `rsp`, [`crate::Rsp`].
    Rsp,
    /// `sap`, [`crate::Sap`].
    Sap,
    /// `nso`, [`crate::Nso`].
    Nso,
}

impl RuleKind {
    /// Every rule.
    pub const ALL: [Self; 5] = [Self::Plain, Self::Sam, Self::Rsp, Self::Sap, Self::Nso];

    /// The name that [`FromStr`] accepts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sam => "sam",
            Self::Rsp => "rsp",
            Self::Sap => "sap",
            Self::Nso => "nso",
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for RuleKind {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.name() == name)
            .ok_or_else(|| Error::option("rule", name, format!("known rules: {}", names(Self::ALL))))
    }
}

/// A rule with its options.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum RuleConfig {
    /// The plain gradient.
    Plain,
    /// Sharpness-aware minimization.
    Sam(SamConfig),
    /// Randomly smoothed perturbation.
    Rsp(RspConfig),
    /// Sharpness-aware perturbation.
    Sap(SapConfig),
    /// Noise stability optimization.
    Nso(NsoConfig),
}

impl RuleConfig {
    /// The name.
    pub fn kind(&self) -> RuleKind {
        match self {
            Self::Plain => RuleKind::Plain,
            Self::Sam(_) => RuleKind::Sam,
            Self::Rsp(_) => RuleKind::Rsp,
            Self::Sap(_) => RuleKind::Sap,
            Self::Nso(_) => RuleKind::Nso,
        }
    }

    /// The rule.
    ///
    /// # Errors
    /// [`Error::BadOption`] naming the option.
    pub fn build(self) -> Result<Box<dyn GradientRule>> {
        Ok(match self {
            Self::Plain => Box::new(Plain),
            Self::Sam(c) => Box::new(c.build()?),
            Self::Rsp(c) => Box::new(c.build()?),
            Self::Sap(c) => Box::new(c.build()?),
            Self::Nso(c) => Box::new(c.build()?),
        })
    }
}

impl From<RuleKind> for RuleConfig {
    /// The rule with its default options.
    fn from(kind: RuleKind) -> Self {
        match kind {
            RuleKind::Plain => Self::Plain,
            RuleKind::Sam => Self::Sam(SamConfig::default()),
            RuleKind::Rsp => Self::Rsp(RspConfig::default()),
            RuleKind::Sap => Self::Sap(SapConfig::default()),
            RuleKind::Nso => Self::Nso(NsoConfig::default()),
        }
    }
}

/// A rule name, or the name of a base optimizer, which means the plain gradient over that base.
///
/// ```
/// use flat_optim::{BaseKind, RuleKind, parse_optimizer};
/// assert_eq!(parse_optimizer("rsp")?, (RuleKind::Rsp, None));
/// assert_eq!(parse_optimizer("adamw")?, (RuleKind::Plain, Some(BaseKind::AdamW)));
/// # Ok::<(), flat_optim::Error>(())
/// ```
///
/// # Errors
/// [`Error::BadOption`] listing the names.
pub fn parse_optimizer(name: &str) -> Result<(RuleKind, Option<BaseKind>)> {
    match (name.parse::<RuleKind>(), name.parse::<BaseKind>()) {
        (Ok(rule), _) => Ok((rule, None)),
        (_, Ok(base)) => Ok((RuleKind::Plain, Some(base))),
        _ => {
            let known = format!("known optimizers: {}, {}", names(RuleKind::ALL), names(BaseKind::ALL));
            Err(Error::option("optimizer", name, known))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_parses_from_its_name_and_builds_with_defaults() -> Result<()> {
        for kind in RuleKind::ALL {
            assert_eq!(kind.to_string().parse::<RuleKind>()?, kind);
            let config = RuleConfig::from(kind);
            assert_eq!(config.kind(), kind);
            assert_eq!(config.build()?.name(), kind.name());
        }
        Ok(())
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let text = parse_optimizer("sgdm").expect_err("unknown").to_string();
        assert_eq!(text, "optimizer = sgdm: known optimizers: plain, sam, rsp, sap, nso, sgd, adamw");
        assert!("same".parse::<RuleKind>().expect_err("unknown").to_string().starts_with("rule = same: known rules"));
    }

    #[test]
    fn errors_name_the_option() {
        let text = |e: Result<Box<dyn GradientRule>>| e.err().map(|e| e.to_string()).unwrap_or_default();
        let sam = RuleConfig::Sam(SamConfig { rho: 0.0, ..SamConfig::default() });
        assert_eq!(text(sam.build()), "rho = 0: must be a finite number above 0");
        let nan = RuleConfig::Rsp(RspConfig { gate: f64::NAN, ..RspConfig::default() });
        assert!(text(nan.build()).starts_with("gate = NaN"));
        let lr = RuleConfig::Sap(SapConfig { plain_lr: Some(-1.0), ..SapConfig::default() });
        assert!(text(lr.build()).starts_with("plain_lr = -1"));
        let nso = RuleConfig::Nso(NsoConfig { sigma: f64::INFINITY, k: 1 });
        assert!(text(nso.build()).starts_with("sigma = inf"));
    }
}
