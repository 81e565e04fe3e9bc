//! Rules, bases, networks and data sets are tables: what the tool lists, takes, explains and refuses follows from them.

use crate::tool::{Room, command, fails, json, run, top};
use flat_core::setting::Values;
use flat_optim::{BASES, RULES};
use serde_json::Value;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect()
}

#[test]
fn the_optimizers_are_listed_with_cost_state_defaults_and_paper() {
    let listed = json("optimizers");
    assert_eq!(names(&listed["rules"]), RULES.iter().map(|r| r.name).collect::<Vec<_>>());
    assert_eq!(names(&listed["bases"]), BASES.iter().map(|b| b.name).collect::<Vec<_>>());
    let rule = |name: &str| {
        let rules = listed["rules"].as_array().expect("rules");
        rules.iter().find(|r| r["name"] == name).expect(name).clone()
    };
    // SAP's default sample is the batch
    for (name, gradients) in [("plain", 1.0), ("sam", 2.0), ("rsp", 2.0), ("sap", 2.0), ("nso", 2.0)] {
        assert_eq!(rule(name)["gradients_per_step"], gradients, "{name}");
    }
    let rho = rule("sam")["options"][0].clone();
    assert_eq!((rho["name"].as_str(), rho["default"].as_f64()), (Some("rho"), Some(0.05)));
    let states: Vec<&Value> = listed["bases"].as_array().expect("bases").iter().map(|b| &b["state"]).collect();
    let vectors: [&[&str]; 4] = [&["momentum"], &["mean", "square"], &["offset"], &["offset", "square"]];
    assert_eq!(states, vectors.map(|names| serde_json::json!(names)).iter().collect::<Vec<_>>());
}

#[test]
fn the_table_in_the_readme_is_that_of_the_rules() {
    let readme = std::fs::read_to_string(top().join("README.md")).expect("README.md");
    for rule in RULES {
        let built = rule.build(&Values::default()).expect("defaults");
        let row = format!(
            "| `{}` | {} | {} | {} |",
            rule.name,
            rule.about.replace('|', "\\|"),
            (built.mean_evals(128) * 1e3).round() / 1e3,
            if rule.paper.is_empty() { "the base optimizer alone" } else { rule.paper }
        );
        assert!(readme.contains(&row), "README.md has no row\n{row}");
    }
}

#[test]
fn every_option_of_a_rule_or_base_is_a_flag_with_its_default_and_refused_where_it_has_no_effect() {
    let help =
        String::from_utf8(run("train --help").stdout).expect("text").split_whitespace().collect::<Vec<_>>().join(" ");
    for rule in RULES {
        for setting in rule.settings() {
            assert!(
                help.contains(&format!("--{} ", setting.name)) || help.contains(&format!("--{}[", setting.name)),
                "{}",
                setting.name
            );
            let value = setting.default.as_ref().map_or("1".to_string(), ToString::to_string);
            if setting.name == "micro-batch" {
                continue; // of the run itself too
            }
            let said = fails(&format!("train --optimizer sgd --{}={value}", setting.name), 2);
            let needs = format!("--{} has no effect here: it needs --optimizer ", setting.name);
            assert!(said.contains(&needs) && said.contains(rule.name), "{said}");
        }
    }
    for base in BASES {
        let other = BASES.iter().find(|b| b.name != base.name).expect("two bases");
        for setting in base.settings().into_iter().filter(|s| other.settings().iter().all(|o| o.name != s.name)) {
            let value = setting.default.as_ref().map_or("1".to_string(), ToString::to_string);
            let said = fails(&format!("train --base {} --{}={value}", other.name, setting.name), 2);
            let needs = format!("--{} has no effect here: it needs --base ", setting.name);
            assert!(said.contains(&needs) && said.contains(base.name), "{said}");
        }
    }
    assert!(help.contains("sam 0.05, rsp by --sigma, sap 0.1"), "the help lists each rule's default: {help}");
}

