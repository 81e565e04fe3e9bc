//! One setting of a random search and the distribution that it is drawn from.

use crate::axis::{checked, split};
use crate::known;
use anyhow::Result;
use flat_core::setting::{Kind, Value};
use flat_core::{Purpose, Streams};
use flat_run::usage;

/// A setting of `train` that is drawn at random.
///
/// ```
/// use flat_sweep::Sampler;
/// let lr = Sampler::parse("lr=log:0.01..1")?;
/// // the same draw for the same seed and index, whatever else is drawn
/// assert_eq!(lr.draw(0, 3), lr.draw(0, 3));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// Name of the setting.
    pub name: String,
    /// What it is drawn from.
    pub how: How,
}

/// The distribution or list that a setting is drawn from. Numbers have four significant digits, so that they can be
/// typed.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// Uniform between two numbers.
    Uniform(f64, f64),
    /// The logarithm is uniform between those of two numbers.
    Log(f64, f64),
    /// A whole number between two, which belong to it.
    Integer(u64, u64),
    /// A whole number whose logarithm is uniform.
    LogInteger(u64, u64),
    /// One of these.
    List(Vec<Value>),
}

impl Sampler {
    /// `name=a..b`, `name=log:a..b`, `name=int:a..b` or `name=a,b,c`; whole numbers for a setting that is a count.
    ///
    /// # Errors
    /// A usage error: no such setting, an empty range, a value of another kind.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((name, how)) = text.split_once('=') else {
            return Err(usage(format!("--sample {text}: write a setting and a range, as in lr=log:0.01..1")));
        };
        Self::new(name.trim(), how.trim())
    }

    /// A setting drawn from `how`, written as in [`Self::parse`].
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn new(name: &str, how: &str) -> Result<Self> {
        let setting = known::setting("sample", name)?;
        let Some((low, high)) = how.split_once("..") else {
            let values: Vec<Value> = split(how, setting.kind).into_iter().map(Value::Text).collect();
            return Self::among(name, &values);
        };
        let bad = |why: &str| usage(format!("--sample {name}={how}: {why}"));
        let (low, log) = low.strip_prefix("log:").map_or((low, false), |low| (low, true));
        let (low, int) = low.strip_prefix("int:").map_or((low, false), |low| (low, true));
        let kind = setting.kind;
        if !matches!(kind, Kind::Number | Kind::Count) {
            return Err(bad("it is no number; write the values, as in A,B"));
        }
        let how = if int || kind == Kind::Count {
            let whole = |text: &str| text.trim().parse::<u64>().map_err(|_| bad("write whole numbers, as in 16..256"));
            let (low, high) = (whole(low)?, whole(high)?);
            if low >= high || log && low == 0 {
                return Err(bad("write the smaller end first, above 0 for log"));
            }
            if log { How::LogInteger(low, high) } else { How::Integer(low, high) }
        } else {
            let number = |text: &str| text.trim().parse::<f64>().map_err(|_| bad("write numbers, as in 0.01..1"));
            let (low, high) = (number(low)?, number(high)?);
            if !(low < high && low.is_finite() && high.is_finite()) || log && low <= 0.0 {
                return Err(bad("write the smaller end first, above 0 for log"));
            }
            if log { How::Log(low, high) } else { How::Uniform(low, high) }
        };
        Ok(Self { name: name.to_string(), how })
    }

    /// A setting drawn from a list.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn among(name: &str, values: &[Value]) -> Result<Self> {
        Ok(Self { name: name.to_string(), how: How::List(checked("sample", name, values)?) })
    }

    /// The `index`-th draw of a search with this seed: a function of seed, name and index alone.
    pub fn draw(&self, seed: u64, index: u64) -> Value {
        let mut stream = Streams::new(seed).named(Purpose::Subset, &format!("sweep {} {index}", self.name));
        match &self.how {
            How::Uniform(low, high) => {
                Value::Number(four_digits(low + (high - low) * stream.uniform()).clamp(*low, *high))
            }
            How::Log(low, high) => {
                let x = (low.ln() + (high.ln() - low.ln()) * stream.uniform()).exp();
                Value::Number(four_digits(x).clamp(*low, *high))
            }
            How::Integer(low, high) => Value::Count(low + stream.below((high - low + 1) as usize) as u64),
            How::LogInteger(low, high) => {
                // half a number beyond both ends, so that they come as often as their neighbours
                let (a, b) = ((*low as f64 - 0.5).ln(), (*high as f64 + 0.5).ln());
                let x = (a + (b - a) * stream.uniform()).exp();
                Value::Count((x.round() as u64).clamp(*low, *high))
            }
            How::List(values) => values[stream.below(values.len())].clone(),
        }
    }

    /// What it is drawn from, as [`Self::new`] reads it.
    pub fn text(&self) -> String {
        match &self.how {
            How::Uniform(low, high) => format!("{low}..{high}"),
            How::Log(low, high) => format!("log:{low}..{high}"),
            How::Integer(low, high) => format!("int:{low}..{high}"),
            How::LogInteger(low, high) => format!("log:int:{low}..{high}"),
            How::List(values) => {
                let texts: Vec<String> = values.iter().map(Value::to_string).collect();
                texts.join(if texts.iter().any(|t| t.contains(',')) { ";" } else { "," })
            }
        }
    }
}

