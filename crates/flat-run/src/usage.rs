//! Usage errors: each names the flag and the remedy.

use flat_core::setting::BadSetting;

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

/// Refuses what is no name of an SVG file, before any work is spent.
///
/// # Errors
/// A usage error that names the flag.
pub fn check_svg(flag: &str, file: &std::path::Path) -> anyhow::Result<()> {
    match file.extension() {
        Some(e) if e.eq_ignore_ascii_case("svg") => Ok(()),
        _ => Err(usage(format!("{flag} {}: plots are SVG, name a file that ends in .svg", file.display()))),
    }
}

/// A flag whose value makes no sense. Status 2.
#[derive(Debug)]
pub struct BadFlag {
    /// Its name without dashes.
    pub flag: String,
    /// Its value.
    pub value: String,
    /// What to give instead.
    pub remedy: String,
}

impl std::fmt::Display for BadFlag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--{} {}: {}", self.flag, self.value, self.remedy)
    }
}

impl std::error::Error for BadFlag {}

impl From<BadSetting> for BadFlag {
    fn from(e: BadSetting) -> Self {
        Self { flag: e.name, value: e.value, remedy: e.expected }
    }
}

/// A flag that the others leave without an effect, and what it needs.
pub fn no_effect(flag: &str, needs: &str) -> anyhow::Error {
    usage(format!("--{flag} has no effect here: it needs {needs}"))
}

/// A measure's complaint about a setting as a usage error that names the flag; other errors as they are. The flag is
/// that of `names`, or called as the setting is (the number of probes is `--probes` everywhere).
pub fn flags_of(error: flat_metrics::Error, names: &[(&str, &str)]) -> anyhow::Error {
    use flat_metrics::Error;
    let flag = |field: &str| match names.iter().find(|(name, _)| *name == field) {
        Some((_, flag)) => flag.to_string(),
        None if field == "max_probes" => "probes".into(),
        None => field.replace('_', "-"),
    };
    match error {
        Error::BadConfig { field, value, remedy } => BadFlag { flag: flag(field), value, remedy: remedy.into() }.into(),
        Error::TooManyVectors { .. } => usage(format!("--{}: {error}", flag("max_probes"))),
        other => other.into(),
    }
}
