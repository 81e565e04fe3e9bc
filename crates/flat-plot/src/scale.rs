//! An axis: the map from numbers to places on the paper, and its ticks.

/// An axis, linear or logarithmic.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    /// Whether places go by the logarithm.
    pub logarithmic: bool,
    /// Numbers at the ticks and what they are called.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// An axis from one number to another with about `n` ticks; of a logarithmic one both are above 0.
    pub fn between(low: f64, high: f64, logarithmic: bool, n: usize) -> Self {
        let at = |x: f64| if logarithmic { x.log10() } else { x };
        Self::over(at(low), at(high), logarithmic, n)
    }

    /// An axis from one place to another: of a logarithmic one they are exponents.
    fn over(low: f64, high: f64, logarithmic: bool, n: usize) -> Self {
        let ticks = if logarithmic { powers(low, high, n) } else { linear(low, high, n, 0.0) };
        Self { low, high, logarithmic, ticks }
    }

    /// An axis with room around all values that it can show; `None` where there are none.
    pub fn around(values: impl Iterator<Item = f64>, logarithmic: bool, n: usize) -> Option<Self> {
        let shown = values.filter(|x| x.is_finite() && (!logarithmic || *x > 0.0));
        let (low, high) = span(shown.map(|x| if logarithmic { x.log10() } else { x }))?;
        let part = if logarithmic { 0.04 } else { 0.06 };
        let room = if low < high { part * (high - low) } else { (0.1 * low.abs()).max(1e-3) };
        Some(Self::over(low - room, high + room, logarithmic, n))
    }

    /// An axis over all of `values`, exactly from the smallest to the largest, with ticks at whole numbers.
    pub fn whole(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values).unwrap_or((0.0, 1.0));
        let (low, high) = if low < high { (low, high) } else { (low - 1.0, high + 1.0) };
        Self { low, high, logarithmic: false, ticks: linear(low, high, 5, 1.0) }
    }

    /// An axis with room around all of `values`. It is logarithmic where they are positive and `main`, those that
    /// count, span more than a factor of 100.
    pub fn roomy(main: impl Iterator<Item = f64>, values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = span(main).unwrap_or((0.0, 1.0));
        let logarithmic = least > 0.0 && most / least > 100.0;
        // an interval may reach to 0 and below, where there is no logarithm
        let shown = |x: f64| match logarithmic {
            true if x > 0.0 => x.max(least / 10.0),
            true => least / 2.0,
            false => x,
        };
        let both = Self::around(values.map(shown), logarithmic, 6);
        both.unwrap_or_else(|| Self::between(0.0, 1.0, false, 6))
    }

    /// Whether a number has a place.
    pub fn shows(&self, x: f64) -> bool {
        x.is_finite() && (!self.logarithmic || x > 0.0)
    }

    /// The place of a number, 0 at the low end and 1 at the high end; beyond the ends, the end. What is no number, or
    /// has no logarithm, is at the low end.
    pub fn place(&self, x: f64) -> f64 {
        let x = match self.logarithmic {
            true if x > 0.0 => x.log10(),
            false if !x.is_nan() => x,
            _ => self.low,
        };
        ((x - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The least and the largest of the values.
pub(crate) fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    (low <= high).then_some((low, high))
}

/// About `n` round numbers between the ends, at least `least` apart.
fn linear(low: f64, high: f64, n: usize, least: f64) -> Vec<(f64, String)> {
    let raw = (high - low) / n as f64;
    let magnitude = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|s| *s >= 0.999 * raw);
    let step = step.unwrap_or(raw).max(least);
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    // where the step is lost in the rounding of the ends there are no ticks to place
    if last - first >= 100.0 || (last - first).is_nan() {
        return vec![(low, format!("{low:e}"))];
    }
    let most = low.abs().max(high.abs());
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = |x: f64| match (1e-4..1e6).contains(&most) && step >= 1e-9 {
        true => format!("{x:.decimals$}"),
        false => exponential(x),
    };
    (0..=(last - first) as u64)
        .map(|i| (first + i as f64) * step)
        .map(|x| if x.abs() < 1e-9 * step { (0.0, "0".to_string()) } else { (x, text(x)) })
        .collect()
}

/// Powers of ten between the exponents, six or so; where there are not three, also twice and five times them, or
/// about `n` numbers that are round.
fn powers(low: f64, high: f64, n: usize) -> Vec<(f64, String)> {
    let of = |factors: &[f64]| -> Vec<f64> {
        let decades = low.floor() as i32..=high.floor() as i32;
        let all = decades.flat_map(|k| factors.iter().map(move |m| m * 10f64.powi(k)));
        all.filter(|x| (low - 1e-9..=high + 1e-9).contains(&x.log10())).collect()
    };
    let tens = of(&[1.0]);
    let named = |numbers: &[f64], every: usize| numbers.iter().step_by(every).map(|x| (*x, label(*x))).collect();
    if tens.len() > 2 {
        return named(&tens, (tens.len() - 1) / 6 + 1);
    }
    let more = of(&[1.0, 2.0, 5.0]);
    if more.len() > 2 { named(&more, 1) } else { linear(10f64.powf(low), 10f64.powf(high), n, 0.0) }
}

/// A number with three digits, with an exponent where it is far from 1.
pub(crate) fn label(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || size < 1e-300 {
        "0".into()
    } else if (1e-3 * (1.0 - 1e-9)..1e5).contains(&size) {
        let digits = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
        trimmed(&format!("{x:.digits$}")).into()
    } else {
        exponential(x)
    }
}

fn exponential(x: f64) -> String {
    let text = format!("{x:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", trimmed(mantissa))
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_different() {
        let steps = Scale::whole([4.0, 20.0].into_iter());
        assert_eq!(labels(&steps), ["5", "10", "15", "20"]);
        assert_eq!(labels(&Scale::whole([1.0, 2.0].into_iter())), ["1", "2"]);
        let values = || [0.981, 0.9853].into_iter();
        assert_eq!(labels(&Scale::roomy(values(), values())), ["0.981", "0.982", "0.983", "0.984", "0.985"]);
        let values = || [1e-5, 3.0].into_iter();
        assert_eq!(labels(&Scale::roomy(values(), values())), ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]);
        let tiny = || [1e-7, 2e-7].into_iter();
        assert_eq!(labels(&Scale::roomy(tiny(), tiny())), ["1e-7", "1.2e-7", "1.4e-7", "1.6e-7", "1.8e-7", "2e-7"]);
        assert_eq!(labels(&Scale::between(-1.0, 1.0, false, 4)), ["-1.0", "-0.5", "0", "0.5", "1.0"]);
    }

    #[test]
    fn a_logarithmic_axis_has_ticks_on_any_span() {
        for (low, high, expected) in [
            (0.5, 2e5, &["1", "10", "100", "1000", "10000", "1e5"][..]),
            (1.0, 1e12, &["1", "1000", "1e6", "1e9", "1e12"]),
            (0.02, 0.4, &["0.02", "0.05", "0.1", "0.2"]),
            (0.02, 0.031, &["0.020", "0.022", "0.024", "0.026", "0.028", "0.030"]),
        ] {
            assert_eq!(labels(&Scale::between(low, high, true, 6)), expected, "{low} to {high}");
        }
    }

    #[test]
    fn one_value_stands_in_the_middle_and_nothing_leaves_the_paper() {
        let one = || [0.5].into_iter();
        let scale = Scale::roomy(one(), one());
        assert!((scale.place(0.5) - 0.5).abs() < 1e-9);
        assert_eq!((scale.place(7.0), scale.place(-7.0), scale.place(f64::NAN)), (1.0, 0.0, 0.0));
        let scale = Scale::roomy([1.0, 1000.0].into_iter(), [-5.0, 1.0, 1000.0].into_iter());
        assert!(scale.logarithmic && scale.place(-5.0) == 0.0 && scale.place(1.0) > 0.0);
    }

    #[test]
    fn neighbours_in_floating_point_make_an_axis_too() {
        let values = || [1.0, 1.0 + f64::EPSILON].into_iter();
        let scale = Scale::roomy(values(), values());
        assert!(!scale.ticks.is_empty() && scale.place(1.0).is_finite());
    }

    #[test]
    fn labels_are_short_at_every_size() {
        let pairs = [(0.0, "0"), (1.0, "1"), (-0.25, "-0.25"), (12.5, "12.5"), (1e-6, "1e-6"), (2.5e7, "2.5e7")];
        let more = [(0.001, "0.001"), (31.6228, "31.6"), (0.0316228, "0.0316"), (100.0, "100"), (4000.0, "4000")];
        for (x, text) in pairs.into_iter().chain(more) {
            assert_eq!(label(x), text);
        }
    }
}
