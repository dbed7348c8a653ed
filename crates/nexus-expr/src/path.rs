//! Paths to one member of a payload, `payload.athlete.id`.

use std::{fmt, str::FromStr};

use crate::Error;

/// A path has at most this many members below the payload.
pub const PATH_NAMES_MAX: usize = 8;
const PATH_BYTES_MAX: usize = 256;

/// Where in a payload the ordering key or the subject of a declared event is.
///
/// ```
/// # use nexus_expr::PayloadPath;
/// let path = PayloadPath::parse("payload.athlete.id")?;
/// assert_eq!(path.names(), ["athlete", "id"]);
/// # Ok::<(), nexus_expr::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PayloadPath(Vec<String>);

impl PayloadPath {
    /// Reads a path: `payload`, then one to eight names with a dot before each.
    ///
    /// # Errors
    /// [`Error::Path`] when it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |why| Error::Path {
            path: text.chars().take(64).collect(),
            why,
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(refuse("it is longer than 256 bytes"));
        }
        let names = text
            .strip_prefix("payload.")
            .ok_or_else(|| refuse("it begins with `payload.`"))?;
        let names: Vec<String> = names.split('.').map(str::to_owned).collect();
        if names.len() > PATH_NAMES_MAX {
            return Err(refuse("it has at most eight names"));
        }
        if !names.iter().all(|name| is_name(name)) {
            return Err(refuse(
                "each name is a letter, `_` or `$`, then letters, digits, `_`, `$` and `-`",
            ));
        }
        Ok(Self(names))
    }

    /// The names, from the payload's root.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The names, as the declaration of an event wants them.
    #[must_use]
    pub fn into_names(self) -> Vec<String> {
        self.0
    }
}

impl FromStr for PayloadPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for PayloadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payload")?;
        self.0.iter().try_for_each(|name| write!(f, ".{name}"))
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_alphabetic() || matches!(first, '_' | '$'))
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_and_writes_them_back() {
        for (text, names) in [
            ("payload.athleteId", &["athleteId"][..]),
            ("payload.a.b.c", &["a", "b", "c"]),
            ("payload.payload", &["payload"]),
            ("payload.usuário.$id-1", &["usuário", "$id-1"]),
        ] {
            let path: PayloadPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
            assert_eq!(path.into_names(), names);
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = format!("payload.{}", "a".repeat(256));
        for text in [
            "",
            "payload",
            "payload.",
            "athleteId",
            "Payload.a",
            "payload..a",
            "payload.a.",
            "payload.a[0]",
            "payload.a b",
            "payload.0",
            "payload.a\0",
            "payload.a.b.c.d.e.f.g.h.i",
            &long,
        ] {
            let refused = PayloadPath::parse(text);
            assert!(matches!(refused, Err(Error::Path { .. })), "{text:?}");
        }
    }
}
