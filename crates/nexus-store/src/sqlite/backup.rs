//! A copy of the whole log in one file, made while the log is in use.
//!
//! SQLite makes it (`VACUUM INTO`), on a connection that cannot write, from the one moment at which it began.
//! SQLite's backup API begins again whenever another process commits, so that a busy log would never be copied.
//! Files that are copied under a read transaction rest on how the write-ahead log works inside, and take along
//! what was removed and still stands in free pages.
//!
//! As long as it takes, the write-ahead log cannot begin again, and grows by what is written.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use nexus_core::{Fault, Random};
use rustix::fs::{CWD, RenameFlags, renameat_with, statvfs};
use sqlx::{Connection, SqliteConnection};

use super::{
    ballast::Ballast,
    connect,
    fault::classify,
    file::{SUFFIXES, failed, remove, sync, sync_folder, with_suffix},
    lock::folder,
    schema::{self, APPLICATION_ID},
    verify::{self, Verified, structural},
};
use crate::Error;

/// Beside a copy on the log's own disk, so much is left to the log, in bytes.
const LEFT_TO_THE_LOG_BYTES: u64 = 64 << 20;
/// How often it is told how much is copied.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// The name of a copy that is being made ends so, behind some random digits.
const PARTIAL: &str = ".partial";

/// How far a copy of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is being written.
    Copying {
        /// So much of it is there.
        bytes: u64,
        /// So large it becomes, about.
        bytes_total: u64,
    },
    /// It is there, and is being proved.
    Checking,
}

/// A backup that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// What is in it.
    pub verified: Verified,
    /// The size of the file.
    pub bytes: u64,
}

/// Copies a log into a file.
pub(crate) async fn backup(
    database: &Path,
    to: &Path,
    replace: bool,
    random: &Random,
    mut told: impl FnMut(Progress),
) -> Result<Backup, Error> {
    let to = absolute(to).map_err(failed("find", to))?;
    if is_file_of(database, &to) {
        return Err(Error::Itself { path: to });
    }
    if to.is_dir() {
        let error = io::ErrorKind::IsADirectory.into();
        return Err(failed("write", &to)(error));
    }
    if !replace && to.exists() {
        return Err(Error::Exists { path: to });
    }
    // SQLite would take what somebody's database left there for a part of the copy.
    for suffix in &SUFFIXES[1..] {
        let path = with_suffix(&to, suffix);
        if path.exists() {
            return Err(Error::Exists { path });
        }
    }
    let partial = Partial::create(&to, random)?;
    let spare = if is_on_one_disk(database, &to) {
        LEFT_TO_THE_LOG_BYTES
    } else {
        0
    };
    copy(database, &partial.path, spare, &mut told).await?;
    told(Progress::Checking);
    let verified = verify::verify(&partial.path).await?;
    let file = fs::metadata(&partial.path).map_err(failed("read", &partial.path))?;
    partial.finish(replace)?;
    Ok(Backup {
        verified,
        bytes: file.len(),
    })
}

/// Copies a log into an empty file, and syncs it. `spare_bytes` are to be free beside it.
pub(crate) async fn copy(
    from: &Path,
    to: &Path,
    spare_bytes: u64,
    told: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    let mut source = connect::reader(from)
        .await
        .map_err(|error| structural(error, "be opened"))?;
    let copied = copy_from(&mut source, from, to, spare_bytes, told).await;
    // It only read, so nothing depends on how it closes.
    let _ = source.close().await;
    copied?;
    let to = to.to_owned();
    let synced = tokio::task::spawn_blocking(move || sync(&to)).await;
    synced.unwrap_or_else(|panicked| {
        let what = "be synced";
        let source = Box::new(panicked);
        Err(Error::Database { what, source })
    })
}

