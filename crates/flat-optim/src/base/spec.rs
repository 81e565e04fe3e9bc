//! Base optimizers as data: how a user names one and what it takes.

use crate::{BASES, Base, Result};
use flat_core::setting::{Setting, Settings, Values};
use flat_core::{Choice, Item};

/// Everything that a base optimizer's users need to know besides its recurrence.
#[derive(Debug)]
pub struct BaseSpec {
    /// The name that a user types.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Authors, year, arXiv id, algorithm; empty for what has none.
    pub paper: &'static str,
    settings: fn() -> Vec<Setting>,
    build: fn(&Values) -> Result<Box<dyn Base>>,
}

impl BaseSpec {
    /// The entry of base `B`, whose fields are its options.
    pub const fn of<B: Base + Settings + 'static>(
        name: &'static str,
        about: &'static str,
        paper: &'static str,
    ) -> Self {
        Self { name, about, paper, settings: B::settings, build: build::<B> }
    }

    /// Its options.
    pub fn settings(&self) -> Vec<Setting> {
        (self.settings)()
    }

    /// Whether its model is a mean of its iterates.
    pub fn averages(&self) -> bool {
        self.build(&Values::default()).is_ok_and(|base| base.averages())
    }

    /// The base with these options, and defaults for the others; names of other options are left alone.
    ///
    /// # Errors
    /// [`crate::Error::BadSetting`] naming the option.
    pub fn build(&self, options: &Values) -> Result<Box<dyn Base>> {
        (self.build)(options)
    }
}

fn build<B: Base + Settings + 'static>(options: &Values) -> Result<Box<dyn Base>> {
    let base = B::of(options)?;
    Base::check(&base)?;
    Ok(Box::new(base))
}

impl Item for BaseSpec {
    const WHAT: &'static str = "base";
    fn table() -> &'static [Self] {
        BASES
    }
    fn name(&self) -> &'static str {
        self.name
    }
}

/// A base optimizer by name.
pub type BaseKind = Choice<BaseSpec>;
