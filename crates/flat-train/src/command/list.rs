//! `flat-train optimizers`, `models` and `datasets`: the choices, read from their tables.

use super::print;
use crate::exit::Outcome;
use anyhow::Result;
use candle_core::{DType, Device, Var};
use flat_core::Streams;
use flat_core::setting::{Setting, Value as Given, Values};
use flat_data::DatasetKind;
use flat_nn::{Arch, Model};
use flat_optim::{BaseKind, ParamVec, Params, RuleKind, Space, StateVisitor, Stateful};
use flat_run::parts::model_config;
use serde_json::{Value, json};

/// Images a batch that costs are given for: the default of `train`.
const ROWS: usize = 128;

/// The rules and bases: cost, state, options and source of each.
pub(super) fn optimizers(as_json: bool) -> Result<Outcome> {
    let rules = RuleKind::all().map(rule).collect::<Result<Vec<_>>>()?;
    let bases = BaseKind::all().map(base).collect::<Result<Vec<_>>>()?;
    let document = json!({ "batch": ROWS, "rules": rules, "bases": bases });
    print(as_json, &document, || {
        let head = ["rule", "gradients a step", "state", "options", "what it does, source"];
        let cells = |of: &Value| {
            let gradients = of["gradients_per_step"].as_f64().map(|n| n.to_string());
            let options = of["options"].as_array().into_iter().flatten().filter_map(Value::as_object);
            let options = options.map(|o| format!("{}={}", text(&o["name"]), text(&o["default"])));
            let over_sgd = of["over_sgd"].as_array().into_iter().flatten();
            let over_sgd = over_sgd.map(|o| format!("{}={} over sgd", text(&o["name"]), o["default"]));
            let options = options.chain(over_sgd);
            let about = [text(&of["about"]), text(&of["paper"])].into_iter().filter(|t| !t.is_empty());
            [
                text(&of["name"]),
                gradients.unwrap_or_default(),
                words(&of["state"]),
                options.collect::<Vec<_>>().join(" "),
                about.collect::<Vec<_>>().join("; "),
            ]
        };
        let rows = |all: &[Value]| all.iter().map(cells).collect::<Vec<_>>();
        format!(
            "{}\n\n{}\n\ngradients a step: of a batch of {ROWS} images, where the step is perturbed; state: vectors as long as \
             the weights, kept between steps",
            table(&head, &rows(&rules)),
            table(&["base", "", "state", "options", "what it does, source"], &rows(&bases))
        )
    })
}

fn rule(kind: RuleKind) -> Result<Value> {
    let built = kind.build(&Values::default())?;
    let gradients = built.mean_evals(ROWS);
    let over_sgd = kind.over_sgd.iter().map(|(name, default)| json!({ "name": name, "default": default }));
    Ok(json!({
        "name": kind.name, "about": kind.about, "paper": kind.paper, "gradients_per_step": gradients,
        "over_sgd": over_sgd.collect::<Vec<_>>(),
        "state": state(|space| {
            let mut rule = kind.build(&Values::default())?;
            rule.begin(space)?;
            Ok(rule)
        })?, "options": options(kind.settings()),
    }))
}

fn base(kind: BaseKind) -> Result<Value> {
    Ok(json!({
        "name": kind.name, "about": kind.about, "paper": kind.paper,
        "state": state(|space| Ok(kind.build(&Values::default())?.build(space)?))?, "options": options(kind.settings()),
    }))
}

/// The vectors that a rule or a base keeps between steps.
fn state(part: impl FnOnce(&Space) -> flat_optim::Result<Box<dyn Stateful>>) -> Result<Vec<String>> {
    let params = Params::new([("w".to_string(), Var::new(&[0f32], &Device::Cpu)?)])?;
    let mut names = Vectors::default();
    part(params.space())?.visit(&mut names)?;
    Ok(names.0)
}

/// The names of the vectors of a state.
#[derive(Default)]
struct Vectors(Vec<String>);

impl StateVisitor for Vectors {
    fn vector(&mut self, name: &str, _: &mut ParamVec) -> flat_optim::Result<()> {
        self.0.push(name.to_string());
        Ok(())
    }
    fn count(&mut self, _: &str, _: &mut u64) -> flat_optim::Result<()> {
        Ok(())
    }
    fn number(&mut self, _: &str, _: &mut f64) -> flat_optim::Result<()> {
        Ok(())
    }
}

