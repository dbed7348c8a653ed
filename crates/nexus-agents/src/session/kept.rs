//! How sessions are kept: one record each, and the events of their coming and going.

use nexus_core::{Change, Digest, Family, Fence, Key, Record};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Profile, SessionId,
    options::{CAPABILITIES_MAX, CAPABILITY_CHARS_MAX, TEXT_CHARS_MAX},
    work::kept::json,
};

/// Sessions, by name.
pub(crate) const SESSION: Family = Family::new("session");

/// What a session is called that never said what it is for.
pub(crate) const ROLE_UNKNOWN: &str = "Unknown";

/// What is kept of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<String>,
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
    pub(crate) registered_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connected_us: Option<i64>,
    /// Whether the log was told that it came, and not that it is gone.
    pub(crate) is_connected: bool,
    /// The hash of its token, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_sha256: Option<String>,
}

impl Kept {
    /// A session that is not known yet.
    pub(crate) fn new(now_us: i64) -> Self {
        Self {
            role: ROLE_UNKNOWN.into(),
            goal: None,
            capabilities: Vec::new(),
            registered_us: now_us,
            connected_us: None,
            is_connected: false,
            token_sha256: None,
        }
    }

    /// Takes what it says of itself.
    pub(crate) fn say(&mut self, profile: Profile) {
        if let Some(role) = profile.role {
            self.role = role;
        }
        if profile.goal.is_some() {
            self.goal = profile.goal;
        }
        if let Some(capabilities) = profile.capabilities {
            self.capabilities = capabilities;
        }
    }

    /// Takes what others say of it, as far as it never said itself.
    pub(crate) fn fill(&mut self, listed: &Profile) {
        if self.role == ROLE_UNKNOWN
            && let Some(role) = &listed.role
        {
            self.role.clone_from(role);
        }
        if self.goal.is_none() {
            self.goal.clone_from(&listed.goal);
        }
        if self.capabilities.is_empty()
            && let Some(capabilities) = &listed.capabilities
        {
            self.capabilities.clone_from(capabilities);
        }
    }

    /// The hash of its token.
    pub(crate) fn token(&self) -> Option<Digest> {
        let hash = data_encoding::HEXLOWER
            .decode(self.token_sha256.as_deref()?.as_bytes())
            .ok()?;
        hash.try_into().ok()
    }

    pub(crate) fn set_token(&mut self, hash: &Digest) {
        self.token_sha256 = Some(data_encoding::HEXLOWER.encode(hash));
    }

    /// The record of it.
    pub(crate) fn put(&self, id: &SessionId) -> Change {
        Change::Put {
            key: key(id),
            owner: Some(id.shared()),
            scope: id.shared(),
            state: if self.is_connected {
                "online"
            } else {
                "offline"
            }
            .into(),
            due_us: None,
            fence: Fence::Keep,
            body: json(self),
        }
    }

    /// Reads it; nothing when the record cannot be understood.
    pub(crate) fn read(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }
}

pub(crate) fn key(id: &SessionId) -> Key {
    Key::new(SESSION, id.shared())
}

impl Profile {
    /// Whether it is as it has to be.
    pub(crate) fn check(&self) -> Result<(), Error> {
        text("role", self.role.as_deref())?;
        text("goal", self.goal.as_deref())?;
        let capabilities = self.capabilities.as_deref().unwrap_or_default();
        let fits = |name: &String| {
            (1..=CAPABILITY_CHARS_MAX).contains(&name.chars().count())
                && !name.chars().any(char::is_control)
        };
        if capabilities.len() > CAPABILITIES_MAX || !capabilities.iter().all(fits) {
            return Err(Error::Invalid {
                what: "capabilities",
                why: "must be at most 64 texts of 1 to 64 characters",
            });
        }
        Ok(())
    }
}

/// Whether a text for people is short enough.
pub(crate) fn text(what: &'static str, text: Option<&str>) -> Result<(), Error> {
    if text.is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX || text.contains('\0')) {
        return Err(Error::Invalid {
            what,
            why: "must be at most 500 characters without NUL",
        });
    }
    Ok(())
}
