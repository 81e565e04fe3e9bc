//! Names as a person types them: in any case, by another name, or nearly right.

/// The name of a list that somebody means by what was typed. Case and the characters between letters and digits do not
/// count. `others` are pairs of another name and the name that it stands for.
///
/// ```
/// use flat_core::name::meant;
/// let (names, others) = (["adamw", "schedule-free"], [("adam", "adamw")]);
/// assert_eq!(meant("AdamW", &names, &others), Some("adamw"));
/// assert_eq!(meant("Adam", &names, &others), Some("adamw"));
/// assert_eq!(meant("schedule_free", &names, &others), Some("schedule-free"));
/// assert_eq!(meant("sgd", &names, &others), None);
/// ```
pub fn meant(typed: &str, names: &[&'static str], others: &[(&'static str, &'static str)]) -> Option<&'static str> {
    let bare =
        |name: &str| -> String { name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let typed = typed.trim();
    let meant = bare(typed);
    let exact = names.iter().find(|name| **name == typed);
    let alike = || names.iter().find(|name| bare(name) == meant);
    let other = || others.iter().find(|(other, _)| bare(other) == meant).map(|(_, name)| name);
    exact.or_else(alike).or_else(other).copied()
}

/// Names that are made of numbers, so that no list holds them all.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// What such a name is like, in words; empty where there is no family.
    pub like: &'static str,
    /// The name of the family that somebody means by what was typed.
    pub meant: fn(&str) -> Option<&'static str>,
}

impl Family {
    /// No names.
    pub const NONE: Self = Self { like: "", meant: |_| None };

    /// What to choose from: the names of a list, and what those of the family are like.
    pub fn beside<'a>(self, names: &[&'a str]) -> Vec<&'a str> {
        names.iter().copied().chain((!self.like.is_empty()).then_some(self.like)).collect()
    }
}

/// What to give instead of a name that is not of the list: those near it, and all.
pub fn instead(typed: &str, names: &[&str]) -> String {
    let did_you = match &near(typed, names.iter().copied())[..] {
        [] => String::new(),
        near => format!("did you mean {}? ", near.join(" or ")),
    };
    format!("{did_you}give one of {}", names.join(", "))
}

/// The names nearest to what was typed, three at most; none where all are far.
pub fn near<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.to_lowercase();
    let mut near: Vec<(usize, &str)> = names.into_iter().map(|name| (distance(&typed, name), name)).collect();
    near.sort_unstable();
    let far = match typed.chars().count() {
        0 => 0,
        1 | 2 => 1,
        n => (n / 3).clamp(2, 4),
    };
    let least = near.first().map_or(far, |(d, _)| far.min(*d));
    near.into_iter().take_while(|(d, _)| *d <= least).take(3).map(|(_, name)| name).collect()
}

/// Letters to insert, delete, replace, or exchange with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters_and_neighbours_exchanged() {
        for (a, b, d) in
            [("kitten", "sitting", 3), ("", "abc", 3), ("rho", "rho", 0), ("rhos", "rho", 1), ("rohs", "rho", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (d, d), "{a} {b}");
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_those_near_it_and_with_all() {
        let names = ["plain", "sam", "sap", "wsam"];
        let all = "give one of plain, sam, sap, wsam";
        assert_eq!(instead("sma", &names), format!("did you mean sam? {all}"));
        assert_eq!(instead("SAN", &names), format!("did you mean sam or sap? {all}"));
        assert_eq!(instead("plane", &names), format!("did you mean plain? {all}"));
        assert_eq!(instead("momentum", &names), all);
        assert_eq!(instead("", &names), all);
        let family = Family { like: "sam-N", ..Family::NONE };
        assert_eq!(instead("momentum", &family.beside(&names)), format!("{all}, sam-N"));
    }
}
