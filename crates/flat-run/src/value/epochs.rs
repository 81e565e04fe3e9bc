//! Passes over the training set, of which the last may be a part of one.

use flat_core::setting::{BadSetting, Kind, SettingType, Value};
use std::fmt;

/// A number of epochs. A whole one is written as a whole number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epochs(f64);

/// The most epochs of a run: with steps an epoch they count no more steps than an f64 tells apart.
pub(crate) const MOST: f64 = 1e9;

impl Epochs {
    /// The steps nearest to it, halves away from 0.
    pub fn in_steps(self, steps_per_epoch: u64) -> u64 {
        match self.whole() {
            Some(whole) => whole.saturating_mul(steps_per_epoch),
            None => (self.0 * steps_per_epoch as f64).round() as u64,
        }
    }

    fn whole(self) -> Option<u64> {
        (self.0.fract() == 0.0 && self.0 >= 0.0 && self.0 < 2f64.powi(53)).then_some(self.0 as u64)
    }
}

impl From<u64> for Epochs {
    fn from(epochs: u64) -> Self {
        Self(epochs as f64)
    }
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl SettingType for Epochs {
    const KIND: Kind = Kind::Number;

    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        f64::read(name, value).map(Self)
    }

    fn value(&self) -> Option<Value> {
        // what the range refuses is a number, whose range says why
        Some(self.whole().filter(|whole| (1..=MOST as u64).contains(whole)).map_or(Value::Number(self.0), Value::Count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_the_nearest_steps_and_whole_ones_are_exact() {
        for (epochs, per_epoch, steps) in [
            (1.5, 10, 15),
            (1.5, 469, 704), // 703.5
            (0.5, 1, 1),
            (0.04, 10, 0),
            (2.999, 100, 300),
            (3.0, 469, 1407),
            (1e9, u64::MAX, u64::MAX),
        ] {
            assert_eq!(Epochs(epochs).in_steps(per_epoch), steps, "{epochs} epochs of {per_epoch} steps");
        }
    }

    #[test]
    fn a_whole_number_of_epochs_is_written_as_one() -> Result<(), BadSetting> {
        for (text, value) in [("3", Value::Count(3)), ("3.0", Value::Count(3)), ("1.5", Value::Number(1.5))] {
            let read = Epochs::read("epochs", &Value::Text(text.into()))?;
            assert_eq!(read.value(), Some(value));
        }
        assert_eq!(Epochs::read("epochs", &Value::Count(7))?.to_string(), "7");
        Ok(())
    }
}
