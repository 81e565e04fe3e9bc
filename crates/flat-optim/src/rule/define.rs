//! How a rule is written down: settings, state and entry of the table in one place.

use crate::{Result, StateVisitor};
use flat_core::ParamVec;

/// A piece of a rule's state, saved under the name of its field.
pub trait Piece {
    /// Shows it to the visitor.
    ///
    /// # Errors
    /// The visitor's.
    fn show(&mut self, name: &str, visitor: &mut dyn StateVisitor) -> Result<()>;
}

impl Piece for u64 {
    fn show(&mut self, name: &str, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.count(name, self)
    }
}

impl Piece for f64 {
    fn show(&mut self, name: &str, visitor: &mut dyn StateVisitor) -> Result<()> {
        visitor.number(name, self)
    }
}

/// A vector that [`crate::GradientRule::begin`] makes.
impl Piece for Option<ParamVec> {
    fn show(&mut self, name: &str, visitor: &mut dyn StateVisitor) -> Result<()> {
        self.as_mut().map_or(Ok(()), |vector| visitor.vector(name, vector))
    }
}

/// A vector that a rule writes before it knows that its step succeeds: no state.
#[derive(Debug, Default)]
pub struct Spare(pub Option<ParamVec>);

impl Piece for Spare {
    fn show(&mut self, _: &str, _: &mut dyn StateVisitor) -> Result<()> {
        Ok(())
    }
}

/// [`flat_core::settings!`] whose `state` is saved, with that of the parts of `with`.
macro_rules! stateful {
    (
        $(#[doc = $about:expr])* $(#[derive($($derive:ident),*)])? pub struct $name:ident { $($settings:tt)* }
        $(with { $($(#[doc = $part:literal])+ $shared:ident: $parts:ty;)* })?
        $(state { $($(#[doc = $what:literal])+ $state:ident: $held:ty = $start:expr;)* })?
    ) => {
        flat_core::settings! {
            $(#[doc = $about])* $(#[derive($($derive),*)])? pub struct $name { $($settings)* }
            $(with { $($(#[doc = $part])+ $shared: $parts;)* })?
            $(state { $($(#[doc = $what])+ $state: $held = $start;)* })?
        }

        impl $crate::Stateful for $name {
            fn visit(&mut self, _visitor: &mut dyn $crate::StateVisitor) -> $crate::Result<()> {
                $($($crate::Stateful::visit(&mut self.$shared, _visitor)?;)*)?
                $($($crate::rule::Piece::show(&mut self.$state, stringify!($state), _visitor)?;)*)?
                Ok(())
            }
        }
    };
}

/// A rule of the table: [`stateful!`], then `spec { name, the surrogate in one line, the paper }`, from which follow `SPEC` and
/// [`crate::Described`], `or ["another name"]`, and `over sgd { "option" = default; }` for a rule that works well with other defaults of the base.
macro_rules! rule {
    (
        $(#[doc = $about:expr])* $(#[derive($($derive:ident),*)])? pub struct $name:ident { $($settings:tt)* }
        $(with { $($with:tt)* })? $(state { $($state:tt)* })? spec { $($spec:expr),* $(,)? }
        $(or $others:expr;)?
        $(over sgd { $($option:literal = $default:expr;)* })?
    ) => {
        stateful! {
            $(#[doc = $about])* $(#[derive($($derive),*)])? pub struct $name { $($settings)* }
            $(with { $($with)* })? $(state { $($state)* })?
        }

        impl $name {
            /// The entry of the table of rules.
            pub const SPEC: $crate::RuleSpec = $crate::RuleSpec::of::<Self>($($spec),*)$(.over_sgd(&[$(($option, $default)),*]))?$(.or($others))?;
        }

        impl $crate::Described for $name {
            fn name(&self) -> &'static str {
                Self::SPEC.name
            }
            fn check(&self) -> $crate::Result<()> {
                Ok(flat_core::setting::Settings::check(self)?)
            }
        }
    };
}
