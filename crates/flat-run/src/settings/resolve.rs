//! Flags over a file over the defaults.

use crate::settings::args::TrainArgs;
use crate::settings::config::{TrainConfig, read_table, split_optimizer};
use crate::settings::relevance;
use crate::usage::usage;
use anyhow::Result;

impl TrainConfig {
    /// The configuration that the flags, over the file they name, over the defaults, come to.
    ///
    /// A flag that would have no effect is an error. Settings of the file that have none are dropped where flags
    /// changed what they belong to, and an error where the file alone is to blame.
    ///
    /// # Errors
    /// An unreadable file, an unknown name, a value out of range, flags that exclude each other.
    pub fn resolve(args: &TrainArgs) -> Result<Self> {
        let flags = toml::Table::try_from(args).map_err(|e| usage(format!("the flags cannot be read: {e}")))?;
        let flags = split_optimizer(flags, "--")?;
        let (mut file, name) = match &args.config {
            Some(path) => (split_optimizer(read_table(path)?, "")?, path.display().to_string()),
            None => (toml::Table::new(), String::new()),
        };
        let before = Self::of_table(file.clone(), &name)?;
        for key in flags.keys() {
            let changed = file.get(key).is_some_and(|old| Some(old) != flags.get(key));
            for stale in relevance::stale(key).iter().filter(|_| changed) {
                file.remove(*stale);
            }
        }
        if flags.contains_key("epochs") {
            file.remove("steps");
        }
        if flags.contains_key("steps") {
            file.remove("epochs");
        }
        if flags.contains_key("mean") || flags.contains_key("std") {
            file.remove("normalize");
        }
        if flags.contains_key("normalize") {
            file.remove("mean");
            file.remove("std");
        }
        let mut merged = file.clone();
        merged.extend(flags.clone());
        let config = Self::of_table(merged.clone(), "the flags")?;
        for key in file.keys().filter(|key| !flags.contains_key(*key)) {
            if let Some(needs) = config.needs(key) {
                if before.needs(key).is_some() {
                    return Err(usage(format!("{name}: {key} has no effect: it needs {needs}")));
                }
                merged.remove(key);
            }
        }
        if let Some((key, needs)) = flags.keys().find_map(|key| Some((key, config.needs(key)?))) {
            return Err(usage(format!("--{key} has no effect here: it needs {needs}")));
        }
        let mut config = Self::of_table(merged, "the flags")?;
        config.fill()?;
        config.check().map_err(|e| if name.is_empty() { e } else { usage(format!("{e} (with {name})")) })?;
        Ok(config)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::value::text::Text;
    use clap::Parser;
    use flat_optim::RuleKind;

    #[derive(Parser)]
    #[command(allow_negative_numbers = true)]
    struct Flags {
        #[command(flatten)]
        train: TrainArgs,
    }

    /// The configuration of flags as typed.
    pub(crate) fn parse(flags: &str) -> Result<TrainConfig> {
        let flags = Flags::try_parse_from(["train"].into_iter().chain(flags.split_whitespace()))?;
        TrainConfig::resolve(&flags.train)
    }

    #[test]
    fn a_resolved_config_reads_back_as_itself() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("config.toml");
        for flags in [
            "",
            "--optimizer sap --eps0 0.5 --plain-lr 0.1 --model mlp --hidden 16,8 --augment crop,flip --warmup 1ep --steps 7",
            "--optimizer adamw --weight-decay 0.1 --ema 0.99 --clip 1 --dtype f64",
            "--flatness trace,lambda_max --flatness-every 50 --flatness-examples 64 --flatness-probes 4",
        ] {
            let config = parse(flags)?;
            std::fs::write(&path, config.to_toml()?)?;
            assert_eq!(TrainConfig::read(&path)?, config);
        }
        Ok(())
    }

