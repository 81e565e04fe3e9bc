//! Rules and bases as data: how a user names one, what it takes, where it comes from.

use crate::Result;
use flat_core::setting::{Setting, Settings, Values};
use std::fmt;

/// Everything that the users of a rule or a base need to know besides its algorithm; `T` is what it builds.
pub struct Spec<T: ?Sized> {
    /// The name that a user types.
    pub name: &'static str,
    /// Other names that find it.
    pub others: &'static [&'static str],
    /// What it does, in one line.
    pub about: &'static str,
    /// Authors, year, arXiv id, algorithm; empty for what has none.
    pub paper: &'static str,
    /// Defaults of options of [`crate::Sgd`] beneath it, where they are others than those of `Sgd` alone.
    pub over_sgd: &'static [(&'static str, f64)],
    settings: fn() -> Vec<Setting>,
    build: fn(&Values) -> Result<Box<T>>,
}

impl<T: ?Sized> Spec<T> {
    /// The entry of `S`, whose fields are its options.
    pub(crate) const fn new<S: Settings>(
        [name, about, paper]: [&'static str; 3],
        build: fn(&Values) -> Result<Box<T>>,
    ) -> Self {
        Self { name, others: &[], about, paper, over_sgd: &[], settings: S::settings, build }
    }

    /// The same with other names.
    pub(crate) const fn or(mut self, others: &'static [&'static str]) -> Self {
        self.others = others;
        self
    }

    /// The same over SGD with other defaults than SGD's own.
    pub(crate) const fn over_sgd(mut self, defaults: &'static [(&'static str, f64)]) -> Self {
        self.over_sgd = defaults;
        self
    }

    /// Its options.
    pub fn settings(&self) -> Vec<Setting> {
        (self.settings)()
    }

    /// Builds the rule or base with these options, and defaults for the others; names of other options are ignored.
    ///
    /// # Errors
    /// [`crate::Error::BadSetting`] naming the option.
    pub fn build(&self, options: &Values) -> Result<Box<T>> {
        (self.build)(options)
    }

    /// Whether this holds of it with its defaults.
    pub(crate) fn at_defaults(&self, holds: impl FnOnce(Box<T>) -> bool) -> bool {
        self.build(&Values::default()).is_ok_and(holds)
    }
}

impl<T: ?Sized> fmt::Debug for Spec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec").field("name", &self.name).finish_non_exhaustive()
    }
}
