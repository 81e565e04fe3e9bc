//! Rules as data.

use crate::{BASES, BaseKind, GradientRule, Need, RULES, Result, Spec};
use flat_core::name::instead;
use flat_core::setting::{BadSetting, Settings, Values};
use flat_core::{Choice, Item};

/// A rule as data.
pub type RuleSpec = Spec<dyn GradientRule>;

impl RuleSpec {
    /// The entry of rule `R`, whose fields are its options.
    pub const fn of<R: GradientRule + Settings + 'static>(
        name: &'static str,
        about: &'static str,
        paper: &'static str,
    ) -> Self {
        Self::new::<R>([name, about, paper], build::<R>)
    }

    /// Whether the rule asks for this beside gradients.
    pub fn asks_for(&self, need: Need) -> bool {
        self.at_defaults(|rule| rule.needs().contains(&need))
    }

    /// Whether BatchNorm's running statistics are to be found anew before an evaluation.
    pub fn lags_statistics(&self) -> bool {
        self.at_defaults(|rule| rule.lags_statistics())
    }

    /// Whether the rule is a whole optimizer, of whose base the learning rate alone is used.
    pub fn is_whole_optimizer(&self) -> bool {
        self.at_defaults(|rule| rule.replaces_base())
    }

    /// Whether the rule evaluates gradients anywhere but at theta.
    pub fn perturbs(&self) -> bool {
        self.at_defaults(|rule| rule.radius(1) > 0.0)
    }
}

fn build<R: GradientRule + Settings + 'static>(options: &Values) -> Result<Box<dyn GradientRule>> {
    Ok(Box::new(R::of(options)?))
}

impl Item for RuleSpec {
    const WHAT: &'static str = "rule";
    fn table() -> &'static [Self] {
        RULES
    }
    fn name(&self) -> &'static str {
        self.name
    }
    fn others(&self) -> &'static [&'static str] {
        self.others
    }
}

/// A rule by name.
pub type RuleKind = Choice<RuleSpec>;

/// A rule name, or the name of a base optimizer, which means the plain gradient over that base.
///
/// ```
/// use flat_optim::parse_optimizer;
/// let (rule, base) = parse_optimizer("rsp")?;
/// assert!(rule == "rsp" && base.is_none());
/// let (rule, base) = parse_optimizer("adamw")?;
/// assert!(rule == "plain" && base.is_some_and(|b| b == "adamw"));
/// # Ok::<(), flat_optim::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::BadSetting`] listing the names.
pub fn parse_optimizer(name: &str) -> Result<(RuleKind, Option<BaseKind>)> {
    match (name.parse::<RuleKind>(), name.parse::<BaseKind>()) {
        (Ok(rule), _) => Ok((rule, None)),
        (_, Ok(base)) => Ok(("plain".parse()?, Some(base))),
        _ => {
            let names: Vec<&str> =
                RULES.iter().map(|rule| rule.name).chain(BASES.iter().map(|base| base.name)).collect();
            Err(BadSetting::new("optimizer", name, instead(name, &names)).into())
        }
    }
}
