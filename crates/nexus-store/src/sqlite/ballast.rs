//! A file that takes up space, so that there is some to give back when the disk is full.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

use super::lock::beside;

/// Besides the ballast itself this much has to be free, in bytes, before a full disk counts as healed:
/// otherwise the next commit would find it full again.
const MARGIN_BYTES: u64 = 4 << 20;
/// How much is tried, in bytes, to find out whether a failed write means that the disk is full.
const PROBE_BYTES: u64 = 1 << 20;

/// The ballast of one database.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    probe: PathBuf,
    bytes: u64,
}

impl Ballast {
    pub(crate) fn new(database: &Path, bytes: u64) -> Self {
        Self {
            path: beside(database, "nexus.ballast"),
            probe: beside(database, "nexus.probe"),
            bytes,
        }
    }

    /// Gives its space back.
    pub(crate) fn drop_overboard(&self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(error = &error as &dyn std::error::Error, path = %self.path.display(), "cannot remove the ballast");
        }
    }

    /// Takes the space again; fails, and takes none, unless there is some to spare beyond it.
    pub(crate) fn load(&self) -> io::Result<()> {
        let loaded = fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes);
        if loaded {
            return Ok(());
        }
        let result = self.fill();
        if result.is_err() {
            self.drop_overboard();
        }
        result
    }

    fn fill(&self) -> io::Result<()> {
        let mut file = create(&self.path)?;
        take_space(&mut file, self.bytes + MARGIN_BYTES)?;
        file.set_len(self.bytes)?;
        file.sync_all()
    }

    /// Whether there is no space, as the file system itself says when it is asked for some. SQLite tells
    /// an exhausted quota and a broken disk with the same code.
    pub(crate) fn is_disk_full(&self) -> bool {
        let tried = create(&self.probe)
            .and_then(|mut file| take_space(&mut file, PROBE_BYTES).and_then(|()| file.sync_all()));
        let _ = fs::remove_file(&self.probe);
        tried.is_err_and(|error| is_full(&error))
    }
}

/// Whether the error says that space, or what a user may have of it, is exhausted.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
}

/// Makes the file take up `bytes` on the disk, not only in its size.
fn take_space(file: &mut File, bytes: u64) -> io::Result<()> {
    match fallocate(&*file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP) => {
            let block = [0; 64 << 10];
            let mut left = bytes;
            while left > 0 {
                let part = left.min(block.len() as u64);
                file.write_all(&block[..usize::try_from(part).unwrap_or(block.len())])?;
                left -= part;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballast_takes_space_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(&folder.path().join("x.db"), 1 << 20);
        ballast.load().unwrap();
        ballast.load().unwrap();
        let path = folder.path().join("nexus.ballast");
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
        assert!(!ballast.is_disk_full());
        ballast.drop_overboard();
        ballast.drop_overboard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