#[test]
fn a_flag_that_the_others_leave_without_an_effect_is_refused_by_every_command() {
    let on = "--checkpoint models/flat.safetensors";
    for (words, flag, needs) in [
        ("metrics trace --min-probes 4", "min-probes", "--rel-tol"),
        ("metrics trace --estimator xtrace --total-only", "total-only", "--estimator hutchinson"),
        ("metrics trace --radius 1", "radius", "--estimator perturbed-gradient or perturbed-loss"),
        ("metrics trace --operator ggn --hvp double", "hvp", "--operator hessian"),
        ("metrics layers --max-matvecs 0 --rel-tol 0.1", "rel-tol", "--max-matvecs above 0"),
        ("metrics sharpness --eta 0.1", "eta", "--geometry adaptive-l2 or adaptive-linf"),
        ("metrics sharpness --measures worst,average --sigma 0.1", "sigma", "--measures low-pass"),
        ("metrics all --eps 0.2", "eps", "--certify"),
        ("landscape --out x --hvp double", "hvp", "--directions eigen"),
        ("landscape --out x --between models/sharp.safetensors --axes 1", "axes", "to go without --between"),
        ("eval --channels 3", "channels", "--model"),
    ] {
        let said = fails(&format!("{words} {on}"), 2);
        assert!(said.contains(&format!("--{flag} has no effect here: it needs {needs}\n")), "{words}: {said}");
    }
    let said = fails("bench --steps 3 --seconds 1", 2);
    assert!(said.contains("--seconds has no effect here: it needs to go without --steps"), "{said}");
}

#[test]
fn models_and_datasets_are_listed_as_they_are_taken() {
    let models = json("models");
    let lenet =
        models["models"].as_array().expect("models").iter().find(|m| m["name"] == "lenet").expect("lenet").clone();
    // 32 and 64 channels of 5x5, 1024 hidden units, 10 classes: counted by hand
    assert_eq!(lenet["parameters"], 5 * 5 * 32 + 32 + 32 * 64 * 25 + 64 + 64 * 16 * 1024 + 1024 + 1024 * 10 + 10);
    for name in names(&models["models"]) {
        let said = fails(&format!("train --model {name} --batch-size 0"), 2);
        assert!(said.contains("--batch-size 0"), "{name} is taken, the batch size is not: {said}");
    }
    let datasets = json("datasets");
    assert_eq!(names(&datasets["datasets"]), ["mnist", "fashion-mnist", "cifar10", "cifar100", "colored-mnist"]);
    let mnist = &datasets["datasets"][0];
    assert!(mnist["dir"].as_str().is_some_and(|dir| dir.contains("mnist")), "MNIST is in the repository: {mnist}");
}

#[test]
fn what_there_is_fits_80_columns_and_is_listed_whole() {
    for list in ["optimizers", "models", "datasets", "recipes"] {
        let found = command(list).env("COLUMNS", "80").output().expect("the tool");
        let text = String::from_utf8(found.stdout).expect("UTF-8");
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.iter().all(|line| !line.trim().contains(' ')), "{list}: {wide:#?}");
        let key = if list == "optimizers" { "rules" } else { list };
        for name in names(&json(list)[key]) {
            assert!(text.lines().any(|line| line.split(' ').next() == Some(name)), "{list} lacks {name}:\n{text}");
        }
    }
}

#[test]
fn completions_and_manual_know_every_command_flag_and_value() {
    let text = |words: &str| String::from_utf8(run(words).stdout).expect("UTF-8");
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&format!("completions {shell}"));
        for word in ["sweep", "trace", "looksam-alpha", "schedule-free-adamw", "colored-mnist"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let room = Room::new();
    run(&format!("man --out {}", room.path("man").display()));
    let page = |name: &str| std::fs::read_to_string(room.path("man").join(name)).expect(name);
    assert!(page("flat-train-train.1").contains("looksam") && page("flat-train-metrics-trace.1").contains("rel"));
    assert!(text("man").starts_with(".ie") && page("flat-train.1").contains("reproduce"));
}