async fn copy_from(
    source: &mut SqliteConnection,
    from: &Path,
    to: &Path,
    spare_bytes: u64,
    told: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    let mark: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *source)
        .await
        .map_err(|error| structural(error, "tell whose it is"))?;
    if mark != i64::from(APPLICATION_ID) {
        return Err(Error::NotOurs { path: from.into() });
    }
    schema::check(source).await?;
    let bytes_total = size(source).await?;
    let bytes_needed = bytes_total + spare_bytes;
    if free_bytes(to)?.is_some_and(|free| free < bytes_needed) {
        return Err(no_space(to, bytes_needed));
    }
    vacuum(source, to, bytes_total, told).await
}

/// Has SQLite write the copy, and tells how far it is meanwhile.
async fn vacuum(
    source: &mut SqliteConnection,
    to: &Path,
    bytes_total: u64,
    told: &mut impl FnMut(Progress),
) -> Result<(), Error> {
    let name = to.to_str().ok_or_else(|| {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "its name is not UTF-8");
        failed("write", to)(error)
    })?;
    let copying = sqlx::query("VACUUM INTO ?1").bind(name).execute(source);
    tokio::pin!(copying);
    let mut tick = tokio::time::interval(TOLD_EVERY);
    let copied = loop {
        tokio::select! {
            copied = &mut copying => break copied,
            _ = tick.tick() => {
                let bytes = fs::metadata(to).map_or(0, |file| file.len());
                told(Progress::Copying { bytes, bytes_total });
            }
        }
    };
    match copied {
        Ok(_) => Ok(()),
        Err(error) => match classify(&error, || Ballast::new(to, 0).is_disk_full()) {
            Fault::Full => Err(no_space(to, bytes_total)),
            Fault::Fatal | Fault::Transient => Err(structural(error, "be copied")),
        },
    }
}

fn no_space(to: &Path, bytes: u64) -> Error {
    let path = folder(to).into();
    Error::NoSpace { path, bytes }
}

/// How large a copy becomes, about: it has no free pages.
async fn size(source: &mut SqliteConnection) -> Result<u64, Error> {
    let sizes: (i64, i64, i64) = sqlx::query_as(
        "SELECT page_count, freelist_count, page_size \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(source)
    .await
    .map_err(|error| structural(error, "tell its size"))?;
    let (pages, free, page_bytes) = sizes;
    Ok((pages - free).max(0).cast_unsigned() * page_bytes.cast_unsigned())
}

/// What is free on the disk of a file; nothing where the file system does not say.
fn free_bytes(path: &Path) -> Result<Option<u64>, Error> {
    let folder = folder(path);
    let disk = statvfs(folder).map_err(|error| failed("ask", folder)(error.into()))?;
    Ok((disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize)))
}

fn is_on_one_disk(database: &Path, to: &Path) -> bool {
    let disk = |path| fs::metadata(folder(path)).ok().map(|folder| folder.dev());
    disk(database) == disk(to)
}

/// Whether a name is that of one of a log's files, whatever way it is written.
pub(crate) fn is_file_of(database: &Path, path: &Path) -> bool {
    let named = |path: &Path| Some((folder(path).canonicalize().ok()?, path.file_name()?.into()));
    let inode = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    };
    let is = |file: &Path| {
        let same_name =
            named(path).is_some_and(|name: (PathBuf, PathBuf)| Some(name) == named(file));
        same_name || inode(path).is_some_and(|own| Some(own) == inode(file))
    };
    let of_database = SUFFIXES.map(|suffix| with_suffix(database, suffix));
    let beside = ["nexus.lock", "nexus.ballast"].map(|name| folder(database).join(name));
    of_database.iter().chain(&beside).any(|file| is(file))
}

/// Gives a file another name, which nothing may have.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), Error> {
    use rustix::io::Errno;
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot promise it.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !to.exists() => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(Errno::EXIST.into()),
        renamed => renamed.map_err(Into::into),
    };
    renamed.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: to.into() },
        _ => failed("rename", from)(error),
    })
}

/// A backup that is being made, under a name of its own beside the one that it will have. It is removed
/// unless it is finished.
struct Partial {
    path: PathBuf,
    to: PathBuf,
    is_finished: bool,
}

