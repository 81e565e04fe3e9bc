//! Values of settings as a user writes them, and the types that they stand for.

use super::BadSetting;
use crate::name::Family;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::ops::Deref;
use std::path::PathBuf;
use std::str::FromStr;

/// A value before it is given to its setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A whole number, not below 0.
    Count(u64),
    /// Yes or no.
    Switch(bool),
    /// A name or a path.
    Text(String),
    /// Several values.
    List(Vec<Value>),
}

impl Value {
    /// Whether it is, as text, `wanted`, or a list with such a member.
    pub(super) fn has(&self, wanted: &str) -> bool {
        match self {
            Self::List(all) => all.iter().any(|one| one.has(wanted)),
            one => one.to_string() == wanted,
        }
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Self::Number(x)
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Self::Count(n as u64)
    }
}

impl From<bool> for Value {
    fn from(on: bool) -> Self {
        Self::Switch(on)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // the shorter way to write it: 0.05, but 1e-8
            Self::Number(x) if *x != 0.0 && x.is_finite() && x.abs() < 1e-4 => write!(f, "{x:e}"),
            Self::Number(x) => x.fmt(f),
            Self::Count(n) => n.fmt(f),
            Self::Switch(on) => on.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::List(all) => f.write_str(&all.iter().map(Self::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

/// What a user writes for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number,
    /// A whole number, not below 0.
    Count,
    /// Nothing, or true or false.
    Switch,
    /// A name or a path.
    Text,
    /// Values with commas between them.
    List,
}

impl Kind {
    /// Stands for the value in help, where nothing better is known.
    pub fn metavar(self) -> &'static str {
        match self {
            Self::Number => "X",
            Self::Count => "N",
            Self::Switch => "BOOL",
            Self::Text => "NAME",
            Self::List => "LIST",
        }
    }
}

/// A type of setting.
pub trait SettingType: Sized {
    /// What a user writes for it.
    const KIND: Kind;

    /// The names to choose from; none where anything goes.
    fn names() -> Vec<&'static str> {
        Vec::new()
    }

    /// Other names, each with the one that it stands for.
    fn others() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Reads a value.
    ///
    /// # Errors
    /// A value of another kind.
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting>;

    /// The names beyond [`Self::names`].
    fn family() -> Family {
        Family::NONE
    }

    /// The value, where it has one.
    fn value(&self) -> Option<Value>;
}

macro_rules! counts {
    ($($ty:ty),*) => {$(
        impl SettingType for $ty {
            const KIND: Kind = Kind::Count;
            fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
                let read = match value {
                    Value::Count(n) => Self::try_from(*n).ok(),
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                };
                read.ok_or_else(|| BadSetting::new(name, value, "give a whole number, 0 or above"))
            }
            fn value(&self) -> Option<Value> {
                Some(Value::Count(*self as u64))
            }
        }
    )*};
}
counts!(u32, u64, usize);

impl SettingType for f64 {
    const KIND: Kind = Kind::Number;
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        let read = match value {
            Value::Number(x) => Some(*x),
            Value::Count(n) => Some(*n as Self),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        read.ok_or_else(|| BadSetting::new(name, value, "give a number"))
    }
    fn value(&self) -> Option<Value> {
        Some(Value::Number(*self))
    }
}

impl SettingType for bool {
    const KIND: Kind = Kind::Switch;
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        let read = match value {
            Value::Switch(on) => Some(*on),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        read.ok_or_else(|| BadSetting::new(name, value, "give true or false"))
    }
    fn value(&self) -> Option<Value> {
        Some(Value::Switch(*self))
    }
}

impl SettingType for PathBuf {
    const KIND: Kind = Kind::Text;
    fn read(_: &str, value: &Value) -> Result<Self, BadSetting> {
        Ok(value.to_string().into())
    }
    fn value(&self) -> Option<Value> {
        Some(Value::Text(self.display().to_string()))
    }
}

impl<T: SettingType> SettingType for Option<T> {
    const KIND: Kind = T::KIND;
    fn names() -> Vec<&'static str> {
        T::names()
    }
    fn others() -> Vec<(&'static str, &'static str)> {
        T::others()
    }
    fn family() -> Family {
        T::family()
    }
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        T::read(name, value).map(Some)
    }
    fn value(&self) -> Option<Value> {
        self.as_ref().and_then(T::value)
    }
}

impl<T: SettingType> SettingType for Vec<T> {
    const KIND: Kind = Kind::List;
    fn names() -> Vec<&'static str> {
        T::names()
    }
    fn others() -> Vec<(&'static str, &'static str)> {
        T::others()
    }
    fn family() -> Family {
        T::family()
    }
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        let all: Vec<Value> = match value {
            Value::List(all) => all.clone(),
            Value::Text(text) if text.is_empty() => Vec::new(),
            Value::Text(text) => text.split(',').map(|part| Value::Text(part.trim().into())).collect(),
            one => vec![one.clone()],
        };
        all.iter().map(|one| T::read(name, one)).collect::<Result<_, _>>().map_err(|e| {
            let expected = match T::KIND {
                Kind::Count => "give whole numbers, as in 256,128".into(),
                Kind::Number => "give numbers, as in 0.49,0.48,0.45".into(),
                _ => e.expected,
            };
            BadSetting::new(name, value, expected)
        })
    }
    fn value(&self) -> Option<Value> {
        Some(Value::List(self.iter().filter_map(T::value).collect()))
    }
}

/// A value that is written by a name: through its `FromStr` and `Display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<T>(pub T);

impl<T> Deref for Text<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: FromStr> FromStr for Text<T> {
    type Err = T::Err;
    fn from_str(s: &str) -> Result<Self, T::Err> {
        s.parse().map(Text)
    }
}

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: FromStr<Err: Display> + Display> SettingType for Text<T> {
    const KIND: Kind = Kind::Text;
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        let text = value.to_string();
        text.parse().map(Self).map_err(|e: T::Err| BadSetting::new(name, text, e.to_string()))
    }
    fn value(&self) -> Option<Value> {
        Some(Value::Text(self.0.to_string()))
    }
}

/// Values by the names of their settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values(BTreeMap<String, Value>);

impl Values {
    /// Of pairs of name and value.
    pub fn of<'a, V: Into<Value>>(pairs: impl IntoIterator<Item = (&'a str, V)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_string(), value.into())).collect())
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Gives a name a value, in place of the one that it had.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }

    /// Takes a name's value away.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Keeps the names for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// These values, and those of `over` in place of them where they have the same name.
    #[must_use]
    pub fn under(mut self, over: &Self) -> Self {
        self.0.extend(over.0.clone());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_back_as_it_was_written() {
        for x in [0.05, 1e-8, 0.0, 3.5, 1e300, f64::INFINITY, 1.0 / 3.0] {
            let text = Value::Text(Value::Number(x).to_string());
            assert_eq!(f64::read("x", &text), Ok(x));
        }
        let text = |x: f64| Value::Number(x).to_string();
        assert_eq!((text(1e-8), text(0.05), text(f64::INFINITY)), ("1e-8".into(), "0.05".into(), "inf".into()));
    }

    #[test]
    fn counts_take_no_negative_and_no_broken_number() {
        for text in ["-1", "1.5", "many", "18446744073709551616"] {
            assert!(u64::read("n", &Value::Text(text.into())).is_err(), "{text}");
        }
        assert!(u32::read("n", &Value::Count(1 << 40)).is_err());
        assert_eq!(Vec::<usize>::read("n", &Value::Text("16, 8".into())), Ok(vec![16, 8]));
    }
}
