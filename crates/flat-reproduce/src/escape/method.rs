//! The methods of the comparison and their settings.

use flat_run::settings::config::TrainConfig;
use serde::{Deserialize, Serialize};

/// A method of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Method {
    /// Plain SGD.
    Sgd,
    /// Algorithm 1.
    Rs,
    /// Algorithm 2 with a sample of so many examples.
    Sa(usize),
    /// Sharpness-aware minimisation.
    Sam,
    /// Noise stability optimisation.
    Nso,
}

/// Examples a batch.
pub(super) const BATCH: usize = 128;

/// A method with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting {
    /// The method.
    pub method: Method,
    /// Learning rate of all steps.
    pub lr: f64,
    /// Perturbation radius; for `nso` sigma, for `sgd` 0.
    pub rho: f64,
    /// The gate; `None` perturbs every step.
    pub eps0: Option<f64>,
}

impl Method {
    /// SGD, RS, SA with the paper's three batches, SAM and NSO.
    pub const PAPER: [Self; 7] =
        [Self::Sgd, Self::Rs, Self::Sa(BATCH), Self::Sa(64), Self::Sa(1), Self::Sam, Self::Nso];

    /// As the page names it.
    pub fn name(self) -> String {
        match self {
            Self::Sgd => "SGD".into(),
            Self::Rs => "RS".into(),
            Self::Sa(n) => format!("SA, batch {n}"),
            Self::Sam => "SAM".into(),
            Self::Nso => "NSO".into(),
        }
    }

    /// As cells name it.
    pub fn key(self) -> String {
        match self {
            Self::Sa(n) => format!("sa{n}"),
            other => other.name().to_lowercase(),
        }
    }
}

impl Setting {
    /// The run with these numbers.
    pub fn over(self, config: &TrainConfig) -> TrainConfig {
        let (rule, size) = match self.method {
            Method::Sgd => ("plain", None),
            Method::Rs => ("rsp", Some("rho")),
            Method::Sa(_) => ("sap", Some("rho")),
            Method::Sam => ("sam", Some("rho")),
            Method::Nso => ("nso", Some("sigma")),
        };
        let mut config = config.clone().optimizer(rule.parse().unwrap_or_default()).batch_size(BATCH);
        config.options.insert("lr", self.lr.into());
        config.options.insert("eps0", self.eps0.unwrap_or(f64::INFINITY).into());
        if let Some(size) = size {
            config.options.insert(size, self.rho.into());
        }
        if let Method::Sa(n) = self.method {
            config.options.insert("sap-examples", n.into());
        }
        config
    }

    /// As cells name it.
    pub fn key(self) -> String {
        let gate = self.eps0.map(|g| format!("-gate{g}")).unwrap_or_default();
        format!("{}-lr{}-rho{}{gate}", self.method.key(), self.lr, self.rho)
    }

    /// The numbers as the page prints them: rho, lr, eps0.
    pub fn numbers(self) -> [String; 3] {
        let rho = match self.method {
            Method::Sgd => "-".into(),
            Method::Nso => format!("sigma {}", self.rho),
            _ => self.rho.to_string(),
        };
        [rho, self.lr.to_string(), self.eps0.map_or("none".into(), |g| g.to_string())]
    }
}

/// A change of a setting whose effect is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Ablation {
    /// As it is.
    None,
    /// Without the projection.
    NoProjection,
    /// Always uphill instead of a random sign.
    Plus,
    /// Along the gradient of the whole batch instead of the sample's.
    BatchDirection,
    /// The gate opened, or closed at a gradient norm of 0.1 where it was open.
    Gate,
    /// Half the radius.
    HalfRho,
}

impl Ablation {
    /// The changes that make a difference to a method.
    pub fn of(method: Method) -> &'static [Self] {
        match method {
            Method::Rs => &[Self::None, Self::NoProjection, Self::Gate, Self::HalfRho],
            Method::Sa(BATCH) => &[Self::None, Self::NoProjection, Self::Plus, Self::Gate, Self::HalfRho],
            Method::Sa(1) => {
                &[Self::None, Self::NoProjection, Self::Plus, Self::BatchDirection, Self::Gate, Self::HalfRho]
            }
            _ => &[],
        }
    }

    /// As the page names it.
    pub fn name(self, setting: Setting) -> String {
        match self {
            Self::None => "as chosen".into(),
            Self::NoProjection => "no projection".into(),
            Self::Plus => "sign always +".into(),
            Self::BatchDirection => "direction and gradient of the batch".into(),
            Self::Gate if setting.eps0.is_some() => "no gate".into(),
            Self::Gate => format!("gate eps0 = {GATE}"),
            Self::HalfRho => "rho / 2".into(),
        }
    }

    /// As cells name it.
    pub fn key(self) -> &'static str {
        match self {
            Self::None => "chosen",
            Self::NoProjection => "no-projection",
            Self::Plus => "plus",
            Self::BatchDirection => "batch-direction",
            Self::Gate => "gate",
            Self::HalfRho => "half-rho",
        }
    }

    /// The changed run.
    pub fn over(self, setting: Setting, config: &TrainConfig) -> TrainConfig {
        let config = setting.over(config);
        match self {
            Self::None => config,
            Self::NoProjection => config.with_option("no-project", true),
            Self::Plus => config.with_option("sap-sign", "plus"),
            Self::BatchDirection => config.with_option("sap-direction", "batch"),
            Self::Gate => {
                let eps0 = if setting.eps0.is_some() { f64::INFINITY } else { GATE };
                config.with_option("eps0", eps0)
            }
            Self::HalfRho => config.with_option("rho", setting.rho / 2.0),
        }
    }
}

/// The gate of the ablation.
const GATE: f64 = 0.1;
