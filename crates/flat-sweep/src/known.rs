//! The settings that a sweep may vary, by name.

use anyhow::Result;
use flat_core::name::near;
use flat_core::setting::{Setting, Value};
use flat_run::settings::flags;
use flat_run::usage;

/// The setting of `train` that `--flag name=...` names.
///
/// # Errors
/// A usage error with the names that are nearest.
pub(crate) fn setting(flag: &str, name: &str) -> Result<Setting> {
    if name == "seed" {
        return Err(usage(format!("--{flag} seed: the seeds of every cell are --seeds, as in 0..5")));
    }
    let all = flags();
    if let Some(found) = all.iter().find(|f| f.setting.name == name || f.setting.aliases.contains(&name)) {
        return Ok(found.setting.clone());
    }
    let near = near(name, all.iter().map(|f| f.setting.name));
    let near = if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(", ")) };
    Err(usage(format!("--{flag} {name}: `train` has no such setting{near}; see flat-train train --help")))
}

/// The value of a setting as its kind has it.
///
/// # Errors
/// A usage error that names flag, setting and value.
pub(crate) fn read(flag: &str, setting: &Setting, value: &Value) -> Result<Value> {
    let name = setting.name;
    if name == "optimizer" {
        // a base's name stands for the plain rule over it
        let text = value.to_string();
        return match flat_optim::parse_optimizer(&text) {
            Ok((_, Some(base))) => Ok(base.name.into()),
            Ok((rule, None)) => Ok(rule.name.into()),
            Err(e) => Err(usage(format!("--{flag} {e}"))),
        };
    }
    setting.read(value).map_err(|e| usage(format!("--{flag} {name}={}: {}", e.value, e.expected)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_told_with_those_near_it() {
        let told = |name: &str| setting("grid", name).expect_err(name).to_string();
        assert!(told("bach-size").contains("batch-size") && told("rohs").contains("rho"), "{}", told("rohs"));
        assert!(!told("completely-different").contains("near it"), "{}", told("completely-different"));
        assert!(told("seed").contains("--seeds"));
    }
}
