//! The seeds of a sweep.

use anyhow::Result;
use flat_run::usage;

/// Seeds as `0..5` (0 to 4), `0..=4`, `7`, or several of these with commas between them.
///
/// ```
/// assert_eq!(flat_sweep::seeds("0..3,7")?, [0, 1, 2, 7]);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// A usage error: no seeds, one twice, no numbers.
pub fn seeds(text: &str) -> Result<Vec<u64>> {
    let bad = |why: &str| usage(format!("--seeds {text}: {why}"));
    let number = |part: &str| part.trim().parse::<u64>().ok().filter(|n| *n <= i64::MAX as u64);
    let write = "write a range or numbers, as in 0..5 (0 to 4) or 0,1,7";
    let mut all = Vec::new();
    for part in text.split(',') {
        match part.split_once("..") {
            None => all.push(number(part).ok_or_else(|| bad(write))?),
            Some((first, last)) => {
                let (last, within) = last.strip_prefix('=').map_or((last, 0), |last| (last, 1));
                let (first, last) = number(first).zip(number(last)).ok_or_else(|| bad(write))?;
                if last.saturating_sub(first) > 100_000 {
                    return Err(bad("more than 100,000 seeds"));
                }
                all.extend(first..last + within);
            }
        }
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    sorted.dedup();
    match (all.is_empty(), sorted.len() < all.len()) {
        (true, _) => Err(bad("it holds no seed")),
        (_, true) => Err(bad("a seed is there twice")),
        _ => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges_and_numbers_each_once() -> Result<()> {
        assert_eq!(seeds("0..5")?, [0, 1, 2, 3, 4]);
        assert_eq!(seeds("2..=3, 9")?, [2, 3, 9]);
        for text in ["", "5..5", "1,1", "0..3,2", "a", "-1", "0..", "0..99999999"] {
            assert!(seeds(text).expect_err(text).to_string().contains("--seeds"), "{text}");
        }
        Ok(())
    }
}
