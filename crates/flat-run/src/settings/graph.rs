//! Strategies and graphs of a network of agents, by name.

use flat_comm::Graph;
use flat_core::named;
use flat_core::setting::choose;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

named! {
    /// How the agents of a network go together, by name.
    pub enum StrategyName, "strategy" {
        /// One set of weights, and the gradient of the whole batch.
        Centralised = "centralised" | "centralized",
        /// An agent's step is added to the mixture of its neighbours' weights.
        Consensus = "consensus" | "adapt-with-combine" | "dsgd",
        /// An agent makes its step, and then mixes with its neighbours.
        Diffusion = "diffusion" | "adapt-then-combine" | "atc",
    }
}

/// Who mixes with whom: a graph by its name with Metropolis weights, or the weights in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraphName {
    /// A graph.
    Of(Graph),
    /// A file with a line of weights an agent.
    File(PathBuf),
}

impl GraphName {
    /// How a choice is written.
    pub const FORMS: &'static str = "ring|grid|hypercube|exponential|full|FILE";
}

impl fmt::Display for GraphName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(graph) => graph.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for GraphName {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match choose::<Graph>("graph", s) {
            Ok(_) => s.parse().map(Self::Of).map_err(|e: flat_core::setting::BadSetting| e.expected),
            Err(_) if s.contains(['/', '\\', '.']) => Ok(Self::File(s.into())),
            Err(e) => Err(format!("{}, or the name of a file with a dot or a slash in it", e.expected)),
        }
    }
}