    #[test]
    fn flags_override_the_file() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "lr = 0.5\nseed = 4\noptimizer = \"sam\"\nnesterov = true\n")?;
        let config = parse(&format!("--config {} --seed 9 --nesterov=false", path.display()))?;
        assert_eq!(
            (config.lr, config.seed, config.optimizer, config.nesterov),
            (Some(0.5), 9, Text(RuleKind::Sam), false)
        );
        Ok(())
    }

    #[test]
    fn flags_that_change_the_optimizer_base_or_model_drop_what_belonged_to_the_old_one() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("c.toml");
        for (old, new, check) in [
            ("--optimizer rsp --rho 0.3", "--optimizer sgd", "optimizer = \"plain\""),
            ("--optimizer rsp --rho 0.3", "--optimizer sam", "rho = 0.05"),
            ("--optimizer sgd --lr 0.3", "--optimizer adamw", "lr = 0.001"),
            ("--optimizer adamw", "--optimizer plain --base sgd", "weight-decay = 0.0"),
            ("--model mlp --hidden 7 --activation tanh", "--model lenet", "activation = \"tanh\""),
            ("--model lenet --channels 8", "--model mlp", "model = \"mlp\""),
            ("--model lenet --channels 8", "--model resnet20", "channels = 8"),
            ("--steps 9", "--epochs 3", "epochs = 3"),
        ] {
            std::fs::write(&path, parse(old)?.to_toml()?)?;
            let text = parse(&format!("--config {} {new}", path.display()))?.to_toml()?;
            assert!(text.lines().any(|l| l == check), "{old}, then {new}: no {check} in\n{text}");
        }
        Ok(())
    }

    #[test]
    fn a_wrong_value_in_the_file_names_file_and_key() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("c.toml");
        for (text, part) in [
            ("lr = \"abc\"", "lr"),
            ("epochs = -1", "epochs"),
            ("epochs = 1\nsteps = 1", "--steps"),
            ("rho = 1", "rho"),
        ] {
            std::fs::write(&path, text)?;
            let e = parse(&format!("--config {}", path.display())).expect_err(text).to_string();
            assert!(e.contains(part) && e.contains("c.toml"), "{text}: {e}");
        }
        Ok(())
    }

    #[test]
    fn unknown_names_in_the_file_are_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "learning-rate = 0.5\n")?;
        let e = parse(&format!("--config {}", path.display())).expect_err("unknown field").to_string();
        assert!(e.contains("learning-rate"), "{e}");
        Ok(())
    }

    #[test]
    fn values_out_of_range_name_their_flag() {
        for (flags, flag) in [
            ("--lr 0", "--lr"),
            ("--lr NaN", "--lr"),
            ("--momentum 1", "--momentum"),
            ("--optimizer sam --rho -1", "--rho"),
            ("--batch-size 0", "--batch-size"),
            ("--optimizer rsp --eps0 NaN", "--eps0"),
            ("--nesterov --momentum 0", "--nesterov"),
            ("--model mlp --hidden 0", "--hidden"),
            ("--hidden 8", "--model mlp"),
            ("--channels 0", "--channels"),
            ("--channels 100000000000", "--channels"),
            ("--model mlp --channels 8", "--model"),
            ("--optimizer lion", "--optimizer"),
            ("--optimizer sgd --base adamw", "--base"),
            ("--optimizer adamw --momentum 0.5", "--momentum"),
            ("--optimizer sap --sap-direction batch --sap-examples 5", "--sap-examples"),
            ("--schedule constant --min-lr 0.1", "--min-lr"),
            ("--full-batch --micro-batch 5", "--micro-batch"),
            ("--model mlp --hidden 1000000000000", "--hidden"),
            ("--seed 18446744073709551615", "--seed"),
            ("--loss mse --label-smoothing 0.1", "--label-smoothing"),
            ("--rho 0.1", "--rho"),
            ("--optimizer sam --eps0 1", "--eps0"),
            ("--flatness-every 1ep", "--flatness-every"),
            ("--flatness lambda_max --flatness-probes 4", "--flatness-probes"),
            ("--flatness trace --flatness-probes 1", "--flatness-probes"),
            ("--flatness trace --flatness-every 0", "--flatness-every"),
            ("--flatness trace --flatness-examples 0", "--flatness-examples"),
        ] {
            let e = parse(flags).expect_err(flags).to_string();
            assert!(e.contains(flag), "{flags}: {e}");
        }
    }
}
