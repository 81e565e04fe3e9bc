//! Choices by name from a table: rules, bases and whatever else a user picks.

use crate::name::Family;
use crate::setting::{BadSetting, Kind, SettingType, Value, choose};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// An entry of a table of choices.
pub trait Item: 'static + Sized {
    /// What the table is of, as in `optimizer`.
    const WHAT: &'static str;

    /// The table, which is not empty.
    fn table() -> &'static [Self];

    /// The entry's name.
    fn name(&self) -> &'static str;

    /// Other names that find it.
    fn others(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the names of entries beyond the table are like, in words; empty where there are none.
    const FAMILY: &'static str = "";

    /// The entry beyond the table that somebody means by what was typed, the same one each time.
    fn of_family(_typed: &str) -> Option<&'static Self> {
        None
    }
}

/// One entry of a table, which its name finds.
pub struct Choice<T: Item>(&'static T);

impl<T: Item> Choice<T> {
    /// The entry itself, for a constant.
    pub const fn of(entry: &'static T) -> Self {
        Self(entry)
    }

    /// Every entry of the table, in its order.
    pub fn all() -> impl Iterator<Item = Self> {
        T::table().iter().map(Self)
    }

    /// The names of all entries, with commas between them.
    pub fn names() -> String {
        T::table().iter().map(T::name).collect::<Vec<_>>().join(", ")
    }

    /// The name that [`FromStr`] accepts.
    pub fn name(self) -> &'static str {
        self.0.name()
    }
}

/// The first entry of the table.
impl<T: Item> Default for Choice<T> {
    fn default() -> Self {
        Self(&T::table()[0])
    }
}

impl<T: Item> Clone for Choice<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Item> Copy for Choice<T> {}

impl<T: Item> PartialEq for Choice<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl<T: Item> Eq for Choice<T> {}

impl<T: Item> PartialEq<str> for Choice<T> {
    fn eq(&self, name: &str) -> bool {
        self.0.name() == name
    }
}

impl<T: Item> PartialEq<&str> for Choice<T> {
    fn eq(&self, name: &&str) -> bool {
        self.0.name() == *name
    }
}

impl<T: Item> Deref for Choice<T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0
    }
}

impl<T: Item> fmt::Debug for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl<T: Item> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.name())
    }
}

impl<T: Item> FromStr for Choice<T> {
    type Err = BadSetting;
    fn from_str(name: &str) -> Result<Self, BadSetting> {
        let name = choose::<Self>(T::WHAT, name)?;
        let entry = || T::of_family(name).map(Self);
        Ok(Self::all().find(|entry| *entry == name).or_else(entry).unwrap_or_default())
    }
}

impl<T: Item> SettingType for Choice<T> {
    const KIND: Kind = Kind::Text;
    fn names() -> Vec<&'static str> {
        T::table().iter().map(T::name).collect()
    }
    fn others() -> Vec<(&'static str, &'static str)> {
        T::table().iter().flat_map(|entry| entry.others().iter().map(|other| (*other, entry.name()))).collect()
    }
    fn family() -> Family {
        Family { like: T::FAMILY, meant: |typed| T::of_family(typed).map(T::name) }
    }
    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        let text = value.to_string();
        text.parse().map_err(|e: BadSetting| BadSetting::new(name, text, e.expected))
    }
    fn value(&self) -> Option<Value> {
        Some(Value::Text(self.0.name().into()))
    }
}

/// Writes an enum whose variants have names, with `ALL`, `name`, `Default` (the first), `Display`, `FromStr` and
/// [`SettingType`](crate::setting::SettingType). Other names that find a variant stand behind its name.
///
/// ```
/// flat_core::named! {
///     /// A sign.
///     pub enum Sign, "sign" {
///         /// Up.
///         Plus = "plus",
///         /// Down.
///         Minus = "minus" | "negative",
///     }
/// }
/// assert_eq!("minus".parse::<Sign>().unwrap(), Sign::Minus);
/// assert_eq!("Negative".parse::<Sign>().unwrap(), Sign::Minus);
/// assert_eq!("up".parse::<Sign>().unwrap_err().to_string(), "sign = up: give one of plus, minus");
/// ```
#[macro_export]
macro_rules! named {
    (
        $(#[$meta:meta])*
        $vis:vis enum $kind:ident, $what:literal { $($(#[$of:meta])+ $variant:ident = $name:literal $(| $other:literal)*),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $kind {
            $($(#[$of])+ $variant,)+
        }

        impl $kind {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name of the choice.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        /// The first choice.
        impl Default for $kind {
            fn default() -> Self {
                Self::ALL[0]
            }
        }

        impl ::std::fmt::Display for $kind {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl ::std::str::FromStr for $kind {
            type Err = $crate::setting::BadSetting;
            fn from_str(name: &str) -> ::std::result::Result<Self, Self::Err> {
                let name = $crate::setting::choose::<Self>($what, name)?;
                Ok(Self::ALL.iter().copied().find(|choice| choice.name() == name).unwrap_or_default())
            }
        }

        impl $crate::setting::SettingType for $kind {
            const KIND: $crate::setting::Kind = $crate::setting::Kind::Text;
            fn names() -> ::std::vec::Vec<&'static str> {
                vec![$($name),+]
            }
            fn others() -> ::std::vec::Vec<(&'static str, &'static str)> {
                vec![$($(($other, $name),)*)+]
            }
            fn read(
                name: &str,
                value: &$crate::setting::Value,
            ) -> ::std::result::Result<Self, $crate::setting::BadSetting> {
                let text = value.to_string();
                text.parse().map_err(|e: $crate::setting::BadSetting| {
                    $crate::setting::BadSetting::new(name, text, e.expected)
                })
            }
            fn value(&self) -> Option<$crate::setting::Value> {
                Some($crate::setting::Value::Text(self.name().into()))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fruit(&'static str);

    impl Item for Fruit {
        const WHAT: &'static str = "fruit";
        fn table() -> &'static [Self] {
            &[Fruit("fig"), Fruit("plum")]
        }
        fn name(&self) -> &'static str {
            self.0
        }
        const FAMILY: &'static str = "fig-N";
        fn of_family(typed: &str) -> Option<&'static Self> {
            typed.eq_ignore_ascii_case("fig-2").then_some(&Fruit("fig-2"))
        }
    }

    #[test]
    fn a_name_finds_its_entry_and_an_unknown_one_lists_them() -> Result<(), BadSetting> {
        for fruit in Choice::<Fruit>::all() {
            assert_eq!(fruit.to_string().parse::<Choice<Fruit>>()?, fruit);
        }
        assert_eq!("Fig-2".parse::<Choice<Fruit>>()?.name(), "fig-2", "an entry of the family");
        let text = "kiwi".parse::<Choice<Fruit>>().expect_err("unknown").to_string();
        assert_eq!(text, "fruit = kiwi: give one of fig, plum, fig-N");
        Ok(())
    }
}
