//! What the names of a server's tools begin with, made of what people call the server.

/// An alias has at most this many characters.
const CHARS_MAX: usize = 16;
/// Of a name that says nothing.
const FALLBACK: &str = "server";

/// The first alias that a name leads to and that nobody has; nothing when there is no end of them.
pub(super) fn derive(name: &str, is_taken: impl Fn(&str) -> bool) -> Option<String> {
    let plain = name.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = plain.map(|c| c.to_ascii_lowercase()).collect();
    let plain = plain.trim_start_matches(|c: char| c.is_ascii_digit());
    let stem = match plain {
        "" => FALLBACK,
        plain => &plain[..plain.len().min(CHARS_MAX)],
    };
    let numbered = (2..10_000).map(|number| {
        let number = number.to_string();
        let room = CHARS_MAX - number.len();
        format!("{}{number}", &stem[..stem.len().min(room)])
    });
    std::iter::once(stem.to_owned())
        .chain(numbered)
        .find(|alias| !is_taken(alias))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Alias;

    #[test]
    fn an_alias_looks_like_its_name() {
        let free = |name: &str| derive(name, |_| false).unwrap();
        for (name, alias) in [
            ("brave", "brave"),
            ("My Notes", "mynotes"),
            ("GitHub (work)", "githubwork"),
            ("2nd brain", "ndbrain"),
            ("\u{6f22}\u{5b57}", "server"),
            ("", "server"),
            ("a-very-long-name-of-a-server", "averylongnameofa"),
        ] {
            assert_eq!(free(name), alias, "{name}");
        }
    }

    proptest! {
        #[test]
        fn aliases_are_valid_and_distinct(names in prop::collection::vec("\\PC{0,24}", 1..60)) {
            let mut taken = HashSet::new();
            for name in names {
                let alias = derive(&name, |alias| taken.contains(alias)).unwrap();
                prop_assert!(Alias::parse(&alias).is_ok(), "{alias}");
                prop_assert!(taken.insert(alias));
            }
        }
    }
}
