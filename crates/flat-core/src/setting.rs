//! Settings as data: name, help, default and range of an option, said once.
//!
//! [`settings!`](crate::settings) writes a struct and the list of its [`Setting`]s from the same text. Flags, keys of a
//! configuration file, help, range errors and lists for readers all follow from that list.

mod bad_setting;
mod needs;
mod range;
mod value;

pub use bad_setting::BadSetting;
pub use needs::{Needs, in_words};
pub use range::Range;
pub use value::{Kind, SettingType, Text, Value, Values};

use crate::name::{Family, instead, meant};

/// One option of a rule, a base optimizer, a measure or a run.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Name of the flag, without dashes in front, and of the key in a configuration file.
    pub name: &'static str,
    /// What the option means, without its default.
    pub help: &'static str,
    /// What a user writes for it.
    pub kind: Kind,
    /// The names to choose from; none where anything goes.
    pub names: Vec<&'static str>,
    /// Other names to choose by, each with the one that it stands for.
    pub others: Vec<(&'static str, &'static str)>,
    /// The names beyond the listed ones.
    pub family: Family,
    /// The value where the user gives none; `None` where there is none, or where it depends on other settings.
    pub default: Option<Value>,
    /// In words, where the default depends on other settings.
    pub default_in_words: &'static str,
    /// Which values make sense.
    pub range: Range,
    /// When the option has an effect.
    pub needs: Needs,
    /// Group of flags that it is listed with.
    pub heading: &'static str,
    /// Stands for the value in help.
    pub metavar: &'static str,
    /// The user has to give it.
    pub required: bool,
    /// Other names of the flag.
    pub aliases: &'static [&'static str],
    /// The flag in one letter.
    pub short: Option<char>,
}

impl Setting {
    /// A setting of type `T` that may have any value and always has an effect.
    pub fn new<T: SettingType>(name: &'static str, help: &'static str, default: &T) -> Self {
        Self {
            name,
            help: help.trim(),
            kind: T::KIND,
            names: T::names(),
            others: T::others(),
            family: T::family(),
            default: default.value(),
            default_in_words: "",
            range: Range::Any,
            needs: Needs::Nothing,
            heading: "",
            metavar: T::KIND.metavar(),
            required: false,
            aliases: &[],
            short: None,
        }
    }

    /// With help, range and metavar of the setting of `S` that has its name and its meaning.
    #[must_use]
    pub fn like<S: Settings>(self) -> Self {
        match S::settings().into_iter().find(|other| other.name == self.name) {
            Some(Self { help, range, metavar, .. }) => Self { help, range, metavar, ..self },
            None => self,
        }
    }

    /// The value as its kind has it: a number that was written as text becomes one. Lists stay as they are.
    ///
    /// # Errors
    /// A value of another kind, a name that is not to choose from.
    pub fn read(&self, value: &Value) -> Result<Value, BadSetting> {
        let read = match self.kind {
            Kind::Number => f64::read(self.name, value)?.value(),
            Kind::Count => u64::read(self.name, value)?.value(),
            Kind::Switch => bool::read(self.name, value)?.value(),
            Kind::Text => Some(Value::Text(value.to_string())),
            Kind::List => None,
        };
        let read = read.unwrap_or_else(|| value.clone());
        if self.kind == Kind::Text && !self.names.is_empty() {
            return Ok(chosen(self.name, &read.to_string(), &self.names, &self.others, self.family)?.into());
        }
        Ok(read)
    }

    /// Refuses a value out of range.
    ///
    /// # Errors
    /// [`BadSetting`], which says what is accepted.
    pub fn check(&self, value: &Value) -> Result<(), BadSetting> {
        match self.range.expected(value) {
            None => Ok(()),
            Some(expected) => Err(BadSetting::new(self.name, value, expected)),
        }
    }

    /// The default in words; `None` where the option is off without a value, or must have one.
    pub fn default_text(&self) -> Option<String> {
        match (&self.default, self.default_in_words) {
            _ if self.required => None,
            (Some(Value::Switch(_)), "") => None,
            (Some(value), "") => Some(value.to_string()),
            (None, "") => None,
            (_, words) => Some(words.to_string()),
        }
    }
}

/// The name of a choice that is meant by `typed`.
///
/// # Errors
/// None is; `what` is chosen.
pub fn choose<T: SettingType>(what: &str, typed: &str) -> Result<&'static str, BadSetting> {
    chosen(what, typed, &T::names(), &T::others(), T::family())
}

fn chosen(
    what: &str,
    typed: &str,
    names: &[&'static str],
    others: &[(&'static str, &'static str)],
    family: Family,
) -> Result<&'static str, BadSetting> {
    meant(typed, names, others)
        .or_else(|| (family.meant)(typed))
        .ok_or_else(|| BadSetting::new(what, typed, instead(typed, &family.beside(names))))
}

