//! What the files of heartbeats and messages are called: by the second, and by whom.

use nexus_core::{Source, iso8601};

use crate::SessionId;

/// Whoever a file is from has at most this many characters in its name.
const WHO_CHARS_MAX: usize = 64;
/// `2026-11-21_06-00-00`.
const STEM_CHARS: usize = 19;

/// The second of a time in UTC, as names begin with it.
pub(crate) fn stem(time_us: i64) -> String {
    let time = iso8601(time_us);
    let second = time.chars().take(STEM_CHARS);
    second
        .map(|character| match character {
            'T' => '_',
            ':' => '-',
            other => other,
        })
        .collect()
}

/// The `n`-th name of a second and of somebody. All but the first say which they are, before the part by
/// which the files of somebody are looked for.
pub(crate) fn file_name(stem: &str, n: u32, who: &str) -> String {
    if n <= 1 {
        format!("{stem}-{who}.json")
    } else {
        format!("{stem}.{n}-{who}.json")
    }
}

/// The second with which the name of a file begins, if it is called as ours are.
pub(crate) fn stem_of(name: &str) -> Option<&str> {
    let (stem, rest) = name.split_at_checked(STEM_CHARS)?;
    let is_stem = stem.bytes().enumerate().all(|(place, byte)| match place {
        4 | 7 | 13 | 16 => byte == b'-',
        10 => byte == b'_',
        _ => byte.is_ascii_digit(),
    });
    let is_ours = rest.starts_with(['-', '.']) && rest.ends_with(".json");
    (is_stem && is_ours).then_some(stem)
}

/// Whoever something came from, as a part of a name.
pub(crate) fn who(source: &Source) -> String {
    if let Some(session) = SessionId::of_source(source) {
        return session.as_str().to_owned();
    }
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => character,
        _ => '-',
    };
    let name = source.as_str().chars().take(WHO_CHARS_MAX);
    name.map(plain).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_begin_with_their_second() {
        let stem = stem(1_763_704_800_123_456);
        assert_eq!(stem, "2025-11-21_06-00-00");
        assert_eq!(
            file_name(&stem, 1, "session-5"),
            "2025-11-21_06-00-00-session-5.json"
        );
        assert_eq!(
            file_name(&stem, 2, "session-5"),
            "2025-11-21_06-00-00.2-session-5.json"
        );
    }

    #[test]
    fn nobody_leaves_the_folder_by_their_name() {
        assert_eq!(who(&Source::session("session-5")), "session-5");
        assert_eq!(who(&Source::node("a/../b")), "node-a-..-b");
        assert_eq!(who(&Source::nexus()), "nexus");
    }

    proptest! {
        #[test]
        fn a_name_tells_its_second_and_is_one_step_of_a_path(
            time_us in 0..4_000_000_000_000_000_i64, n in 1..100_000_u32, who in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        ) {
            let stem = stem(time_us);
            let name = file_name(&stem, n, &who);
            prop_assert_eq!(stem_of(&name), Some(stem.as_str()));
            let suffix = format!("-{who}.json");
            prop_assert!(name.ends_with(&suffix));
            prop_assert_eq!(std::path::Path::new(&name).components().count(), 1);
            prop_assert!(name.len() < 200);
        }

        #[test]
        fn later_seconds_have_later_stems(a in 0..4_000_000_000_i64, b in 0..4_000_000_000_i64) {
            let stems = (stem(a * 1_000_000), stem(b * 1_000_000));
            prop_assert_eq!(a.cmp(&b), stems.0.cmp(&stems.1));
        }

        #[test]
        fn no_name_is_too_odd_to_look_at(name in "\\PC{0,40}") {
            let _ = stem_of(&name);
        }
    }
}
