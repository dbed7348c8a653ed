//! The lock that keeps a second process away from the log.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Seek, Write},
    path::{Path, PathBuf},
};

use crate::Error;

/// Holds the lock of a folder until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Locks the folder that the database is in.
    pub(crate) fn take(database: &Path) -> Result<Self, Error> {
        let path = beside(database, "nexus.lock");
        let io = |what| {
            let path = path.clone();
            move |source| Error::File { what, path, source }
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(io("lock")(source)),
        }
        // For people who wonder who holds it; the lock itself does not need it, so a full disk is no
        // reason not to start.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

/// A file in the folder of the database.
pub(crate) fn beside(database: &Path, name: &str) -> PathBuf {
    folder(database).join(name)
}

/// The folder of the database.
pub(crate) fn folder(database: &Path) -> &Path {
    match database.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
