//! An axis: the map from numbers to places on the paper, and its ticks.

/// An axis, linear or logarithmic.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    /// Whether places go by the logarithm.
    pub logarithmic: bool,
    /// Numbers at the ticks and what they are called.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// An axis over all of `values`, exactly from the smallest to the largest, with ticks at whole numbers.
    pub fn whole(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = span(values);
        let (low, high) = if low < high { (low, high) } else { (low - 1.0, high + 1.0) };
        Self { low, high, logarithmic: false, ticks: linear(low, high, 5, 1.0) }
    }

    /// An axis with room around all of `values`. It is logarithmic where they are positive and `main`, those that
    /// count, span more than a factor of 100.
    pub fn roomy(main: impl Iterator<Item = f64>, values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = span(main);
        let (low, high) = span(values);
        if least > 0.0 && most / least > 100.0 {
            // an interval may reach to 0 and below, where there is no logarithm
            let low = if low > 0.0 { low.max(least / 10.0) } else { least / 2.0 };
            let (low, high) = (low.log10(), high.log10());
            let room = 0.04 * (high - low);
            let (low, high) = (low - room, high + room);
            return Self { low, high, logarithmic: true, ticks: decades(low, high) };
        }
        let room = if low < high { 0.06 * (high - low) } else { (0.1 * low.abs()).max(1e-3) };
        let (low, high) = (low - room, high + room);
        Self { low, high, logarithmic: false, ticks: linear(low, high, 6, 0.0) }
    }

    /// The place of a number, 0 at the low end and 1 at the high end; beyond the ends, the end.
    pub fn place(&self, x: f64) -> f64 {
        let x = match self.logarithmic {
            true if x > 0.0 => x.log10(),
            true => self.low,
            false => x,
        };
        ((x - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
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
    let label = |x: f64| match (1e-4..1e6).contains(&most) && step >= 1e-9 {
        true => format!("{x:.decimals$}"),
        false => exponential(x),
    };
    (0..=(last - first) as u64)
        .map(|i| (first + i as f64) * step)
        .map(|x| if x.abs() < 1e-9 * step { (0.0, "0".to_string()) } else { (x, label(x)) })
        .collect()
}

/// Powers of ten between the exponents, six or so.
fn decades(low: f64, high: f64) -> Vec<(f64, String)> {
    let (first, last) = (low.ceil() as i32, high.floor() as i32);
    let every = ((last - first) / 6 + 1).max(1) as usize;
    let label = |k: i32| if (-3..=4).contains(&k) { format!("{}", 10f64.powi(k)) } else { format!("1e{k}") };
    (first..=last).step_by(every).map(|k| (10f64.powi(k), label(k))).collect()
}

fn exponential(x: f64) -> String {
    let text = format!("{x:.2e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
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
    }

    #[test]
    fn one_value_stands_in_the_middle_and_nothing_leaves_the_paper() {
        let one = || [0.5].into_iter();
        let scale = Scale::roomy(one(), one());
        assert!((scale.place(0.5) - 0.5).abs() < 1e-9);
        assert_eq!((scale.place(7.0), scale.place(-7.0)), (1.0, 0.0));
        let scale = Scale::roomy([1.0, 1000.0].into_iter(), [-5.0, 1.0, 1000.0].into_iter());
        assert!(scale.logarithmic && scale.place(-5.0) == 0.0 && scale.place(1.0) > 0.0);
    }

    #[test]
    fn neighbours_in_floating_point_make_an_axis_too() {
        let values = || [1.0, 1.0 + f64::EPSILON].into_iter();
        let scale = Scale::roomy(values(), values());
        assert!(!scale.ticks.is_empty() && scale.place(1.0).is_finite());
    }
}
