//! `flat-train optimizers`, `models`, `datasets` and `recipes`: the choices, read from their tables.

mod entry;
mod recipes;

use super::print;
use crate::exit::Outcome;
use anyhow::Result;
use candle_core::{DType, Device, Var};
pub(super) use recipes::recipes;

use entry::Entry;
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
        let note = format!(
            "gradients: evaluations a step of a batch of {ROWS} images, where the step is perturbed; keeps: vectors as long as \
             the weights, kept between steps"
        );
        let entries = |all: &[Value]| entry::page(&all.iter().map(in_words).collect::<Vec<_>>());
        let note = entry::paragraph(&note);
        format!("Rules, --optimizer:\n\n{}\n\nBases, --base:\n\n{}\n\n{note}", entries(&rules), entries(&bases))
    })
}

/// A rule or a base.
fn in_words(of: &Value) -> Entry {
    let gradients = of["gradients_per_step"].as_f64().map(|n| {
        let n = (n * 100.0).round() / 100.0;
        format!("{n} {}", if n == 1.0 { "gradient" } else { "gradients" })
    });
    let state = &of["state"];
    let keeps = (state != &json!([])).then(|| format!("keeps {}", words(state)));
    let options = of["options"].as_array().into_iter().flatten().filter_map(Value::as_object);
    let options = options.map(|o| format!("{}={}", text(&o["name"]), text(&o["default"])));
    let over_sgd = of["over_sgd"].as_array().into_iter().flatten();
    let over_sgd = over_sgd.map(|o| format!("over sgd {}={}", text(&o["name"]), o["default"]));
    let options = options.chain(over_sgd).collect::<Vec<_>>().join(", ");
    let costs = gradients.into_iter().chain(keeps).collect::<Vec<_>>().join(", ");
    Entry { name: text(&of["name"]), lines: vec![text(&of["about"]), costs, options, text(&of["paper"])] }
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
        let in_words = |of: &Value| {
            let million = |key: &str| format!("{:.2} M", of[key].as_f64().unwrap_or_default() / 1e6);
            let size = format!("{} parameters, {} multiply-adds", million("parameters"), million("multiply_adds"));
            let options = format!("options {}", words(&of["options"]));
            Entry { name: text(&of["name"]), lines: vec![text(&of["about"]), size, options, text(&of["paper"])] }
        };
        let note = "multiply-adds: of one image's forward pass; grey networks on 28x28 images, the others on 32x32 colour \
                    ones, 10 classes";
        let entries: Vec<_> = models.iter().map(in_words).collect();
        format!("{}\n\n{}", entry::page(&entries), entry::paragraph(note))
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
        let in_words = |of: &Value| {
            let number = |key: &str| of[key].as_u64().unwrap_or_default();
            let (side, attributes) = (number("size"), number("attributes"));
            let images = format!(
                "{} training and {} test images of {} x {side} x {side}, {} classes{}",
                number("train"),
                number("test"),
                number("channels"),
                number("classes"),
                if attributes == 0 { String::new() } else { format!(", {attributes} attributes") }
            );
            let dir =
                of["dir"].as_str().map_or_else(|| format!("not here: {}", text(&of["get"])), |dir| format!("in {dir}"));
            Entry { name: text(&of["name"]), lines: vec![text(&of["about"]), images, dir, text(&of["paper"])] }
        };
        entry::page(&datasets.iter().map(in_words).collect::<Vec<_>>())
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
