//! Recipes: settings that reach an accuracy, by name.

use super::file::values;
use crate::usage::usage;
use anyhow::Result;
use flat_core::setting::Values;
use flat_core::{Choice, Item};
use serde::Deserialize;

/// A recipe, as `--recipe` takes it.
pub type Recipe = Choice<RecipeSpec>;

/// A recipe of the table: its name and its file.
#[derive(Debug)]
pub struct RecipeSpec {
    /// The name that [`std::str::FromStr`] accepts, also the file's.
    pub name: &'static str,
    /// The file, of which [`Self::read`] makes the contents.
    toml: &'static str,
}

/// The contents of a recipe's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// What it reaches, in one line.
    pub about: String,
    /// Seconds in steps until the target was reached, as a mean over seeds.
    pub seconds: f64,
    /// Where and over what those seconds were seen, and what the settings were chosen on.
    pub seen: String,
    settings: toml::Table,
}

macro_rules! recipes {
    ($($name:literal),+ $(,)?) => {
        const RECIPES: &[RecipeSpec] =
            &[$(RecipeSpec { name: $name, toml: include_str!(concat!("../../recipes/", $name, ".toml")) }),+];
    };
}

recipes! {
    "cifar10-fast",
    "mnist-99",
}

impl Item for RecipeSpec {
    const WHAT: &'static str = "recipe";

    fn table() -> &'static [Self] {
        RECIPES
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

impl RecipeSpec {
    /// The contents of its file.
    ///
    /// # Errors
    /// None in a released version: a test reads every file.
    pub fn read(&self) -> Result<Contents> {
        toml::from_str(self.toml).map_err(|e| usage(format!("recipe {}: {e}", self.name)))
    }
}

impl Contents {
    /// The settings, by the names of the flags.
    ///
    /// # Errors
    /// A value that is no setting's.
    pub fn settings(&self) -> Result<Values> {
        values(&self.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunConfig;
    use crate::settings::tests::parse;

    #[test]
    fn every_recipe_has_a_file_and_a_line_resolves_and_names_its_data_and_its_target() -> Result<()> {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes"))?;
        let mut names: Vec<String> = files
            .map(|file| Ok(file?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned()))
            .collect::<Result<_>>()?;
        names.sort();
        assert_eq!(names, RECIPES.iter().map(|r| r.name).collect::<Vec<_>>());
        for recipe in Recipe::all() {
            let contents = recipe.read()?;
            let settings = contents.settings()?;
            assert!(settings.get("dataset").is_some() && contents.seconds > 0.0, "{recipe}");
            let config = parse(&format!("--recipe {recipe}"))?;
            assert!(
                config.target_accuracy.is_some_and(|target| contents.about.contains(&format!("{} %", target * 100.0)))
            );
            for (key, value) in settings.iter() {
                assert_eq!(config.all_values().get(key).map(ToString::to_string), Some(value.to_string()), "{key}");
            }
        }
        Ok(())
    }

    #[test]
    fn flags_lie_over_a_recipe_and_its_run_is_read_back_as_it_was() -> Result<()> {
        let plain = parse("--recipe mnist-99")?;
        let config = parse("--recipe mnist-99 --channels 8 --steps 7 --optimizer sam --loss mse")?;
        assert_eq!((config.channels, config.steps, config.epochs), (Some(8), Some(7), None));
        assert_eq!((config.target_accuracy, config.batch_size), (plain.target_accuracy, plain.batch_size));
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("config.toml");
        std::fs::write(&file, config.to_toml()?)?;
        assert_eq!(RunConfig::read(&file)?, config);
        assert_eq!(RunConfig::resolve(&Values::default(), Some(&file))?, config);
        let text = parse("--recipe mnist-9").expect_err("no such recipe").to_string();
        assert!(text.contains("mnist-99"), "{text}");
        Ok(())
    }
}
