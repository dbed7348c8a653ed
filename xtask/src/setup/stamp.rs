//! From what something was installed: kept beside it, so that it is installed again only when that has changed.

use std::{fs, path::PathBuf};

use crate::error::{Error, Result};

/// Remembers from which files something was made.
pub(super) struct Stamp {
    path: PathBuf,
    sources: String,
}

impl Stamp {
    pub(super) fn of(path: PathBuf, sources: &[PathBuf]) -> Self {
        let sources = sources
            .iter()
            .filter_map(|source| fs::read_to_string(source).ok())
            .collect();
        Self { path, sources }
    }

    /// Whether it was made from what the files hold now.
    pub(super) fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|written| written == self.sources)
    }

    pub(super) fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.sources).map_err(|source| Error::write(&self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_a_source_changes() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("package.json");
        fs::write(&source, "1").unwrap();
        let stamp = || Stamp::of(folder.path().join("stamp"), std::slice::from_ref(&source));
        assert!(!stamp().is_current());
        stamp().write().unwrap();
        assert!(stamp().is_current());
        fs::write(&source, "2").unwrap();
        assert!(!stamp().is_current());
    }
}
