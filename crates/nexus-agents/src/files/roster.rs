//! What the entries of the files say of sessions: their roles, and the tokens by which they are known.

use std::{collections::HashMap, fmt};

use data_encoding::HEXLOWER_PERMISSIVE;
use nexus_core::{Digest, sha256};
use serde_json::Value;

use crate::{Profile, SessionId, files::document::Document};

/// A token has at most this many bytes; what is longer is none.
const TOKEN_BYTES_MAX: usize = 4_096;

/// Who is listed. Knows tokens by their hashes only.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    profiles: HashMap<SessionId, Profile>,
    /// A token that two sessions have is nobody's.
    tokens: HashMap<Digest, Option<SessionId>>,
}

impl Roster {
    /// Adds what an entry says.
    pub(crate) fn add(&mut self, id: SessionId, entry: &Document<'_>) {
        let mut hashes = Vec::new();
        if let Some(token) = entry.text("token")
            && (1..=TOKEN_BYTES_MAX).contains(&token.len())
        {
            hashes.push(sha256(token.as_bytes()));
        }
        let hash = entry.text("token_sha256");
        let hash = hash.and_then(|hash| HEXLOWER_PERMISSIVE.decode(hash.as_bytes()).ok());
        hashes.extend(hash.and_then(|hash| Digest::try_from(hash).ok()));
        for hash in hashes {
            self.tokens
                .entry(hash)
                .and_modify(|known| {
                    if known.as_ref() != Some(&id) {
                        *known = None;
                    }
                })
                .or_insert_with(|| Some(id.clone()));
        }
        let profile = profile(entry);
        if profile != Profile::default() {
            self.profiles.insert(id, profile);
        }
    }

    /// What a session is said to be.
    pub(crate) fn profile(&self, id: &SessionId) -> Option<&Profile> {
        self.profiles.get(id)
    }

    /// The session that a token is of, by its hash.
    pub(crate) fn session_of(&self, token: &Digest) -> Option<&SessionId> {
        self.tokens.get(token)?.as_ref()
    }
}

/// What is said in a way that the bus would take from the session itself.
fn profile(entry: &Document<'_>) -> Profile {
    let capabilities = match entry.value("capabilities") {
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    let each = [
        Profile {
            role: entry.text("role").filter(|role| !role.is_empty()),
            ..Profile::default()
        },
        Profile {
            goal: entry.text("goal"),
            ..Profile::default()
        },
        Profile {
            capabilities: capabilities.filter(|all| !all.is_empty()),
            ..Profile::default()
        },
    ];
    let mut profile = Profile::default();
    for said in each.into_iter().filter(|said| said.check().is_ok()) {
        profile.role = profile.role.or(said.role);
        profile.goal = profile.goal.or(said.goal);
        profile.capabilities = profile.capabilities.or(said.capabilities);
    }
    profile
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster")
            .field("profiles", &self.profiles)
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::entries::merge;

    fn roster(found: &str) -> Roster {
        merge(found, 0, &[], &Default::default(), 0).unwrap().roster
    }

    fn session(roster: &Roster, token: &str) -> Option<String> {
        let session = roster.session_of(&sha256(token.as_bytes()));
        session.map(ToString::to_string)
    }

    #[test]
    fn tokens_are_of_the_session_of_their_entry() {
        let hash = data_encoding::HEXUPPER.encode(&sha256(b"hashed"));
        let roster = roster(&format!(
            r#"{{"1":{{"token":"plain"}},"13":{{"session_id":"mind","token_sha256":"{hash}"}},
                "lead":{{"token":"by key"}},"4":{{"token":7}},"5":{{"token":""}},"6":{{"token_sha256":"ab"}},
                "7":"no entry","8":{{"session_id":"../etc","token":"odd"}}}}"#
        ));
        assert_eq!(session(&roster, "plain").as_deref(), Some("session-1"));
        assert_eq!(session(&roster, "hashed").as_deref(), Some("mind"));
        assert_eq!(session(&roster, "by key").as_deref(), Some("lead"));
        for token in ["", "odd", "7", "ab", &hash] {
            assert_eq!(session(&roster, token), None, "{token}");
        }
        assert!(!format!("{roster:?}").contains("plain"));
    }

    #[test]
    fn a_token_of_two_is_of_none() {
        let shared = roster(r#"{"1":{"token":"t"},"2":{"token":"t"},"3":{"token":"t"}}"#);
        assert_eq!(session(&shared, "t"), None);
        let own =
            roster(r#"{"1":{"session_id":"a","token":"t"},"2":{"session_id":"a","token":"t"}}"#);
        assert_eq!(session(&own, "t").as_deref(), Some("a"));
        assert_ne!(shared, own);
    }

    #[test]
    fn a_profile_is_what_the_bus_would_take() {
        let long = "x".repeat(501);
        let roster = roster(&format!(
            r#"{{"1":{{"role":"Forge","goal":"{long}","capabilities":["rust"]}},"2":{{"role":7}},
                "3":{{"role":"{long}","capabilities":["a",1]}}}}"#
        ));
        let id = |id| SessionId::parse(id).unwrap();
        let expected = Profile {
            role: Some("Forge".into()),
            goal: None,
            capabilities: Some(vec!["rust".into()]),
        };
        assert_eq!(roster.profile(&id("session-1")), Some(&expected));
        assert_eq!(roster.profile(&id("session-2")), None);
        assert_eq!(roster.profile(&id("session-3")), None);
    }
}
