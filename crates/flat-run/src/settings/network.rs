//! Networks of agents, as a run's settings have them.

use super::config::RunConfig;
use super::graph::{GraphName, StrategyName};
use crate::usage::usage;
use anyhow::{Context, Result};
use flat_comm::Mixing;
use flat_optim::{LESS_BIASED, Need};

impl RunConfig {
    /// Whether agents have weights of their own.
    pub fn has_network(&self) -> bool {
        self.strategy != StrategyName::Centralised
    }

    /// The weights with which its agents mix; reads `--graph FILE`.
    ///
    /// # Errors
    /// A usage error: a graph that so many agents cannot make, a file that cannot be read or holds no such weights.
    pub fn mixing(&self) -> Result<Mixing> {
        let (agents, graph) = (self.agents, &*self.graph);
        match graph {
            GraphName::Of(of) => Mixing::metropolis(*of, agents).map_err(|e| {
                usage(format!("--graph {of} --agents {agents}: {e}; give another number, or --graph ring"))
            }),
            GraphName::File(path) => {
                let text = flat_core::file::read_text(path)
                    .with_context(|| format!("cannot read --graph {}", path.display()))?;
                let made = Mixing::parse(&text).map_err(|e| usage(format!("--graph {graph}: {e}")))?;
                match made.agents() {
                    lines if lines == agents => Ok(made),
                    lines => Err(usage(format!("--graph {graph}: it is of {lines} agents, give --agents {lines}"))),
                }
            }
        }
    }

    /// Refuses a network whose agents could not make the run's steps.
    pub(super) fn check_network(&self) -> Result<()> {
        if !self.has_network() {
            return Ok(());
        }
        let (strategy, agents) = (self.strategy, self.agents);
        if agents > self.batch_size {
            return Err(usage(format!(
                "--agents {agents}: a batch of {} has no image for each; give --batch-size {agents} or more",
                self.batch_size
            )));
        }
        for need in [Need::Subspace, Need::FreshBatches, Need::Source(LESS_BIASED)] {
            if let Some(rule) = self.rules().into_iter().find(|rule| rule.asks_for(need)) {
                return Err(usage(format!(
                    "--strategy {strategy}: an agent does not have the {need} that --optimizer {rule} needs; leave out one of them"
                )));
            }
        }
        match &*self.graph {
            GraphName::Of(_) => self.mixing().map(|_| ()),
            // read once the run is built: a configuration may be read where the file is not
            GraphName::File(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::parse;

    #[test]
    fn what_does_not_go_with_a_network_is_refused_with_the_remedy() -> Result<()> {
        let full = "--strategy diffusion --agents 4 --graph";
        for (flags, remedy) in [
            ("--agents 4", "--strategy consensus or diffusion"),
            ("--graph full", "--strategy consensus or diffusion"),
            ("--strategy diffusion --full-batch", "without --full-batch"),
            ("--strategy diffusion --agents 200", "give --batch-size 200 or more"),
            ("--strategy consensus --agents 4 --optimizer dom-sgd", "leave out one of them"),
            ("--strategy diffusion --graph hypercube --agents 12", "a power of two of corners, not 12"),
            ("--strategy diffusion --graph rign", "did you mean ring?"),
            ("--strategy diffusion --agents 300", "300"),
        ] {
            let text = format!("{:#}", parse(flags).expect_err(flags));
            assert!(text.contains(remedy), "{flags}: {text}");
        }
        assert!(parse(&format!("{full} ring")).is_ok());
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("weights.txt");
        std::fs::write(&file, "0.5 0.5\n0.5 0.5\n")?;
        let config = parse(&format!("{full} {}", file.display()))?;
        let text = format!("{:#}", config.mixing().expect_err("two agents"));
        assert!(text.contains("give --agents 2"), "{text}");
        let two = parse(&format!("--strategy diffusion --agents 2 --graph {}", file.display()))?;
        assert_eq!(two.mixing()?.weight(0, 1), 0.5);
        Ok(())
    }
}