fn options(settings: Vec<Setting>) -> Vec<Value> {
    let option = |s: Setting| {
        let default = s.default.as_ref().map(value);
        json!({ "name": s.name, "help": s.help, "default": default, "default_in_words": s.default_text(), "names": s.names })
    };
    settings.into_iter().map(option).collect()
}

fn value(given: &Given) -> Value {
    match given {
        // JSON has no infinity
        Given::Number(x) if !x.is_finite() => json!(x.to_string()),
        Given::Number(x) => json!(x),
        Given::Count(n) => json!(n),
        Given::Switch(on) => json!(on),
        Given::Text(text) => json!(text),
        Given::List(all) => all.iter().map(value).collect(),
    }
}

/// The networks: size, work, options and source of each.
pub(super) fn models(as_json: bool) -> Result<Outcome> {
    let models = Arch::all().map(model).collect::<Result<Vec<_>>>()?;
    print(as_json, &json!({ "models": models }), || {
        let cells = |of: &Value| {
            let million = |key: &str| format!("{:.2} M", of[key].as_f64().unwrap_or_default() / 1e6);
            [
                text(&of["name"]),
                million("parameters"),
                million("multiply_adds"),
                words(&of["options"]),
                format!("{}; {}", text(&of["about"]), text(&of["paper"])),
            ]
        };
        let rows: Vec<_> = models.iter().map(cells).collect();
        let head = ["model", "parameters", "multiply-adds", "options", "what it is, source"];
        format!(
            "{}\n\nmultiply-adds: of one image's forward pass; grey networks on 28x28 images, the others on 32x32 colour ones, 10 \
             classes",
            table(&head, &rows)
        )
    })
}

fn model(arch: Arch) -> Result<Value> {
    let data = if arch.in_channels == 1 { DatasetKind::Mnist } else { DatasetKind::Cifar10 };
    let model = Model::new(&model_config(arch, data), DType::F32, &Device::Cpu, &Streams::new(0))?;
    Ok(json!({
        "name": arch.name, "title": arch.title, "about": arch.about, "paper": arch.paper, "options": arch.options,
        "channels": arch.width, "dataset": data.name(), "parameters": model.params().layout().len(),
        "multiply_adds": model.multiply_adds(),
    }))
}

/// The data sets: size, normalisation, source, and whether they are on this machine.
pub(super) fn datasets(as_json: bool) -> Result<Outcome> {
    let datasets: Vec<Value> = DatasetKind::ALL.iter().copied().map(dataset).collect();
    print(as_json, &json!({ "datasets": datasets }), || {
        let cells = |of: &Value| {
            let number = |key: &str| of[key].as_u64().unwrap_or_default();
            let side = of["size"].as_u64().unwrap_or_default();
            [
                text(&of["name"]),
                format!("{} + {}", number("train"), number("test")),
                format!("{} x {side} x {side}", number("channels")),
                number("classes").to_string(),
                number("attributes").to_string(),
                of["dir"].as_str().map_or_else(|| format!("not here: {}", text(&of["get"])), String::from),
                format!("{}; {}", text(&of["about"]), text(&of["paper"])),
            ]
        };
        let rows: Vec<_> = datasets.iter().map(cells).collect();
        table(
            &["dataset", "images", "channels x pixels", "classes", "attributes", "folder", "what it is, source"],
            &rows,
        )
    })
}

fn dataset(kind: DatasetKind) -> Value {
    let found = flat_data::locate(kind, None).ok();
    let [train, test] = kind.examples;
    json!({
        "name": kind.name(), "title": kind.title, "about": kind.about, "paper": kind.paper, "train": train, "test": test,
        "channels": kind.channels, "size": kind.size, "classes": kind.classes, "attributes": kind.attributes,
        "get": kind.get(), "mean": kind.mean, "std": kind.std,
        "format": found.as_ref().map(|files| files.format), "dir": found.map(|files| files.dir),
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

fn words(list: &Value) -> String {
    let words: Vec<String> = list.as_array().into_iter().flatten().map(text).collect();
    if words.is_empty() { "-".into() } else { words.join(", ") }
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].len()).chain([head[i].len()]).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|i| row[i].as_str())));
    [line(*head)].into_iter().chain(body).collect::<Vec<_>>().join("\n")
}