/// A struct whose fields are [`Setting`]s.
pub trait Settings: Default {
    /// The settings, in the order of the fields.
    fn settings() -> Vec<Setting>;

    /// The values of all fields that have one, by the settings' names.
    fn values(&self) -> Values;

    /// Sets the field of a setting's name.
    ///
    /// # Errors
    /// A value of another kind, a name that is not among the settings.
    fn set(&mut self, name: &str, value: &Value) -> Result<(), BadSetting>;

    /// The struct with these values, and defaults for the others. Names that are not among its settings are left alone.
    ///
    /// # Errors
    /// A value of another kind or out of range.
    fn of(values: &Values) -> Result<Self, BadSetting> {
        let mut made = Self::default();
        for setting in Self::settings() {
            if let Some(value) = values.get(setting.name) {
                made.set(setting.name, value)?;
            }
        }
        made.check()?;
        Ok(made)
    }

    /// Refuses a field out of its range.
    ///
    /// # Errors
    /// [`BadSetting`] of the first such field.
    fn check(&self) -> Result<(), BadSetting> {
        let values = self.values();
        Self::settings().iter().try_for_each(|s| values.get(s.name).map_or(Ok(()), |v| s.check(v)))
    }

    /// The first of the given settings that has no effect beside the others, and what it needs.
    fn without_effect(&self, given: &Values) -> Option<(&'static str, String)> {
        let values = self.values();
        let given = Self::settings().into_iter().filter(|s| given.get(s.name).is_some());
        given.into_iter().find_map(|s| Some((s.name, s.needs.unmet(&values)?)))
    }
}

