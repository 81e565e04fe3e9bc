//! Intervals counted in steps or epochs: `500` or `1ep`.

use std::fmt;
use std::str::FromStr;

/// How often something happens; `0` is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// After so many optimizer steps.
    Steps(u64),
    /// After so many epochs.
    Epochs(u64),
}

impl Every {
    /// The interval in steps.
    pub fn in_steps(self, steps_per_epoch: u64) -> u64 {
        match self {
            Self::Steps(n) => n,
            Self::Epochs(n) => n.saturating_mul(steps_per_epoch),
        }
    }

    /// Whether it is due after `done` steps.
    pub fn due(self, done: u64, steps_per_epoch: u64) -> bool {
        let interval = self.in_steps(steps_per_epoch);
        interval > 0 && done > 0 && done.is_multiple_of(interval)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(n) => write!(f, "{n}"),
            Self::Epochs(n) => write!(f, "{n}ep"),
        }
    }
}

impl FromStr for Every {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (digits, epochs) = match s.strip_suffix("ep") {
            Some(rest) => (rest, true),
            None => (s, false),
        };
        let n = digits.trim().parse().map_err(|_| {
            format!("`{s}` is no interval: write a number of steps such as 500, or of epochs such as 1ep")
        })?;
        Ok(if epochs { Self::Epochs(n) } else { Self::Steps(n) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_back_as_written() {
        for text in ["0", "500", "1ep", "12ep"] {
            assert_eq!(text.parse::<Every>().map(|e| e.to_string()), Ok(text.to_string()));
        }
        assert!("ep".parse::<Every>().is_err());
        assert!("1.5".parse::<Every>().is_err());
        assert!("-1".parse::<Every>().is_err());
    }

    #[test]
    fn due_counts_from_the_first_interval() {
        assert!(!Every::Epochs(1).due(0, 10));
        assert!(Every::Epochs(1).due(20, 10));
        assert!(!Every::Epochs(2).due(10, 10));
        assert!(!Every::Steps(0).due(10, 10));
    }
}
