//! A value that a setting does not take, and what it takes instead.

use std::fmt;

/// A setting has a value that makes no sense, or a name that nobody knows.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} = {value}: {expected}")]
pub struct BadSetting {
    /// Name of the setting.
    pub name: String,
    /// The value given.
    pub value: String,
    /// What is accepted instead.
    pub expected: String,
}

impl BadSetting {
    /// `name = value`, where `expected` is accepted.
    pub fn new(name: impl Into<String>, value: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.to_string(), expected: expected.into() }
    }
}
