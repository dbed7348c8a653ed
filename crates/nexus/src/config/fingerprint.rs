//! What a configuration is known by: a digest of all that was read, without the values of secrets.

use std::{collections::BTreeMap, fmt};

use nexus_core::sha256;

use super::{
    given::{Entry, Given},
    sections::Config,
    settings::SETTINGS,
};

/// So many bytes of the digest are kept: enough to tell configurations apart.
const BYTES: usize = 8;

/// What a configuration is known by. Two processes that read the same have the same; another value of a
/// secret alone does not change it, so that nobody can try guesses against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint([u8; BYTES]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Fingerprint {
    fn of(text: &str) -> Self {
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&sha256(text.as_bytes())[..BYTES]);
        Self(bytes)
    }
}

/// The entries of lists as they were written, by list.
#[derive(Debug, Default)]
pub(crate) struct Lists(BTreeMap<String, String>);

impl Lists {
    /// Notes an entry.
    pub(crate) fn entry(&mut self, list: &str, entries: &[Entry]) {
        self.text(list, &table(entries));
    }

    /// Notes what an entry stands for that is in another file.
    pub(crate) fn text(&mut self, list: &str, text: &str) {
        let noted = self.0.entry(list.to_owned()).or_default();
        noted.push_str(text);
        noted.push('\n');
    }

    /// What one kind of list is known by, whichever way it is written.
    pub(crate) fn fingerprint(&self, list: &str) -> Fingerprint {
        let prefix = format!("{list}.");
        let of_list = self
            .0
            .iter()
            .filter(|(name, _)| *name == list || name.starts_with(&prefix))
            .map(|(_, text)| text.as_str());
        Fingerprint::of(&of_list.collect::<String>())
    }
}

impl Config {
    /// Works out what it is known by.
    pub(crate) fn known_by(&self, lists: &Lists) -> Fingerprint {
        let mut text = String::new();
        for setting in SETTINGS {
            text.push_str(&format!("{}={:?}\n", setting.key, (setting.show)(self)));
        }
        for (list, entries) in &lists.0 {
            text.push_str(&format!("[{list}]\n{entries}"));
        }
        text.push_str(&format!("{:?}\n", self.auth.permissions));
        let signed_for = self.auth.environment_secrets.keys();
        text.push_str(&format!("{:?}\n", signed_for.collect::<Vec<_>>()));
        for (node, address) in &self.reactors.node_urls {
            text.push_str(&format!("{node}={}\n", address.url()));
        }
        Fingerprint::of(&text)
    }
}

fn table(entries: &[Entry]) -> String {
    // What holds secrets is left out by its name.
    let shown = entries
        .iter()
        .filter(|entry| !matches!(entry.key.as_str(), "secret" | "secrets"))
        .map(|entry| format!("{:?}:{}", entry.key, value(&entry.given)));
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn value(given: &Given) -> String {
    match given {
        Given::Table(entries) => table(entries),
        Given::List(items) => {
            let items: Vec<String> = items.iter().map(value).collect();
            format!("[{}]", items.join(","))
        }
        Given::Text(text) | Given::Raw(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Mode, given, problem::Problems},
        *,
    };

    fn lists(text: &str) -> Lists {
        let mut problems = Problems::default();
        let mut lists = Lists::default();
        for entry in given::parse("n.toml", text, &mut problems) {
            let Given::List(items) = entry.given else {
                panic!("a list")
            };
            for item in items {
                let Given::Table(entries) = item else {
                    panic!("a table")
                };
                lists.entry(&entry.key, &entries);
            }
        }
        lists
    }

    #[test]
    fn what_is_written_counts_and_secrets_do_not() {
        let config = Config::defaults(Mode::Serve);
        let of = |text: &str| config.known_by(&lists(text)).to_string();
        let first = of("[[nodes]]\nid = 'a'\nsecrets = ['x']\n");
        assert_eq!(first, of("# said\n[[nodes]]\nid='a'\nsecrets = ['y']\n"));
        assert_ne!(first, of("[[nodes]]\nid = 'b'\nsecrets = ['x']\n"));
        assert_ne!(first, of("[[tokens]]\nid = 'a'\nsecrets = ['x']\n"));
        assert_eq!(first.len(), 2 * BYTES);
        let mut other = Config::defaults(Mode::Serve);
        other.server.port = 1;
        assert_ne!(config.known_by(&lists("")), other.known_by(&lists("")));
    }

    #[test]
    fn a_list_is_known_by_its_own_entries() {
        let of = |text: &str| lists(text).fingerprint("events");
        assert_eq!(of("[[nodes]]\nid = 'a'\n"), of(""));
        assert_ne!(of("[[events]]\ntopic = 'a.b'\n"), of(""));
    }
}
