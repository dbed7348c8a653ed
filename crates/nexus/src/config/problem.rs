//! What is wrong with a configuration: where, what, and what would be right.

use std::fmt;

/// One thing that is wrong, or weak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Where: `nexus.toml:12 limits.body_bytes`, or the name of a variable.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// What would be right.
    pub allowed: Option<String>,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.allowed {
            Some(allowed) => write!(f, "; allowed: {allowed}"),
            None => Ok(()),
        }
    }
}

/// Every problem of a start, collected on the way.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<ConfigProblem>,
}

impl Problems {
    /// Adds one.
    pub(crate) fn add(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.found.push(ConfigProblem {
            place: place.into(),
            what: what.into(),
            allowed: None,
        });
    }

    /// Adds one with what would be right.
    pub(crate) fn add_with(
        &mut self,
        place: impl Into<String>,
        what: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        self.found.push(ConfigProblem {
            place: place.into(),
            what: what.into(),
            allowed: Some(allowed.into()),
        });
    }

    /// Whether the place has a problem already.
    pub(crate) fn has(&self, place: &str) -> bool {
        self.any_place(|found| found == place)
    }

    /// Whether a place like that has a problem already.
    pub(crate) fn any_place(&self, like: impl Fn(&str) -> bool) -> bool {
        self.found.iter().any(|problem| like(&problem.place))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Everything that was added: what has a line in the order of the lines, then the rest as it was found.
    pub(crate) fn into_vec(mut self) -> Vec<ConfigProblem> {
        self.found
            .sort_by_key(|problem| line(&problem.place).unwrap_or(usize::MAX));
        self.found
    }
}

/// The line in a place such as `nexus.toml:12 limits.body_bytes`.
fn line(place: &str) -> Option<usize> {
    let at = place.split_whitespace().next()?;
    at.rsplit_once(':')?.1.parse().ok()
}

/// The name that was probably meant: the nearest one, if it is near.
pub(crate) fn nearest<'a>(
    written: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (distance(written, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 6)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters have to be added, dropped, changed or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let change = usize::from(left[i - 1] != right[j - 1]);
            let mut least = (rows[i - 1][j - 1] + change)
                .min(rows[i - 1][j] + 1)
                .min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant_and_nonsense_finds_nothing() {
        let names = ["port", "host", "allowed_origins"];
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("alowed_origin", names), Some("allowed_origins"));
        assert_eq!(nearest("colour", names), None);
    }

    #[test]
    fn problems_of_the_file_come_first_in_the_order_of_lines() {
        let mut problems = Problems::default();
        for place in ["PORT", "n.toml:10 b", "n.toml:9", "HOST"] {
            problems.add(place, "x");
        }
        let places: Vec<_> = problems.into_vec().into_iter().map(|p| p.place).collect();
        assert_eq!(places, ["n.toml:9", "n.toml:10 b", "PORT", "HOST"]);
    }

    #[test]
    fn a_problem_reads_as_a_sentence() {
        let mut problems = Problems::default();
        problems.add_with("PORT", "\"x\" is not a whole number", "0 to 65535");
        let text = problems.into_vec()[0].to_string();
        assert_eq!(
            text,
            "PORT: \"x\" is not a whole number; allowed: 0 to 65535"
        );
    }
}
