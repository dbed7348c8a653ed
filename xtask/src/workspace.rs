//! Where the workspace and what is built from it are.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folders of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// Where the root `Cargo.toml` is.
    pub(crate) root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// This package's folder is in the workspace, and its binary in the target folder.
    pub(crate) fn find() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.parent().unwrap_or(package).to_path_buf();
        let target = env::current_exe()
            .ok()
            .and_then(|binary| Some(binary.parent()?.parent()?.to_path_buf()))
            .unwrap_or_else(|| root.join("target"));
        Self { root, target }
    }

    /// Where `--release` puts binaries.
    pub(crate) fn release_folder(&self) -> PathBuf {
        self.target.join("release")
    }

    /// Where `--profile dist` puts binaries.
    pub(crate) fn dist_folder(&self) -> PathBuf {
        self.target.join("dist")
    }

    /// Where set-up puts what it installs for the tests.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Where what is instrumented is built, and what the fuzzer finds.
    pub(crate) fn fuzz(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    /// Where the daemon runs while its functions are recorded.
    pub(crate) fn layout(&self) -> PathBuf {
        self.target.join("layout")
    }

    /// Where benchmarks keep their data: on the same disk as the workspace, because syncing is measured.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("bench")
    }
}
