//! Base optimizers as data.

use crate::{BASES, Base, Result, Spec};
use flat_core::setting::{Settings, Values};
use flat_core::{Choice, Item};

/// A base optimizer as data.
pub type BaseSpec = Spec<dyn Base>;

impl BaseSpec {
    /// The entry of base `B`, whose fields are its options.
    pub const fn of<B: Base + Settings + 'static>(
        name: &'static str,
        about: &'static str,
        paper: &'static str,
    ) -> Self {
        Self::new::<B>([name, about, paper], build::<B>)
    }

    /// Whether its model is a mean of its iterates.
    pub fn averages(&self) -> bool {
        self.at_defaults(|base| base.averages())
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
    fn others(&self) -> &'static [&'static str] {
        self.others
    }
}

/// A base optimizer by name.
pub type BaseKind = Choice<BaseSpec>;
