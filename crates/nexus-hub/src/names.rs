//! What tools and prompts are called: names that every client takes, given once and kept.

use std::{collections::HashMap, sync::Arc};

use data_encoding::BASE32_NOPAD;
use nexus_core::sha256;

use crate::{ServerId, catalogue::server::Alias};

/// A name has at most this many characters: with `mcp__nexus__` before it that is within what every client
/// takes.
pub const NAME_CHARS_MAX: usize = 48;

/// A hash at the end of a name: an underscore and so many letters and digits.
const HASH_CHARS: usize = 7;

/// The name of a server's tool as it is composed: the alias, an underscore, and what the server calls it, each
/// character that not every client takes replaced. The alias is left out where the tool begins with it.
#[must_use]
pub(crate) fn compose(alias: &Alias, original: &str) -> String {
    let plain: String = original
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let alias = alias.as_str();
    let has_alias = plain
        .strip_prefix(alias)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-']));
    if has_alias {
        plain
    } else {
        format!("{alias}_{plain}")
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// The composed name with a hash at its end, cut so that it is not too long.
fn hashed(composed: &str, server: &ServerId, original: &str, again: u32) -> String {
    const HEAD_CHARS_MAX: usize = NAME_CHARS_MAX - HASH_CHARS - 1;
    let mut bytes = Vec::with_capacity(server.as_str().len() + original.len() + 5);
    bytes.extend_from_slice(server.as_str().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(original.as_bytes());
    if again > 0 {
        bytes.extend_from_slice(&again.to_be_bytes());
    }
    let hash = BASE32_NOPAD.encode(&sha256(&bytes)).to_lowercase();
    // Composed names are ASCII, so every place is between two characters.
    let head = &composed[..composed.len().min(HEAD_CHARS_MAX)];
    format!("{head}_{}", &hash[..HASH_CHARS])
}

/// Gives names to what a server offers and has none yet; in the order of `originals`.
///
/// Two that would have the same name both get a hash, so that it does not matter which of them is listed first.
/// A name that is `taken` stays with who has it.
pub(crate) fn assign(
    alias: &Alias,
    server: &ServerId,
    originals: &[&str],
    taken: impl Fn(&str) -> bool,
) -> Vec<Arc<str>> {
    let composed: Vec<String> = originals.iter().map(|name| compose(alias, name)).collect();
    let mut wanted: HashMap<&str, u32> = HashMap::new();
    for name in &composed {
        *wanted.entry(name).or_default() += 1;
    }
    let mut given: HashMap<Arc<str>, ()> = HashMap::with_capacity(originals.len());
    let mut names = Vec::with_capacity(originals.len());
    for (original, composed) in originals.iter().zip(&composed) {
        let fits = composed.len() <= NAME_CHARS_MAX && wanted.get(composed.as_str()) == Some(&1);
        let is_free =
            |name: &str, given: &HashMap<Arc<str>, ()>| !taken(name) && !given.contains_key(name);
        let mut name: Arc<str> = if fits && is_free(composed, &given) {
            composed.as_str().into()
        } else {
            hashed(composed, server, original, 0).into()
        };
        let mut again = 0;
        while !is_free(&name, &given) {
            again += 1;
            name = hashed(composed, server, original, again).into();
        }
        given.insert(name.clone(), ());
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn alias(text: &str) -> Alias {
        Alias::parse(text).unwrap()
    }

    fn assigned(alias_text: &str, originals: &[&str]) -> Vec<Arc<str>> {
        let server = ServerId::new("s");
        assign(&alias(alias_text), &server, originals, |_| false)
    }

    #[test]
    fn names_have_the_alias_once_and_only_plain_characters() {
        for (alias, original, name) in [
            ("brave", "brave_web_search", "brave_web_search"),
            ("brave", "web_search", "brave_web_search"),
            ("brave", "bravest", "brave_bravest"),
            ("fetch", "fetch", "fetch"),
            ("a", "x.y/z", "a_x_y_z"),
            ("a", "caf\u{e9}", "a_caf_"),
            ("git", "git-log", "git-log"),
        ] {
            assert_eq!(&*assigned(alias, &[original])[0], name);
        }
    }

    #[test]
    fn a_long_name_is_not_cut_silently() {
        let long = "a".repeat(60);
        let longer = "a".repeat(61);
        let names = assigned("x", &[&long, &longer]);
        assert_eq!(names[0].len(), NAME_CHARS_MAX);
        assert_ne!(names[0], names[1]);
        assert_eq!(
            &*assigned("x", &[&"a".repeat(46)])[0],
            "x_".to_owned() + &"a".repeat(46)
        );
    }

    #[test]
    fn two_of_one_name_both_get_a_hash_whatever_their_order() {
        let one = assigned("x", &["a.b", "a_b", "c"]);
        let other = assigned("x", &["c", "a_b", "a.b"]);
        assert_eq!(one, [other[2].clone(), other[1].clone(), other[0].clone()]);
        assert!(one[0].starts_with("x_a_b_") && one[1].starts_with("x_a_b_"));
        assert_eq!(&*one[2], "x_c");
    }

    #[test]
    fn a_name_that_is_taken_stays_with_who_has_it() {
        let server = ServerId::new("s");
        let names = assign(&alias("x"), &server, &["a"], |name| name == "x_a");
        assert!(names[0].starts_with("x_a_"), "{}", names[0]);
        let hash = names[0].clone();
        let names = assign(&alias("x"), &server, &["a"], |name| {
            name == "x_a" || *name == *hash
        });
        assert!(names[0].starts_with("x_a_") && names[0] != hash);
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_clients_take(
            alias_text in "[a-z][a-z0-9]{0,15}",
            originals in prop::collection::hash_set(".{1,128}", 1..40),
        ) {
            let originals: Vec<&str> = originals.iter().map(String::as_str).collect();
            let names = assigned(&alias_text, &originals);
            let distinct: HashSet<_> = names.iter().collect();
            prop_assert_eq!(distinct.len(), originals.len());
            for name in &names {
                prop_assert!((1..=NAME_CHARS_MAX).contains(&name.len()), "{}", name);
                prop_assert!(name.chars().all(is_plain), "{}", name);
                prop_assert!(name.starts_with(alias_text.as_str()), "{}", name);
            }
            // The same again, and in any order.
            prop_assert_eq!(&assigned(&alias_text, &originals), &names);
            let backwards: Vec<&str> = originals.iter().rev().copied().collect();
            let again: Vec<_> = assigned(&alias_text, &backwards).into_iter().rev().collect();
            prop_assert_eq!(again, names);
        }
    }
}
