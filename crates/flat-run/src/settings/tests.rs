//! Flags and files as a user would give them.

use super::config::RunConfig;
use anyhow::Result;
use flat_core::setting::{Value, Values};
use flat_optim::RuleKind;

/// The configuration of flags as typed.
pub(crate) fn parse(flags: &str) -> Result<RunConfig> {
    let mut values = Values::default();
    let mut file = None;
    let mut words = flags.split_whitespace().peekable();
    while let Some(flag) = words.next() {
        let name = flag.trim_start_matches("--");
        match name.split_once('=') {
            Some((name, value)) => values.insert(name, Value::Text(value.into())),
            None => {
                let value = words.next_if(|next| !next.starts_with("--")).unwrap_or("true");
                if name == "config" {
                    file = Some(value);
                } else {
                    values.insert(name, Value::Text(value.into()));
                }
            }
        }
    }
    RunConfig::resolve(&values, file.map(std::path::Path::new))
}

#[test]
fn every_rule_has_its_own_radius_by_default_and_the_rate_of_sgd_unless_it_is_another_kind_of_step() -> Result<()> {
    for kind in RuleKind::all() {
        // a data set that every rule takes
        let config = parse(&format!("--dataset colored-mnist --optimizer {kind}"))?;
        // bsam divides by a precision that begins with 1, entropy-sgd takes a way rather than a gradient
        let (lr, momentum) = match kind.name() {
            "bsam" => (0.5, None),
            "entropy-sgd" => (1.0, Some(0.0)),
            _ => (0.05, Some(0.9)),
        };
        assert_eq!((config.number("lr"), config.option("plain-lr")), (Some(lr), None), "{kind}");
        let with_effect = config.with_effect()?;
        assert_eq!(with_effect.get("momentum").and_then(toml::Value::as_float), momentum, "{kind}");
        for setting in kind.settings() {
            if let (Some(default), Some(value)) = (&setting.default, config.option(setting.name)) {
                assert_eq!(value, default, "{kind}: the library's default is another one");
            }
        }
    }
    let rsp = parse("--optimizer rsp --rho 0.5")?;
    assert_eq!((rsp.number("rho"), rsp.number("sigma")), (Some(0.5), None));
    assert!(parse("--optimizer rsp --rho 0.5 --sigma 0.1").is_err());
    Ok(())
}

#[test]
fn a_resolved_config_reads_back_as_itself() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("config.toml");
    for flags in [
        "",
        "--optimizer sap --eps0 0.5 --plain-lr 0.1 --model mlp --hidden 16,8 --augment crop,flip --warmup 1ep --steps 7",
        "--optimizer adamw --weight-decay 0.1 --ema 0.99 --clip 1 --dtype f64",
        "--base schedule-free --warmup 1ep --swa-start 1ep --swa-every 5",
        "--optimizer lpf --rho-schedule rising --rho-end 20",
        "--optimizer gsam --rho-schedule follow-lr --min-rho 0.01 --warmup 3",
        "--optimizer sam --rho-schedule exponential --max-rho 1 --rho-warmup 3",
        "--flatness trace,lambda_max --flatness-every 50 --flatness-examples 64 --flatness-probes 4",
    ] {
        let config = parse(flags)?;
        std::fs::write(&path, config.to_toml()?)?;
        assert_eq!(RunConfig::read(&path)?, config);
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
        (config.number("lr"), config.seed, config.optimizer.name, config.option("nesterov")),
        (Some(0.5), 9, "sam", Some(&Value::Switch(false)))
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
        ("--optimizer sgd", "--base schedule-free", "schedule = \"constant\""),
        ("--base schedule-free --lr 3", "--base sgd", "schedule = \"cosine\""),
        ("--base schedule-free --lr 3", "--base schedule-free-adamw", "lr = 0.0025"),
        ("--schedule step", "--base adamw", "schedule = \"step\""),
        ("--optimizer sgd", "--optimizer entropy-sgd", "momentum = 0.0"),
        ("--optimizer entropy-sgd", "--optimizer sam", "lr = 0.05"),
        ("--optimizer sap --rho 0.3 --sap-examples 4 --eps0 0.5", "--optimizer sam", "lr = 0.05"),
        ("--optimizer sap --rho 0.3 --sap-examples 4 --eps0 0.5", "--optimizer sam", "rho = 0.05"),
        ("--optimizer bsam --lr 0.7 --dataset mnist", "--optimizer sam", "lr = 0.05"),
        ("--epochs 1.5", "--seed 1", "epochs = 1.5"),
        ("--epochs 1.5", "--epochs 3", "epochs = 3"),
        ("--optimizer entropy-sgd --base adamw", "--seed 1", "lr = 0.001"),
        ("--optimizer entropy-sgd --lr 0.7", "--seed 1", "lr = 0.7"),
        ("--rule-schedule plain:0-1,entropy-sgd:1-2 --dataset mnist", "--seed 1", "lr = 0.05"),
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
    for (text, part) in
        [("lr = \"abc\"", "lr"), ("epochs = -1", "epochs"), ("epochs = 1\nsteps = 1", "--steps"), ("rho = 1", "rho")]
    {
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
    for (line, near) in [
        ("learning-rate = 0.5", ""),
        ("epoch = 2", "did you mean `epochs`?"),
        ("batch_size = 64", "did you mean `batch-size`?"),
        ("optimiser = 'sam'", "did you mean `optimizer`?"),
    ] {
        std::fs::write(&path, line)?;
        let e = parse(&format!("--config {}", path.display())).expect_err("unknown field").to_string();
        let key = line.split(' ').next().unwrap_or_default();
        assert!(e.contains("c.toml") && e.contains(&format!("`{key}` is no setting")) && e.contains(near), "{e}");
    }
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
        ("--epochs 0", "--epochs"),
        ("--epochs NaN", "--epochs"),
        ("--epochs 1e30", "--epochs"),
        ("--epochs 1e12", "--epochs"),
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
        ("--base schedule-free --schedule cosine", "--schedule"),
        ("--base schedule-free-adamw --schedule step", "--schedule"),
        ("--base schedule-free --momentum 0.5", "--momentum"),
        ("--base schedule-free --schedule-free-beta 1", "--schedule-free-beta"),
        ("--schedule-free-beta 0.5", "--base schedule-free"),
        ("--ema 0.9 --swa-start 1ep", "--swa-start"),
        ("--swa-every 1ep", "--swa-start"),
        ("--swa-start 1ep --swa-every 0", "--swa-every 0"),
        ("--rho-schedule follow-lr", "--optimizer"),
        ("--optimizer sam --rho-schedule follow-lr --rho-warmup 3", "--rho-schedule constant"),
        ("--optimizer sam --rho-schedule rising --min-rho 0.01", "--rho-schedule cosine or follow-lr"),
        ("--optimizer sam --rho-end 3", "--rho-schedule rising"),
        ("--optimizer sam --rho-schedule rising --rho-growth 0.1", "--rho-schedule exponential"),
        ("--optimizer sam --max-rho 1", "--rho-schedule exponential"),
        ("--optimizer sam --rho-schedule exponential --max-rho 0", "--max-rho"),
    ] {
        let e = parse(flags).expect_err(flags).to_string();
        assert!(e.contains(flag), "{flags}: {e}");
    }
}
