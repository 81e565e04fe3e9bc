//! `flat-train recipes`.

use super::entry::{self, Entry};
use super::{text, value};
use crate::command::print;
use crate::exit::Outcome;
use anyhow::Result;
use flat_run::settings::Recipe;
use serde_json::{Map, Value, json};

/// The recipes: what each reaches, in how many seconds, and its settings.
pub(in crate::command) fn recipes(as_json: bool) -> Result<Outcome> {
    let recipes = Recipe::all().map(recipe).collect::<Result<Vec<_>>>()?;
    print(as_json, &json!({ "recipes": recipes }), || {
        let in_words = |of: &Value| {
            let settings = of["settings"].as_object().into_iter().flatten();
            let settings = settings.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(", ");
            let seconds = format!("{} s of training, {}", of["seconds"], text(&of["seen"]));
            Entry { name: text(&of["name"]), lines: vec![text(&of["about"]), seconds, settings] }
        };
        let note = "flat-train train --recipe NAME trains by one; any flag lies over its settings";
        let entries: Vec<_> = recipes.iter().map(in_words).collect();
        format!("{}\n\n{}", entry::page(&entries), entry::paragraph(note))
    })
}

fn recipe(recipe: Recipe) -> Result<Value> {
    let contents = recipe.read()?;
    let settings = contents.settings()?;
    let settings: Map<String, Value> = settings.iter().map(|(key, given)| (key.to_string(), value(given))).collect();
    Ok(json!({
        "name": recipe.name, "about": contents.about, "dataset": settings.get("dataset"),
        "target_accuracy": settings.get("target-accuracy"), "seconds": contents.seconds, "seen": contents.seen,
        "settings": settings,
    }))
}
