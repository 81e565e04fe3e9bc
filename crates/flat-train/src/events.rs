//! Events of the libraries, told on standard error: `-v` and the variable `FLAT_LOG` choose them. Without either none is made.

use crate::news;
use anyhow::Result;
use flat_run::usage;
use std::io::Write;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::uptime;
use tracing_subscriber::layer::SubscriberExt;

/// The variable that chooses events part by part, as in `flat_run=debug,flat_data=trace`.
pub(crate) const VARIABLE: &str = "FLAT_LOG";

/// The parts of the program that have events, as the variable names them.
const PARTS: [&str; 5] = ["flat_data", "flat_nn", "flat_run", "flat_sweep", "flat_train"];

/// Has events told from here on. `verbose` counts `-v`; the variable goes before it for the parts that it names.
///
/// # Errors
/// A variable that says nothing sensible.
pub(crate) fn tell(verbose: u8) -> Result<()> {
    let variable = std::env::var_os(VARIABLE).unwrap_or_default();
    let chosen = chosen(&variable.to_string_lossy(), verbose)?;
    if chosen.iter().next().is_none() && chosen.default_level().is_none_or(|level| level == LevelFilter::OFF) {
        return Ok(());
    }
    let lines = tracing_subscriber::fmt::layer().with_timer(uptime()).with_ansi(false).with_writer(|| Door);
    let told = tracing_subscriber::registry().with(lines).with(chosen);
    // the program sets it here alone
    tracing::subscriber::set_global_default(told).map_err(Into::into)
}

/// The events of the variable's text, and of `-v` for the parts that the text leaves open.
fn chosen(text: &str, verbose: u8) -> Result<Targets> {
    let refused = |why: String| {
        let parts = PARTS.join(", ");
        usage(format!(
            "{VARIABLE}={text}: {why}; write parts with levels, as in {VARIABLE}=flat_run=debug,flat_data=trace, or a level: \
             the parts are {parts}, the levels error, warn, info, debug, trace and off"
        ))
    };
    let chosen: Targets = match text.trim() {
        "" => Targets::new(),
        text if text.split(',').any(|part| part.trim().is_empty()) => {
            return Err(refused("nothing stands beside a comma".into()));
        }
        text => text.parse().map_err(|e| refused(format!("{e}")))?,
    };
    let known = |name: &str| PARTS.iter().any(|part| name == *part || name.starts_with(&format!("{part}::")));
    if let Some((name, _)) = chosen.iter().find(|(name, _)| !known(name)) {
        return Err(refused(format!("`{name}` is neither a part nor a level")));
    }
    Ok(match (chosen.default_level(), verbose) {
        (Some(_), _) | (None, 0) => chosen,
        (None, 1) => chosen.with_default(LevelFilter::INFO),
        (None, 2) => chosen.with_default(LevelFilter::DEBUG),
        (None, _) => chosen.with_default(LevelFilter::TRACE),
    })
}

/// Lines go where news go, so that bars and the live view stay whole.
struct Door;

impl Write for Door {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        news::tell(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn v_chooses_for_the_parts_that_the_variable_leaves_open() -> Result<()> {
        let (run, data) = ("flat_run::run::trainer", "flat_data::locate");
        for (text, verbose, told, untold) in [
            ("", 1, (run, Level::INFO), (run, Level::DEBUG)),
            ("", 2, (data, Level::DEBUG), (data, Level::TRACE)),
            ("flat_run=debug", 0, (run, Level::DEBUG), (data, Level::ERROR)),
            ("flat_run=debug", 1, (data, Level::INFO), (run, Level::TRACE)),
            ("info,flat_run=off", 3, (data, Level::INFO), (run, Level::ERROR)),
            (" warn ", 0, (run, Level::WARN), (run, Level::INFO)),
        ] {
            let chosen = chosen(text, verbose)?;
            assert!(chosen.would_enable(told.0, &told.1), "{text} -v{verbose}: {told:?}");
            assert!(!chosen.would_enable(untold.0, &untold.1), "{text} -v{verbose}: {untold:?}");
        }
        Ok(())
    }

    #[test]
    fn a_variable_that_names_no_part_or_no_level_is_refused_with_both_lists() {
        for text in ["loud", "flat_run=loud", "flat_runs=debug", "flat_run=debug,", "serde=debug", "flat_run:debug"] {
            let Err(told) = chosen(text, 0).map_err(|e| e.to_string()) else { panic!("{text} is taken") };
            assert!(told.contains(&format!("FLAT_LOG={text}")) && told.contains("flat_data, flat_nn"), "{told}");
        }
    }

    #[test]
    fn the_parts_are_the_crates_that_have_events() {
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let manifest = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("Cargo.toml")).ok();
        let mut with_events: Vec<String> = std::fs::read_dir(crates)
            .expect("crates")
            .filter_map(|entry| manifest(entry.ok()?)?.parse::<toml::Table>().ok())
            .filter(|package| package["dependencies"].get("tracing").is_some())
            .map(|package| package["package"]["name"].as_str().unwrap_or_default().replace('-', "_"))
            .collect();
        with_events.sort();
        assert_eq!(with_events, PARTS);
    }
}
