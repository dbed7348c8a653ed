//! The files that tidy looks at: what git tracks or would track, else everything below a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    error::{Error, Result},
    process::stdout_of,
    tidy::source::Code,
};

/// Longer files are data, not text that someone wrote.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Folders that are never walked where there is no git to ask.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".git", "data"];

/// The text files of a repository.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust files: the code without comments, strings and unit tests.
    pub(crate) code: Option<Code>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut paths = if root.join(".git").exists() {
            tracked(root)?
        } else {
            let mut found = Vec::new();
            walk(root, &mut found).map_err(|source| Error::read(root, source))?;
            found
        };
        paths.sort();
        paths.dedup();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.extend(File::read(root, &path)?);
        }
        Ok(Self { files })
    }

    /// The Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Code)> {
        self.files
            .iter()
            .filter_map(|file| file.code.as_ref().map(|code| (file, code)))
    }

    pub(crate) fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// `None` for what is gone, too long or not text.
    fn read(root: &Path, path: &Path) -> Result<Option<Self>> {
        let full = root.join(path);
        let Ok(about) = fs::symlink_metadata(&full) else {
            return Ok(None);
        };
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            return Ok(None);
        }
        let bytes = fs::read(&full).map_err(|source| Error::read(&full, source))?;
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(None);
        };
        let path = path.to_string_lossy().replace('\\', "/");
        let code = path.ends_with(".rs").then(|| Code::of(&text));
        Ok(Some(Self { path, text, code }))
    }

    /// Whether it is compiled only for those who work on the crate: tests, benches, examples.
    pub(crate) fn is_dev(&self) -> bool {
        self.path
            .split('/')
            .any(|part| matches!(part, "tests" | "benches" | "examples" | "tests.rs"))
    }

    /// The folder of the package that it belongs to: `crates/nexus-core`, `xtask`.
    pub(crate) fn package(&self) -> Option<&str> {
        let depth = match self.path.split('/').next()? {
            "crates" | "bins" | "bench" | "examples" => 2,
            "xtask" => 1,
            _ => return None,
        };
        let (end, _) = self.path.match_indices('/').nth(depth - 1)?;
        Some(&self.path[..end])
    }
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = stdout_of(
        Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others"])
            .arg("--exclude-standard")
            .current_dir(root),
    )?;
    Ok(String::from_utf8_lossy(&listed)
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect())
}

fn walk(root: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if SKIPPED.iter().any(|skipped| name == *skipped) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                found.push(path.to_path_buf());
            }
        }
    }
    Ok(())
}
