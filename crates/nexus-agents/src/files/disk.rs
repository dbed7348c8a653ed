//! Files that appear whole or not at all, and are on the disk before anybody relies on them.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use crate::files::failpoint::Failpoint;

/// What is being written, in the folder that it is for. One writer has one at a time.
pub(crate) const TEMPORARY: &str = ".nexus-writing";
/// Until it has the rights of the file that it replaces, nobody else reads it: there may be tokens in it.
const MODE_OWN: u32 = 0o600;
/// The rights of a file that was not there before, as far as the process gives rights away.
const MODE_NEW: u32 = 0o644;

/// The disk, as the files of the bus use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    failpoint: Failpoint,
}

/// When a file was written: seconds and nanoseconds.
pub(crate) type Time = (i64, i64);

/// By what it is seen that a file is another, or was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    bytes: u64,
    pub(crate) modified: Time,
}

/// What was read from a file.
#[derive(Debug)]
pub(crate) struct Found {
    /// Still open: what somebody writes who opened it before it was replaced is written there.
    pub(crate) file: File,
    pub(crate) stamp: Stamp,
    pub(crate) bytes: Vec<u8>,
}

/// A file that is written, and has no name yet.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    failpoint: Failpoint,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays behind is removed before the next is written.
        if self.failpoint.pass().is_ok() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Stamp {
    /// How a file is now.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::of_metadata(&file.metadata()?))
    }

    fn of_metadata(metadata: &fs::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Disk {
    #[cfg(test)]
    pub(crate) fn failing(failpoint: Failpoint) -> Self {
        Self { failpoint }
    }

    /// How a file is now; nothing if there is none.
    pub(crate) fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Stamp::of_metadata(&metadata))),
            Err(error) => absent(error),
        }
    }

    /// Reads a file; nothing if there is none.
    pub(crate) fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Option<Found>> {
        match File::open(path) {
            Ok(mut file) => {
                let (stamp, bytes) = Self::read_open(&mut file, bytes_max)?;
                Ok(Some(Found { file, stamp, bytes }))
            }
            Err(error) => absent(error),
        }
    }

    /// Reads a file that is open, from its beginning: how it was before that, and what stands in it.
    pub(crate) fn read_open(file: &mut File, bytes_max: u64) -> io::Result<(Stamp, Vec<u8>)> {
        use std::io::{Seek, SeekFrom};
        let stamp = Stamp::of(file)?;
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        let mut bounded = file.take(bytes_max.saturating_add(1));
        bounded.read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
            let why = format!("it is larger than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok((stamp, bytes))
    }

    /// Puts a text in the place of a file, and tells how it is then: whoever reads it at any moment reads the one
    /// or the other. It keeps its rights, and stays where a link leads.
    pub(crate) fn replace(&self, path: &Path, text: &[u8]) -> io::Result<Stamp> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let before = fs::metadata(&path).ok();
        let mode = if before.is_some() { MODE_OWN } else { MODE_NEW };
        let staged = self.stage_as(folder_of(&path), text, mode)?;
        if let Some(before) = &before {
            self.failpoint.pass()?;
            // Only who may give files away can; for everybody else it is theirs already.
            let _ = chown(&staged.path, Some(before.uid()), Some(before.gid()));
            let mode = Permissions::from_mode(before.mode() & 0o7777);
            fs::set_permissions(&staged.path, mode)?;
        }
        self.failpoint.pass()?;
        // Before it has its name: nobody else wrote it yet.
        let stamp = Stamp::of_metadata(&fs::metadata(&staged.path)?);
        fs::rename(&staged.path, &path)?;
        self.sync_folder(folder_of(&path))?;
        Ok(stamp)
    }

    /// Writes a text that has no name yet, in the folder in which it will have one.
    pub(crate) fn stage(&self, folder: &Path, text: &[u8]) -> io::Result<Staged> {
        self.stage_as(folder, text, MODE_NEW)
    }

    fn stage_as(&self, folder: &Path, text: &[u8], mode: u32) -> io::Result<Staged> {
        let path = folder.join(TEMPORARY);
        self.failpoint.pass()?;
        // It may be a second name of a file that was published: that file must not be written to.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.failpoint.pass()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let mut file = options.open(&path)?;
        let staged = Staged {
            path,
            failpoint: self.failpoint.clone(),
        };
        self.failpoint.write(&mut file, text)?;
        self.failpoint.pass()?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Gives what is written a name, unless that is taken.
    pub(crate) fn publish(&self, staged: &Staged, name: &str) -> io::Result<bool> {
        let path = staged.path.with_file_name(name);
        self.failpoint.pass()?;
        match fs::hard_link(&staged.path, &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // Not every file system has second names.
            Err(_) if path.symlink_metadata().is_ok() => Ok(false),
            Err(_) => fs::rename(&staged.path, &path).map(|()| true),
        }
    }

    /// Makes sure of the names in a folder.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.failpoint.pass()?;
        File::open(folder)?.sync_all()
    }

    /// Makes a folder and those above it, as far as they are not there.
    pub(crate) fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.failpoint.pass()?;
        fs::create_dir_all(folder)?;
        self.sync_folder(folder_of(folder))
    }

    /// Copies a file to a name that is not taken.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.failpoint.pass()?;
        fs::copy(from, to)?;
        self.sync_folder(folder_of(to))
    }

    /// Removes a file that may be gone already.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.failpoint.pass()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A moment at which nothing is written, and the process may end all the same.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.failpoint.pass()
    }
}

fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(None)
    } else {
        Err(error)
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_rights_and_stays_where_its_link_leads() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (
            folder.path().join("real.json"),
            folder.path().join("link.json"),
        );
        fs::write(&real, "{}").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        Disk::default().replace(&link, b"{\"a\":1}").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"{\"a\":1}");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_again() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let first = disk.stage(folder.path(), b"first").unwrap();
        assert!(disk.publish(&first, "a.json").unwrap());
        // A process that ended here left the second name of `a.json` behind.
        std::mem::forget(first);
        let second = disk.stage(folder.path(), b"second").unwrap();
        assert!(!disk.publish(&second, "a.json").unwrap());
        assert!(disk.publish(&second, "b.json").unwrap());
        drop(second);
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(
            (read("a.json"), read("b.json")),
            ("first".into(), "second".into())
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        fs::write(&path, "12345").unwrap();
        let disk = Disk::default();
        assert_eq!(disk.read(&path, 5).unwrap().unwrap().bytes, b"12345");
        let refused = disk.read(&path, 4).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert!(disk.read(&folder.path().join("b"), 4).unwrap().is_none());
    }
}