impl Partial {
    /// An empty file that only its owner can read. What others left that were killed is removed; whoever
    /// still writes the same backup will not be able to give it its name.
    fn create(to: &Path, random: &Random) -> Result<Self, Error> {
        remove_left(to)?;
        let digits = u32::from_le_bytes(random.bytes());
        let path = with_suffix(to, &format!(".{digits:08x}{PARTIAL}"));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("create", &path))?;
        Ok(Self {
            path,
            to: to.into(),
            is_finished: false,
        })
    }

    /// Gives it its name, durably.
    fn finish(mut self, replace: bool) -> Result<(), Error> {
        if replace {
            fs::rename(&self.path, &self.to).map_err(failed("rename", &self.path))?;
        } else {
            rename_new(&self.path, &self.to)?;
        }
        self.is_finished = true;
        sync_folder(&self.to)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_finished {
            // Why it was not finished is what is told.
            let _ = remove(&self.path);
        }
    }
}

/// Removes backups under this name that were never finished.
fn remove_left(to: &Path) -> Result<(), Error> {
    let folder = folder(to);
    let entries = fs::read_dir(folder).map_err(failed("read", folder))?;
    for entry in entries.map_while(Result::ok) {
        if to
            .file_name()
            .is_some_and(|to| is_partial_of(to, &entry.file_name()))
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn is_partial_of(to: &OsStr, name: &OsStr) -> bool {
    let digits = name
        .as_encoded_bytes()
        .strip_prefix(to.as_encoded_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
        .and_then(|rest| rest.strip_suffix(PARTIAL.as_bytes()));
    digits.is_some_and(|digits| digits.len() == 8 && digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A disk that holds less than a copy needs, as long as this lives.
    struct TinyDisk(tempfile::TempDir);

    impl TinyDisk {
        fn mount() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
            let mounted = mount.arg(folder.path()).output();
            mounted
                .is_ok_and(|mounted| mounted.status.success())
                .then(|| Self(folder))
        }
    }

    impl Drop for TinyDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
        }
    }

    /// Others write to the disk too, so that what was free may be gone.
    #[tokio::test]
    async fn a_disk_that_becomes_full_in_the_middle_is_told_as_one() {
        let Some(disk) = TinyDisk::mount() else {
            assert!(std::env::var_os("NEXUS_REQUIRE_ALL").is_none());
            println!("left out: a disk cannot be mounted here");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let mut source = connect::writer(&folder.path().join("x.db"), true)
            .await
            .unwrap();
        for sql in [
            "CREATE TABLE t (x BLOB)",
            "INSERT INTO t VALUES (randomblob(4000000))",
        ] {
            sqlx::query(sql).execute(&mut source).await.unwrap();
        }
        let to = disk.0.path().join("backup.db");
        let partial = Partial::create(&to, &Random::system()).unwrap();
        let full = vacuum(&mut source, &partial.path, 4_000_000, &mut |_| {}).await;
        assert!(matches!(full, Err(Error::NoSpace { .. })), "{full:?}");
        drop(partial);
        assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0);
        // The connection is as good as before.
        let to = folder.path().join("backup.db");
        vacuum(&mut source, &to, 4_000_000, &mut |_| {})
            .await
            .unwrap();
    }

    #[test]
    fn only_what_is_ours_is_taken_for_an_unfinished_backup() {
        let is_partial = |name: &str| is_partial_of(OsStr::new("x.db"), OsStr::new(name));
        assert!(is_partial("x.db.0a1b2c3d.partial"));
        for other in [
            "x.db",
            "x.db.partial",
            "x.db.0a1b2c3.partial",
            "x.db.0a1b2c3g.partial",
            "x.db.0a1b2c3d.partial-journal",
            "yx.db.0a1b2c3d.partial",
        ] {
            assert!(!is_partial(other), "{other}");
        }
    }
}
