//! The cost model of exchanges: seconds of a sum, and the efficiency of a run on any number of ranks.

/// What messages of a network cost, in Hockney's model with a term for the processor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// Seconds until a short message is there: alpha.
    pub latency_s: f64,
    /// Seconds of the processor for a message: o.
    pub message_s: f64,
    /// Seconds a byte, on the wire and in the sum: beta.
    pub byte_s: f64,
}

/// What a step does on one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepWork {
    /// Seconds without exchanges.
    pub step_s: f64,
    /// Vectors that are summed over ranks.
    pub exchanges: f64,
    /// Bytes of such a vector.
    pub bytes: f64,
    /// Standard deviation of a step's seconds, relative to their mean: all wait for the slowest rank.
    pub spread: f64,
}

impl Network {
    /// Seconds of a sum in the tree's order, of a vector of so many bytes. Pieces go to all ranks, and their sums to all.
    ///
    /// ```text
    /// 2 (P - 1) o + 2 alpha + 2 (P - 1) / P bytes beta
    /// ```
    pub fn sum_s(&self, ranks: usize, bytes: f64) -> f64 {
        if ranks < 2 {
            return 0.0;
        }
        let others = (ranks - 1) as f64;
        2.0 * (others * self.message_s + self.latency_s + others / ranks as f64 * bytes * self.byte_s)
    }

    /// The seconds a byte of a network on which such a sum takes so long.
    #[must_use]
    pub fn with_sum(self, ranks: usize, bytes: f64, seconds: f64) -> Self {
        let short = Self { byte_s: 0.0, ..self }.sum_s(ranks, bytes);
        let moved = 2.0 * (ranks.max(2) - 1) as f64 / ranks.max(2) as f64 * bytes;
        Self { byte_s: ((seconds - short) / moved).max(0.0), ..self }
    }

    /// Steps a second of each of so many ranks, relative to one rank that exchanges nothing. The work of a rank stays the same: the
    /// batch grows with the ranks.
    ///
    /// ```text
    /// T / (T (1 + s sqrt(2 ln P)) + c sum)
    /// ```
    pub fn efficiency(&self, ranks: usize, work: &StepWork) -> f64 {
        let slowest = 1.0 + work.spread * (2.0 * (ranks.max(1) as f64).ln()).sqrt();
        work.step_s / (work.step_s * slowest + work.exchanges * self.sum_s(ranks, work.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: Network = Network { latency_s: 20e-6, message_s: 5e-6, byte_s: 1.0 / 8e9 };
    const INFINIBAND: Network = Network { latency_s: 2e-6, message_s: 0.5e-6, byte_s: 1.0 / 23e9 };

    #[test]
    fn efficiencies_are_those_of_the_formulas_worked_out_by_hand() {
        // ResNet-18, 44.7 MB: sgd has a gradient and an exchange, sam by grain two and one
        let work = |gradient: f64, gradients: f64| StepWork {
            step_s: gradients * gradient,
            exchanges: 1.0,
            bytes: 44.7e6,
            spread: 0.0,
        };
        let table = [
            (ETHERNET, work(0.015, 1.0), [0.60, 0.56, 0.41]),
            (ETHERNET, work(0.015, 2.0), [0.75, 0.72, 0.59]),
            (ETHERNET, work(0.1, 1.0), [0.91, 0.90, 0.83]),
            (INFINIBAND, work(0.015, 1.0), [0.81, 0.79, 0.75]),
        ];
        for (network, work, expected) in table {
            for (ranks, expected) in [8, 64, 1000].into_iter().zip(expected) {
                let found = network.efficiency(ranks, &work);
                assert!((found - expected).abs() < 0.0051, "{found} for {expected} at {ranks}");
            }
        }
        // 2 % of spread cost 7 % at 1,000 ranks
        let still = Network { latency_s: 0.0, message_s: 0.0, byte_s: 0.0 };
        let found = still.efficiency(1000, &StepWork { spread: 0.02, ..work(1.0, 1.0) });
        assert!((found - 0.93).abs() < 0.0051, "{found}");
    }

    #[test]
    fn one_rank_exchanges_nothing_and_a_measured_sum_is_found_again() {
        assert_eq!(ETHERNET.sum_s(1, 1e9), 0.0);
        let seconds = ETHERNET.sum_s(6, 1e7);
        let found = Network { byte_s: 0.0, ..ETHERNET }.with_sum(6, 1e7, seconds);
        assert!((found.byte_s / ETHERNET.byte_s - 1.0).abs() < 1e-9);
    }
}
