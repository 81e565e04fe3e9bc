//! Resolves flags and a file to a run's configuration, and writes it to `config.toml` and reads it back, bit for bit.

use super::choice::{PerturbByName, ScheduleName};
use super::config::RunConfig;
use super::file::{table as read_table, to_toml};
use super::flags;
use super::graph::GraphName;
use super::own;
use super::recipe::Recipe;
use crate::ranks;
use crate::usage::{BadFlag, no_effect, usage};
use anyhow::{Context, Result};
use flat_core::name::near;
use flat_core::setting::{BadSetting, Needs, Setting, Settings, Value, Values};
use flat_optim::{Every, GradientRule, PerPart, RuleKind};
use std::path::Path;

/// Where values come from that were typed.
const FLAGS: &str = "the flags";

impl RunConfig {
    /// The configuration that the flags, over the file, over the defaults, come to.
    ///
    /// A flag that would have no effect is an error. Settings of the file that have none are dropped where flags
    /// changed what they belong to, and an error where the file alone is to blame.
    ///
    /// # Errors
    /// An unreadable file, an unknown name, a value out of range, flags that exclude each other.
    pub fn resolve(flags: &Values, file: Option<&Path>) -> Result<Self> {
        let Layers { merged, ignored, name } = Self::layers(flags, file)?;
        if let Some((key, needs)) = ignored.first() {
            return Err(no_effect(key, needs));
        }
        let config = Self::with(&merged, FLAGS)?.filled()?;
        config.check().map_err(|e| if name.is_empty() { e } else { usage(format!("{e} (with {name})")) })?;
        Ok(config)
    }

    /// The flags that would have no effect, over the file, and what each of them needs: an error in [`Self::resolve`].
    ///
    /// # Errors
    /// An unreadable file, an unknown name, a value of another kind.
    pub fn without_effect(flags: &Values, file: Option<&Path>) -> Result<Vec<(String, String)>> {
        Ok(Self::layers(flags, file)?.ignored)
    }

    fn layers(flags: &Values, file: Option<&Path>) -> Result<Layers> {
        let flags = split_optimizer(flags.clone(), "--")?;
        let (mut file, mut name) = match file {
            Some(path) => (split_optimizer(read_table(path)?, "")?, path.display().to_string()),
            None => (Values::default(), String::new()),
        };
        if let Some(named) = flags.get("recipe").or_else(|| file.get("recipe")) {
            let recipe: Recipe = named.to_string().parse().map_err(BadFlag::from)?;
            let beneath = split_optimizer(recipe.read()?.settings()?, "")?;
            file = Self::lay(&file, beneath, &format!("recipe {recipe}"))?.merged;
            if name.is_empty() {
                name = format!("--recipe {recipe}");
            }
        }
        Self::lay(&flags, file, &name)
    }

    /// Lays flags, or a file, over values of this name.
    fn lay(flags: &Values, mut file: Values, name: &str) -> Result<Layers> {
        let before = Self::with(&file, name)?;
        let changed = |key: &str| Some(file.get(key)?.to_string() != flags.get(key)?.to_string());
        let other = |key: &str| changed(key) == Some(true);
        let scheduled = flags.get("rule-schedule").is_some() && changed("rule-schedule") != Some(false);
        let other_rules = other("optimizer") || scheduled;
        let mut stale = before.own_options(other_rules, other("base"));
        if other_rules {
            let now = Self::with(flags, "the flags")?.rules();
            stale.extend(now.iter().flat_map(|rule| rule.over_sgd).map(|(name, _)| *name));
        }
        let exclusive: [(&[&str], &[&str]); 5] = [
            (&["epochs"], &["steps", "evals"]),
            (&["steps"], &["epochs", "evals"]),
            (&["evals"], &["epochs", "steps"]),
            (&["mean", "std"], &["normalize"]),
            (&["normalize"], &["mean", "std"]),
        ];
        for (given, others) in exclusive {
            if given.iter().any(|key| flags.get(key).is_some()) {
                stale.extend(others);
            }
        }
        stale.extend(own::stale(&file, flags));
        // a schedule-free base has another default, and refuses what an earlier base ran with
        let averages = |values: &Values| Ok::<_, anyhow::Error>(Self::with(values, FLAGS)?.base.averages());
        if changed("base") == Some(true) && averages(&file)? != averages(flags)? {
            stale.push("schedule");
        }
        stale.iter().for_each(|key| drop(file.remove(key)));
        let mut merged = file.clone().under(flags);
        let (before, now) = (before.effects(), Self::with(&merged, FLAGS)?.effects());
        for (key, _) in file.iter().filter(|(key, _)| flags.get(key).is_none()) {
            if let Some(needs) = now.lacks(key) {
                if before.lacks(key).is_some() {
                    return Err(usage(format!("{name}: {key} has no effect: it needs {needs}")));
                }
                merged.remove(key);
            }
        }
        let ignored = flags.iter().filter_map(|(key, _)| Some((key.to_string(), now.lacks(key)?))).collect();
        Ok(Layers { merged, ignored, name: name.into() })
    }