/// Writes a struct with public fields, its defaults, a method a field that replaces the field, and the [`Settings`].
///
/// A field is `name as "flag-name": Type = default`, then any other fields of [`Setting`]. Its documentation is its help;
/// `name as "flag-name" of Other: Type = default` without any has that of `Other`'s setting of this name ([`Setting::like`]).
/// `with { shared: Part; }` adds the settings of another such struct, `state { seen: u64 = 0; }` a field that is no setting.
///
/// ```
/// use flat_core::setting::{Range, Settings, Values};
/// flat_core::settings! {
///     /// A ball.
///     #[derive(Debug, Clone, PartialEq)]
///     pub struct Ball {
///         /// Radius of the ball, a length over all weights.
///         rho as "rho": f64 = 0.05, range: Range::Positive;
///     }
/// }
/// assert_eq!(Ball::default().rho(0.1).rho, 0.1);
/// assert_eq!(Ball::settings()[0].help, "Radius of the ball, a length over all weights.");
/// let text = Ball::of(&Values::of([("rho", -1.0)])).unwrap_err().to_string();
/// assert_eq!(text, "rho = -1: give a number above 0");
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:expr])* $(#[derive($($derive:ident),*)])?
        $vis:vis struct $name:ident {
            $($(#[doc = $help:literal])* $field:ident as $flag:literal $(of $like:ty)?: $ty:ty = $default:expr
                $(, $key:ident: $of:expr)*;)*
        }
        $(with { $($(#[doc = $part:literal])+ $shared:ident: $parts:ty;)* })?
        $(state { $($(#[doc = $what:literal])+ $seen:vis $state:ident: $held:ty = $start:expr;)* })?
    ) => {
        $(#[doc = $about])* $(#[derive($($derive),*)])?
        $vis struct $name {
            $($(#[doc = $help])* $(#[doc = concat!("`", $flag, "` as [`", stringify!($like), "`] has it.")])? pub $field: $ty,)*
            $($($(#[doc = $part])+ pub $shared: $parts,)*)?
            $($($(#[doc = $what])+ $seen $state: $held,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* $($($shared: Default::default(),)*)? $($($state: $start,)*)? }
            }
        }

        impl $name {
            $($(#[doc = $help])* $(#[doc = concat!("`", $flag, "` as [`", stringify!($like), "`] has it.")])?
            #[must_use] #[allow(clippy::needless_update)]
            $vis fn $field(self, $field: $ty) -> Self {
                Self { $field, ..self }
            })*

            $($($(#[doc = $part])+ #[must_use] #[allow(clippy::needless_update)]
            $vis fn $shared(self, $shared: $parts) -> Self {
                Self { $shared, ..self }
            })*)?
        }

        impl $crate::setting::Settings for $name {
            fn settings() -> Vec<$crate::setting::Setting> {
                static ALL: ::std::sync::LazyLock<Vec<$crate::setting::Setting>> = ::std::sync::LazyLock::new(|| {
                    #[allow(unused_mut)]
                    let mut all = vec![$($crate::setting::Setting {
                        $($key: $of,)*
                        ..$crate::setting::Setting::new::<$ty>($flag, concat!($($help),*), &$default)$(.like::<$like>())?
                    }),*];
                    $($(all.extend(<$parts as $crate::setting::Settings>::settings());)*)?
                    all
                });
                ALL.clone()
            }

            fn values(&self) -> $crate::setting::Values {
                #[allow(unused_mut)]
                let mut values = $crate::setting::Values::default();
                $($(values = values.under(&self.$shared.values());)*)?
                $(if let Some(value) = $crate::setting::SettingType::value(&self.$field) {
                    values.insert($flag, value);
                })*
                values
            }

            fn set(
                &mut self,
                name: &str,
                value: &$crate::setting::Value,
            ) -> ::std::result::Result<(), $crate::setting::BadSetting> {
                match name {
                    $($flag => self.$field = <$ty as $crate::setting::SettingType>::read($flag, value)?,)*
                    _ => {
                        $($(if <$parts as $crate::setting::Settings>::settings().iter().any(|s| s.name == name) {
                            return self.$shared.set(name, value);
                        })*)?
                        return Err($crate::setting::BadSetting::new(name, value, "no such setting"));
                    }
                }
                #[allow(unreachable_code)]
                Ok(())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    crate::settings! {
        /// Settings that several structs share.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Part {
            /// A gate.
            gate as "gate": f64 = f64::INFINITY, range: Range::PositiveOrInfinite;
        }
    }

    crate::settings! {
        /// Settings of every kind.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Every {
            /// A
            /// length.
            size as "size": f64 = 1e-8, range: Range::Positive, metavar: "R";
            /// A limit.
            limit as "limit": Option<usize> = None, range: Range::AtLeast(1), default_in_words: "no limit";
            /// Off.
            off as "no-it": bool = false;
            /// Widths.
            widths as "widths": Vec<usize> = vec![256, 8], needs: Needs::Set("limit");
        }
        with {
            /// What others have too.
            part: Part;
        }
        state {
            /// Steps so far.
            steps: u64 = 7;
        }
    }

    #[test]
    fn a_struct_is_what_its_values_make_of_it() -> Result<(), BadSetting> {
        let changed =
            Every::default().size(2.0).limit(Some(3)).off(true).widths(vec![1]).part(Part::default().gate(2.0));
        assert_eq!(Every::of(&changed.values())?, changed);
        assert_eq!(Every::of(&Values::default())?, Every::default());
        assert_eq!(changed.steps, 7);
        Ok(())
    }

    crate::settings! {
        /// Settings that others have too.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Fewer {
            size as "size" of Every: Option<f64> = None, default_in_words: "that of the file";
            /// A file.
            file as "file": PathBuf = PathBuf::new(), required: true;
        }
    }

    #[test]
    fn a_setting_of_another_struct_has_its_help_and_range_and_a_default_of_its_own() {
        let [size, file] = &Fewer::settings()[..] else { panic!("two settings") };
        assert_eq!((size.help, size.metavar, size.range), ("A length.", "R", Range::Positive));
        assert_eq!((size.default_text(), file.default_text()), (Some("that of the file".into()), None));
        assert!(Fewer::default().size(Some(-1.0)).file("a".into()).check().is_err());
    }

    #[test]
    fn a_setting_that_has_no_effect_is_found_with_what_it_needs() -> Result<(), BadSetting> {
        let given = Values::of([("widths", Value::Text("3,4".into()))]);
        assert_eq!(Every::of(&given)?.without_effect(&given), Some(("widths", "--limit".into())));
        let given = given.under(&Values::of([("limit", Value::Count(2))]));
        assert_eq!(Every::of(&given)?.without_effect(&given), None);
        Ok(())
    }

    #[test]
    fn defaults_and_help_are_those_of_the_fields() {
        let [size, limit, off, widths, gate] = &Every::settings()[..] else { panic!("five settings") };
        assert_eq!((size.help, size.metavar, size.default_text()), ("A length.", "R", Some("1e-8".into())));
        assert_eq!((limit.default_text(), &limit.default), (Some("no limit".into()), &None));
        assert_eq!((off.default_text(), off.kind), (None, Kind::Switch));
        assert_eq!(widths.default_text(), Some("256,8".into()));
        assert_eq!(gate.default_text(), Some("inf".into()));
    }

    #[test]
    fn values_out_of_range_or_of_another_kind_are_refused_by_name() {
        for (name, value, text) in [
            ("size", Value::Number(0.0), "size = 0: give a number above 0"),
            ("limit", Value::Count(0), "limit = 0: give at least 1"),
            ("widths", Value::Text("wide".into()), "widths = wide: give whole numbers, as in 256,128"),
            ("no-it", Value::Number(1.0), "no-it = 1: give true or false"),
            ("gate", Value::Number(f64::NAN), "gate = NaN: give a number above 0; inf for no limit"),
        ] {
            let error = Every::of(&Values::of([(name, value)])).expect_err(text);
            assert_eq!(error.to_string(), text);
        }
    }
}
