//! Numbers as text: few digits, percent, intervals.

/// Four significant digits, with an exponent where the number is far from 1.
pub fn short(x: f64) -> String {
    digits(x, 4)
}

/// So many significant digits at most, with an exponent where the number is far from 1.
pub fn digits(x: f64, digits: i32) -> String {
    if !x.is_finite() {
        return "not finite".into();
    }
    if x == 0.0 {
        return "0".into();
    }
    let size = x.abs();
    if (1e-3..1e6).contains(&size) {
        let decimals = (digits - 1 - size.log10().floor() as i32).clamp(0, digits + 2) as usize;
        trimmed(&format!("{x:.decimals$}"))
    } else {
        let text = format!("{x:.*e}", digits.max(1) as usize - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", trimmed(mantissa))
    }
}

/// A part of 1 in percent, which no line break takes from its sign.
pub fn percent(x: f64) -> String {
    format!("{}\u{a0}%", percentage(x))
}

/// A part of 1 in percent without the sign, for a table whose head has it.
pub fn percentage(x: f64) -> String {
    format!("{:.2}", 100.0 * x)
}

fn trimmed(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    }
}

/// The 95 % interval of a proportion of `n` independent trials (E. B. Wilson, JASA 22, 1927).
pub fn wilson(p: f64, n: f64) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    let z2 = Z * Z / n;
    let centre = (p + z2 / 2.0) / (1.0 + z2);
    let half = Z / (1.0 + z2) * (p * (1.0 - p) / n + z2 / (4.0 * n)).sqrt();
    [centre - half, centre + half]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_four_digits() {
        let pairs = [(171.29483930683298, "171.3"), (0.8585, "0.8585"), (0.5, "0.5"), (-12.0, "-12"), (0.0, "0")];
        let more = [(1.2345678e-7, "1.235e-7"), (2e9, "2e9"), (123456.7, "123457"), (f64::NAN, "not finite")];
        for (x, text) in pairs.into_iter().chain(more) {
            assert_eq!(short(x), text);
        }
        let pairs =
            [(23.4567891, "23.45679"), (2.5, "2.5"), (1.23456789e-9, "1.234568e-9"), (-1e-3 / 3.0, "-3.333333e-4")];
        for (x, text) in pairs {
            assert_eq!(digits(x, 7), text);
        }
    }

    #[test]
    fn wilsons_interval_solves_its_equation_and_stays_within_0_and_1() {
        for (p, n) in [(0.0, 10.0), (0.3, 50.0), (0.9835, 10_000.0), (1.0, 256.0)] {
            let ends = wilson(p, n);
            for end in ends {
                // the ends are where (p - end)^2 = z^2 end (1 - end) / n
                let gap = (p - end).powi(2) - 1.959_963_984_540_054_f64.powi(2) * end * (1.0 - end) / n;
                assert!(gap.abs() < 1e-15, "{p} {n} {end}: {gap}");
            }
            assert!(-1e-15 <= ends[0] && ends[0] <= p + 1e-15 && p - 1e-15 <= ends[1] && ends[1] <= 1.0 + 1e-15);
        }
    }
}