fn four_digits(x: f64) -> f64 {
    format!("{x:.3e}").parse().unwrap_or(x)
}

/// `n` different draws of all samplers; of fewer where no more are found in a hundred tries each.
pub(crate) fn draws(samplers: &[Sampler], n: usize, seed: u64) -> Vec<Vec<(String, Value)>> {
    let mut all: Vec<Vec<(String, Value)>> = Vec::new();
    for index in 0..100 * n as u64 {
        let one: Vec<_> = samplers.iter().map(|s| (s.name.clone(), s.draw(seed, index))).collect();
        if !all.contains(&one) {
            all.push(one);
        }
        if all.len() == n {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str, n: u64) -> Result<Vec<f64>> {
        let sampler = Sampler::parse(text)?;
        assert_eq!(Sampler::new(&sampler.name, &sampler.text())?, sampler, "{text}");
        Ok((0..n).filter_map(|i| sampler.draw(7, i).to_string().parse().ok()).collect())
    }

    /// Part of the numbers below `x`.
    fn below(all: &[f64], x: f64) -> f64 {
        all.iter().filter(|y| **y < x).count() as f64 / all.len() as f64
    }

    #[test]
    fn draws_have_the_distribution_that_is_asked_for() -> Result<()> {
        // 4000 draws: a share of 1/2 has a standard deviation of 0.008
        for (text, low, median, high) in [
            ("lr=0.1..0.5", 0.1, 0.3, 0.5),
            ("lr=log:0.01..1", 0.01, 0.1, 1.0),
            ("batch-size=16..255", 16.0, 136.0, 255.0),
            ("batch-size=log:1..400", 1.0, 14.14, 400.0),
        ] {
            let all = numbers(text, 4000)?;
            assert_eq!(all.len(), 4000);
            assert!(all.iter().all(|x| (low..=high).contains(x)), "{text}");
            assert!((below(&all, median) - 0.5).abs() < 0.04, "{text}: {}", below(&all, median));
        }
        // 1 to 3 by logarithm: ln(1.5/0.5), ln(2.5/1.5), ln(3.5/2.5) over ln 7
        let all = numbers("batch-size=log:1..3", 4000)?;
        assert!((below(&all, 1.5) - 0.5646).abs() < 0.04 && (below(&all, 2.5) - 0.8271).abs() < 0.03);
        Ok(())
    }

    #[test]
    fn a_draw_depends_on_seed_name_and_index_alone() -> Result<()> {
        let (lr, rho) = (Sampler::parse("lr=0.1..0.5")?, Sampler::parse("rho=0.1..0.5")?);
        assert_eq!(lr.draw(1, 2), lr.clone().draw(1, 2));
        assert!(lr.draw(1, 2) != lr.draw(2, 2) && lr.draw(1, 2) != lr.draw(1, 3) && lr.draw(1, 2) != rho.draw(1, 2));
        Ok(())
    }

    #[test]
    fn a_small_list_gives_every_value_once() -> Result<()> {
        assert_eq!(draws(&[Sampler::parse("rho=0.1,0.2,0.3")?], 5, 0).len(), 3);
        Ok(())
    }

    #[test]
    fn ranges_that_are_none_name_the_flag() {
        for text in
            ["lr=1..0.1", "lr=log:0..1", "lr=a..b", "batch-size=0.5..3", "model=1..2", "lr", "lrr=1..2", "lr=1..inf"]
        {
            let error = Sampler::parse(text).expect_err(text).to_string();
            assert!(error.contains("--sample"), "{text}: {error}");
        }
    }
}