    /// The configuration of a TOML table with the flags' names.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn from_table(table: &toml::Table) -> Result<Self> {
        Self::checked(super::file::values(table)?, "the table")
    }

    /// Reads the configuration that a run wrote.
    ///
    /// # Errors
    /// An unreadable or damaged file.
    pub fn read(path: &Path) -> Result<Self> {
        Self::checked(read_table(path)?, &path.display().to_string())
    }

    fn checked(values: Values, source: &str) -> Result<Self> {
        let config = Self::with(&split_optimizer(values, "")?, source)?.filled()?;
        config.check().with_context(|| source.to_string())?;
        Ok(config)
    }

    /// The defaults with these values in place of theirs.
    fn with(values: &Values, source: &str) -> Result<Self> {
        let (mut config, known) = (Self::default(), Self::settings());
        let bad = |e: BadSetting| match source {
            FLAGS => BadFlag::from(e).into(),
            _ => usage(format!("{source}: {} = {}: {}", e.name, e.value, e.expected)),
        };
        for (key, value) in values.iter() {
            if known.iter().any(|s| s.name == key) {
                config.set(key, value).map_err(bad)?;
            } else if let Some(option) = flags::option(key) {
                config.options.insert(key, option.read(value).map_err(bad)?);
            } else {
                let all = flags::flags();
                let near = match near(key, all.iter().map(|flag| flag.setting.name)).first() {
                    Some(near) => format!("did you mean `{near}`? See"),
                    None => "see".into(),
                };
                return Err(usage(format!("{source}: `{key}` is no setting; {near} flat-train train --help")));
            }
        }
        if values.get("schedule").is_none() && config.base.averages() {
            config.schedule = ScheduleName::Constant;
        }
        Ok(config)
    }

    /// Every setting with a value, options of rule and base included, and the defaults of those that need nothing.
    pub fn all_values(&self) -> Values {
        let free = self.own_settings().into_iter().filter(|s| matches!(s.needs, Needs::Nothing));
        Values::of(free.filter_map(|s| Some((s.name, s.default?)))).under(&self.values()).under(&self.options)
    }

    /// An option of the rule or of the base optimizer.
    pub fn option(&self, name: &str) -> Option<&Value> {
        self.options.get(name)
    }

    /// The same, of an option that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.option(name) {
            Some(Value::Number(x)) => Some(*x),
            _ => None,
        }
    }

    /// The default of a setting or option as `config.toml` has it, where it is one value.
    pub(crate) fn default_of(name: &str) -> Option<String> {
        let setting = Self::settings().into_iter().find(|s| s.name == name).or_else(|| flags::option(name))?;
        let table = to_toml(&Values::of([(setting.name, setting.default?)])).ok()?;
        Some(table.get(name)?.to_string())
    }

    /// The same configuration with an option of its rule or base.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.options.insert(name, value.into());
        self
    }

    /// What the setting called `key` needs to have an effect, where it has none.
    pub fn lacks(&self, key: &str) -> Option<String> {
        self.effects().lacks(key)
    }

    /// What [`Self::lacks`] goes by, made once for many keys.
    fn effects(&self) -> Effects {
        let settings = Self::settings().into_iter().chain(self.own_settings()).collect();
        let whole = self.rules().into_iter().find(|rule| rule.is_whole_optimizer());
        let of_base = self.base.settings().into_iter().map(|s| s.name).filter(|name| *name != "lr");
        let unused = whole.map_or(Vec::new(), |_| of_base.chain(["base"]).collect());
        Effects { settings, values: self.all_values(), unused }
    }

    /// The rules of the run: those of its schedule, or its one.
    pub fn rules(&self) -> Vec<RuleKind> {
        self.rule_schedule.as_ref().map_or_else(|| vec![self.optimizer], |schedule| schedule.rules())
    }

    /// The options that its rules and its base have; without a default where rules differ in it.
    fn own_settings(&self) -> Vec<Setting> {
        let run = Self::settings();
        let rules = self.rules().into_iter().flat_map(|rule| rule.settings());
        let of_base = self.base.settings().into_iter().map(|mut setting| {
            if let Some(default) = self.default_over_sgd(setting.name).filter(|_| self.base == "sgd") {
                setting.default = Some(Value::Number(default));
            }
            setting
        });
        let mut own: Vec<Setting> = Vec::new();
        for setting in rules.chain(of_base).filter(|s| !run.iter().any(|of_run| of_run.name == s.name)) {
            match own.iter_mut().find(|known| known.name == setting.name) {
                None => own.push(setting),
                Some(known) if known.default == setting.default => {}
                Some(known) => known.default = None,
            }
        }
        own
    }

    /// The default that its rules agree on of an option of SGD beneath them; `None` where SGD's own holds.
    fn default_over_sgd(&self, option: &str) -> Option<f64> {
        let of = |rule: &RuleKind| rule.over_sgd.iter().find(|(name, _)| *name == option).map(|(_, default)| *default);
        let defaults: Vec<Option<f64>> = self.rules().iter().map(of).collect();
        defaults.first().copied().flatten().filter(|_| defaults.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// The names of the options of the rules and of the base, which other ones start without.
    fn own_options(&self, rules: bool, base: bool) -> Vec<&'static str> {
        let of_rules = self.rules().into_iter().filter(|_| rules);
        let over_sgd = of_rules.clone().flat_map(|rule| rule.over_sgd.iter().map(|(name, _)| *name));
        let of_rules = of_rules.flat_map(|rule| rule.settings());
        of_rules.chain(self.base.settings().into_iter().filter(|_| base)).map(|s| s.name).chain(over_sgd).collect()
    }

    /// The configuration as TOML, without what has no effect.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_toml(&self) -> Result<String> {
        Ok(format!(
            "# flat-train {}: re-run with `flat-train train --config THIS_FILE`\n{}",
            env!("CARGO_PKG_VERSION"),
            toml::to_string(&self.with_effect()?)?
        ))
    }

    /// The settings by their flags' names, without what has no effect.
    ///
    /// # Errors
    /// A number that TOML does not have.
    pub fn with_effect(&self) -> Result<toml::Table> {
        let effects = self.effects();
        let mut values = effects.values.clone();
        values.retain(|key| effects.lacks(key).is_none());
        to_toml(&values)
    }

    /// Steps between two reads of losses and accuracies: `--log-every`, or 1 on the CPU, where a read is free.
    pub fn steps_between_reads(&self, device: &candle_core::Device) -> usize {
        self.log_every.unwrap_or(if device.is_cpu() { 1 } else { 50 })
    }

    /// The rule's name as `--optimizer` takes it, and a plain rule by its base's; the rules of a schedule with `+` between.
    pub fn optimizer_name(&self) -> String {
        let name = |rule: &RuleKind| if *rule == "plain" { self.base.name } else { rule.name };
        self.rules().iter().map(name).collect::<Vec<_>>().join("+")
    }

    /// The same with everything filled in that depends on other settings or on the working directory, so that
    /// `config.toml` says everything that was used.
    ///
    /// # Errors
    /// A working directory that is gone.
    pub fn filled(mut self) -> Result<Self> {
        if self.steps.is_none() && self.evals.is_none() {
            let all = || self.rule_schedule.as_ref().and_then(|s| s.epochs()).unwrap_or(2).into();
            self.epochs = Some(self.epochs.unwrap_or_else(all));
        }
        own::fill(&mut self)?;
        if self.mean.is_none() && self.std.is_none() {
            self.normalize.get_or_insert(super::choice::NormalizeName::Dataset);
        }
        let ranks = ranks::here().size();
        if ranks > 1 {
            self.grains.get_or_insert(ranks);
        }
        let values = self.all_values();
        for setting in self.own_settings().into_iter().filter(|s| s.needs.met(&values)) {
            if let (Some(value), None) = (setting.default, self.options.get(setting.name)) {
                self.options.insert(setting.name, value);
            }
        }
        let graph = match &mut self.graph.0 {
            GraphName::File(path) => Some(path),
            GraphName::Of(_) => None,
        };
        for path in [self.data_dir.as_mut(), self.init.as_mut(), graph].into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// One of its rules with its options, at its interval, on its parts of a batch.
    ///
    /// # Errors
    /// Options out of range, a rule that cannot run on parts.
    pub(crate) fn rule_of(&self, rule: RuleKind, options: &Values) -> Result<Box<dyn GradientRule>> {
        let mut built = rule.build(options).map_err(option)?;
        if rule == "plain" {
            return Ok(built);
        }
        if let Some(m) = self.m {
            built = PerPart::new(m, built).into();
        }
        if self.perturb_by == PerturbByName::Grain {
            built = PerPart::in_parts(self.grains.unwrap_or(1), built).into();
        }
        if self.rule_every > 1 {
            built = Every::new(self.rule_every, built).into();
        }
        built.check().map_err(option)?;
        Ok(built)
    }
}

