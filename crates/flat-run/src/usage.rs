//! Wrong usage: an error that names the setting and the remedy.

/// Wrong usage, found after the flags were parsed: a value out of range, flags that exclude each other. Status 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A usage error as an `anyhow::Error`.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// A measure's complaint about a setting as a usage error that names the flag, which is called as the setting is; other
/// errors as they are.
pub fn flag_of(error: flat_metrics::Error) -> anyhow::Error {
    match error {
        flat_metrics::Error::BadConfig { field, value, remedy } => {
            usage(format!("--{} {value}: {remedy}", field.replace('_', "-")))
        }
        other => other.into(),
    }
}
