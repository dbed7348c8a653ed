//! The database file before SQLite opens it: whether it is ours, and how a new one comes to be.

use std::{
    fs::{self, File},
    io::{self, Read},
    mem::ManuallyDrop,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{lock::folder, schema::APPLICATION_ID};
use crate::Error;

/// Of a folder that is made for a log.
const FOLDER_MODE: u32 = 0o700;
/// What every SQLite database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The fixed part of the first page.
const HEADER_BYTES: usize = 100;
/// Where in it the application's mark is.
const APPLICATION_ID_AT: usize = 68;

pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { what, path, source }
}

/// Makes the folder of the database, if it is not there: for the owner alone, because events lie in it in clear.
pub(crate) fn create_folder(database: &Path) -> Result<(), Error> {
    let folder = folder(database);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(failed("create", folder))
}

/// Refuses a file that is not a log of Nexus, without touching it. Must not run while this process has
/// the file open in SQLite: closing it here would drop SQLite's locks.
pub(crate) fn check(path: &Path) -> Result<(), Error> {
    let mut header = [0; HEADER_BYTES];
    let unreadable = |why| Error::Unreadable {
        path: path.into(),
        why,
    };
    let mut file = File::open(path).map_err(failed("open", path))?;
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(unreadable("it is shorter than a database can be"));
        }
        Err(error) => return Err(failed("read", path)(error)),
    }
    if !header.starts_with(MAGIC) {
        return Err(unreadable("it does not begin as a database does"));
    }
    let mark = &header[APPLICATION_ID_AT..APPLICATION_ID_AT + 4];
    if mark == APPLICATION_ID.to_be_bytes() {
        Ok(())
    } else {
        Err(Error::NotOurs { path: path.into() })
    }
}

/// The database file, to be synced and read ahead beside SQLite.
///
/// Whoever closes any handle of a file drops all locks that the process has on it, SQLite's too. So this one
/// is closed only by [`DataFile::close`], or else by the end of the process.
#[derive(Debug, Clone)]
pub(crate) struct DataFile(Arc<RwLock<ManuallyDrop<Option<File>>>>);

impl DataFile {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(failed("open", path))?;
        Ok(Self(Arc::new(RwLock::new(ManuallyDrop::new(Some(file))))))
    }

    /// Waits until everything that was written to it is on the disk.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        let file = self.clone();
        let sync = move || file.with(File::sync_data).unwrap_or(Ok(()));
        tokio::task::spawn_blocking(sync).await?
    }

    /// Uses it, unless it was closed.
    pub(crate) fn with<T>(&self, used: impl FnOnce(&File) -> T) -> Option<T> {
        self.0.read().as_ref().map(used)
    }

    /// Closes the file. Nobody in this process may have it open in SQLite any more.
    pub(crate) fn close(&self) {
        drop(self.0.write().take());
    }
}

/// What follows the name of a database in the names of its files.
pub(crate) const SUFFIXES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// A name that begins with that of a file.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes the files of a database that are there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    for suffix in SUFFIXES {
        let path = with_suffix(path, suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A database that is being made.
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    /// A name for it, with nothing under it: what an earlier attempt left is removed.
    pub(crate) fn new(database: &Path) -> Result<Self, Error> {
        let path = with_suffix(database, ".new");
        remove(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Gives it its name, durably.
    pub(crate) fn finish(self, database: &Path) -> Result<(), Error> {
        sync(&self.0)?;
        fs::rename(&self.0, database).map_err(failed("rename", &self.0))?;
        sync_folder(database)
    }
}

/// Makes the names of files in the database's folder durable. SQLite does so too when it makes its
/// write-ahead log, but passes over a failure.
pub(crate) fn sync_folder(database: &Path) -> Result<(), Error> {
    sync(folder(database))
}

/// Waits until a file, or the names in a folder, are on the disk.
pub(crate) fn sync(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_log_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let mut header = [0; HEADER_BYTES];
        fs::write(&path, b"").unwrap();
        assert!(matches!(check(&path), Err(Error::Unreadable { .. })));
        fs::write(&path, header).unwrap();
        assert!(matches!(check(&path), Err(Error::Unreadable { .. })));
        header[..16].copy_from_slice(MAGIC);
        fs::write(&path, header).unwrap();
        assert!(matches!(check(&path), Err(Error::NotOurs { .. })));
        header[68..72].copy_from_slice(&APPLICATION_ID.to_be_bytes());
        fs::write(&path, header).unwrap();
        check(&path).unwrap();
    }
}