/// Flags over a file.
struct Layers {
    /// The settings of both that have an effect, and those of the flags that have none.
    merged: Values,
    /// The latter by name, and what they need.
    ignored: Vec<(String, String)>,
    /// The file's name; empty where there is none.
    name: String,
}

/// The settings of a configuration, its rule and its base, and their values.
struct Effects {
    settings: Vec<Setting>,
    values: Values,
    /// What a rule that is a whole optimizer takes no notice of.
    unused: Vec<&'static str>,
}

impl Effects {
    /// As [`RunConfig::lacks`].
    fn lacks(&self, key: &str) -> Option<String> {
        if self.unused.contains(&key) {
            return Some(
                "a rule over a base as --optimizer: this one is a whole optimizer and takes --lr alone".into(),
            );
        }
        match self.settings.iter().find(|s| s.name == key) {
            Some(setting) => setting.needs.unmet(&self.values),
            None => flags::owners(key),
        }
    }
}

/// The settings that have an effect.
impl serde::Serialize for RunConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_effect().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// A setting's complaint with the name of its flag, where it comes from a rule or a base.
pub(crate) fn option(e: flat_optim::Error) -> anyhow::Error {
    match e {
        flat_optim::Error::BadSetting(e) => BadFlag::from(e).into(),
        other => other.into(),
    }
}

/// `optimizer = "adamw"` means the plain rule over that base.
fn split_optimizer(mut values: Values, dashes: &str) -> Result<Values> {
    let Some(name) = values.get("optimizer").map(Value::to_string) else { return Ok(values) };
    let (rule, base) = flat_optim::parse_optimizer(&name).map_err(|e| usage(format!("{dashes}{e}")))?;
    if let Some(base) = base {
        if values.get("base").is_some_and(|b| b.to_string() != base.name) {
            let message = format!("{dashes}optimizer {name} contradicts {dashes}base: use plain over that base");
            return Err(usage(message));
        }
        values.insert("base", Value::Text(base.name.into()));
    }
    values.insert("optimizer", Value::Text(rule.name.into()));
    Ok(values)
}
