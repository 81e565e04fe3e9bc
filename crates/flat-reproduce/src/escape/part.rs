//! The study's file, and one part of it: a data set, a network, a loss and the runs on them.

use super::method::{Ablation, Method, Setting};
use crate::bad_minimum::Recipe;
use crate::flags::Flags;
use crate::network::network;
use crate::recipe::{Scales, Sizes};
use crate::scale::Scale;
use anyhow::{Context, Result};
use flat_run::usage;
use serde::Deserialize;

/// The study's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Flags of every run.
    pub flags: Flags,
    /// The methods, the reference first.
    pub methods: Vec<Method>,
    /// Changes whose effect is measured.
    pub ablations: Vec<Ablation>,
    /// How many times smaller than the reference's traces are to be.
    pub asked: Vec<Asked>,
    scales: Scales<Vec<toml::Table>>,
}

/// How many times smaller than the reference's trace a method's is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The method's key.
    pub method: String,
    /// So many times.
    pub factor: f64,
}

/// A data set, a network and a loss, and what is done with them.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Part {
    /// As cells, plots and `--part` name it.
    pub key: String,
    /// Images.
    pub images: Sizes,
    /// Training images, the first ones, that the Hessian is of.
    pub curvature: usize,
    /// Independent bad minima, each with its own run of every method.
    pub seeds: u64,
    /// Keys of the methods that are compared, the reference first.
    pub methods: Vec<String>,
    /// Gradient evaluations of a run of the search.
    pub search_evals: f64,
    /// Gradient evaluations of a run of the comparison.
    pub evals: f64,
    /// Measurements along it.
    pub points: u64,
    /// Steps of plain SGD after them, the same for every method. They have the learning rate of the bad minimum's
    /// last part, as the plain descent with which Algorithm 2 ends.
    pub settle: u64,
    /// Whether the ablations are run.
    pub ablations: bool,
    /// Flags of its runs: data set, network and loss.
    pub flags: Flags,
    /// How its bad minimum is made.
    pub recipe: Recipe,
    /// Flags of the runs of that alone.
    #[serde(default)]
    pub recipe_flags: Flags,
    /// What the search tries.
    grid: Vec<Flags>,
    /// Notes on trials, which are not repeated.
    #[serde(default)]
    pub remarks: String,
}

impl File {
    /// Takes the parts of a scale.
    ///
    /// # Errors
    /// A part that lacks something.
    pub fn parts(&mut self, scale: Scale) -> Result<Vec<Part>> {
        let mut whole: Vec<toml::Table> = Vec::new();
        for mut part in self.scales.at(scale)? {
            if let Some(like) = part.remove("like") {
                let other = whole.iter().find(|other| other.get("key") == Some(&like));
                let mut base = other
                    .with_context(|| format!("the study's part like {like}: no earlier part has that key"))?
                    .clone();
                // what was tried for another part was not tried for this one
                base.remove("remarks");
                base.extend(part);
                part = base;
            }
            whole.push(part);
        }
        let read = |part: toml::Table| {
            let key = part.get("key").map(ToString::to_string).unwrap_or_default();
            part.try_into().map_err(|e| usage(format!("the study's part {key}: {e}")))
        };
        whole.into_iter().map(read).collect()
    }

    /// A method by its key.
    ///
    /// # Errors
    /// The file has none of that key.
    pub fn method(&self, key: &str) -> Result<&Method> {
        let found = self.methods.iter().find(|method| method.key == key);
        found.ok_or_else(|| usage(format!("the study has no method {key}")))
    }

    /// The ablations of a part's method.
    pub fn ablations<'a>(&'a self, part: &'a Part, method: &'a str) -> impl Iterator<Item = &'a Ablation> {
        self.ablations.iter().filter(move |ablation| part.ablations && ablation.concerns(method))
    }
}

impl Part {
    /// As the page heads it.
    pub fn title(&self) -> String {
        let loss = match self.flags.text("loss") {
            Some("mse") => "squared loss",
            _ => "cross entropy",
        };
        let [train, ..] = self.images;
        let dataset = self.flags.text("dataset").unwrap_or_default();
        format!("{}, {train} images of {dataset}, {loss}", network(&self.flags))
    }

    /// Whether its loss has margins that grow.
    pub fn has_margins(&self) -> bool {
        self.flags.text("loss") != Some("mse")
    }

    /// What the search tries.
    ///
    /// # Errors
    /// An entry of the grid without a method.
    pub fn settings(&self) -> Result<Vec<Setting>> {
        self.grid.iter().flat_map(Flags::combinations).map(|entry| Setting::of(&entry)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::FILE;
    use super::*;
    use crate::recipe::parse;

    #[test]
    fn every_setting_of_every_scale_makes_a_run() -> Result<()> {
        for scale in Scale::ALL {
            let mut file: File = parse(None, FILE)?;
            for part in file.parts(scale)? {
                let run = file.flags.under(&part.flags);
                run.under(&part.recipe_flags).config()?;
                for setting in part.settings()? {
                    let method = file.method(&setting.method)?;
                    let run = run.under(&method.flags).under(&setting.flags);
                    run.config()?;
                    for ablation in file.ablations(&part, &method.key) {
                        ablation.over(&setting, &run).config()?;
                    }
                }
            }
        }
        Ok(())
    }
}
