//! What the agents use outside of this process, and whether it is there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Where something outside is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At an address, as everybody may see it: without user, path and query.
    Url(String),
    /// In a folder.
    Path(String),
}

/// Whether something outside can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Nobody said where it is; nothing is missed.
    NotConfigured,
    /// It was there when it was last used.
    Available,
    /// It was not.
    Unavailable,
}

/// Something outside of this process. Cheap to clone; who uses it says whether it is there, and every clone
/// knows.
#[derive(Debug, Clone)]
pub struct Dependency {
    name: &'static str,
    is_required: bool,
    place: Option<Place>,
    is_available: Arc<AtomicBool>,
}

impl Dependency {
    /// The registry that services register with.
    #[must_use]
    pub fn registry(url: Option<String>) -> Self {
        Self::new("registry", true, url.map(Place::Url))
    }

    /// The folder with the files of sessions.
    #[must_use]
    pub fn files(folder: Option<String>) -> Self {
        Self::new("ssot-filesystem", true, folder.map(Place::Path))
    }

    /// The chat that people read.
    #[must_use]
    pub fn chat(url: Option<String>) -> Self {
        Self::new("unified-chat", false, url.map(Place::Url))
    }

    fn new(name: &'static str, is_required: bool, place: Option<Place>) -> Self {
        Self {
            name,
            is_required,
            place,
            is_available: Arc::default(),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether its documents call it required. Nexus runs without.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Where it is; nothing if nobody said.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Whether it can be used. Until it was used for the first time it is not.
    #[must_use]
    pub fn availability(&self) -> Availability {
        match (&self.place, self.is_available.load(Ordering::Relaxed)) {
            (None, _) => Availability::NotConfigured,
            (Some(_), true) => Availability::Available,
            (Some(_), false) => Availability::Unavailable,
        }
    }

    /// Says whether it was there when it was last used.
    pub fn set_available(&self, is_available: bool) {
        self.is_available.store(is_available, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_knows_whether_it_is_there() {
        let registry = Dependency::registry(Some("http://localhost:8000".into()));
        let used = registry.clone();
        assert_eq!(registry.availability(), Availability::Unavailable);
        used.set_available(true);
        assert_eq!(registry.availability(), Availability::Available);
        let nowhere = Dependency::chat(None);
        nowhere.set_available(true);
        assert_eq!(nowhere.availability(), Availability::NotConfigured);
    }
}
