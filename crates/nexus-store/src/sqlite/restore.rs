//! A copy becomes the log: it is made whole in a folder of its own, and takes its place by renaming.
//!
//! ```text
//! nexus-log.db.restore/copy.db       the copy, until it is whole and proved
//! nexus-log.db.restore/whole.db      its name from then on: now it will be the log, whatever happens
//! nexus-log.db.restore/before/       takes the files of the log that was there
//! nexus-log.db                       takes `whole.db`
//! nexus-log.db.before-restore-1/     takes `before`
//! ```
//!
//! A database and its write-ahead log cannot be replaced at one moment, and one without the other is damaged. So
//! whoever opens the log for writing, and finds `whole.db`, goes on from there first.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf, absolute},
};

use nexus_core::{Epoch, Random};
use sqlx::Connection;

use super::{
    backup::{Progress, copy, is_file_of, rename_new},
    connect,
    file::{self, SUFFIXES, failed, remove, sync, with_suffix},
    lock::{Lock, beside, folder},
    schema,
    verify::{self, Verified},
};
use crate::Error;

/// A log that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What is in it, with its new epoch.
    pub verified: Verified,
    /// The epoch that the copy had.
    pub epoch_before: Epoch,
    /// The folder that has the files of the log that was there, if one was.
    pub put_aside: Option<PathBuf>,
}

/// Restores a log; see [`crate::Sqlite::restore`].
pub(crate) async fn restore(
    from: &Path,
    database: &Path,
    replace: bool,
    random: &Random,
    mut told: impl FnMut(Progress),
) -> Result<Restored, Error> {
    let from = absolute(from).map_err(failed("find", from))?;
    let database = absolute(database).map_err(failed("find", database))?;
    if is_file_of(&database, &from) {
        return Err(Error::Itself { path: from });
    }
    file::check(&from)?;
    file::create_folder(&database)?;
    let _lock = Lock::take(&database)?;
    finish(&database)?;
    let is_there = SUFFIXES
        .iter()
        .any(|suffix| with_suffix(&database, suffix).exists());
    if is_there && !replace {
        return Err(Error::Exists { path: database });
    }
    let stage = Stage::of(&database);
    let made = stage.make(&from, &database, random, &mut told).await;
    let (verified, epoch_before) = match made {
        Ok(made) => made,
        Err(error) => {
            // Why it was not made is what is told.
            let _ = stage.clear();
            return Err(error);
        }
    };
    let lock = beside(&database, "nexus.lock");
    hand_over(&database, &[&stage.copy, &lock])?;
    stage.commit()?;
    let put_aside = finish(&database).map_err(|error| Error::Unfinished {
        path: database,
        source: Box::new(error),
    })?;
    Ok(Restored {
        verified,
        epoch_before,
        put_aside,
    })
}

/// Goes on with a restoration that was interrupted, if one was; gives where the log is that was there
/// before. Whoever calls this holds the lock, and nobody has the log open.
pub(crate) fn finish(database: &Path) -> Result<Option<PathBuf>, Error> {
    let database = &absolute(database).map_err(failed("find", database))?;
    let stage = Stage::of(database);
    if !stage.folder.exists() {
        return Ok(None);
    }
    if stage.whole.exists() {
        stage.replace(database)?;
    }
    let put_aside = stage.put_aside(database)?;
    stage.clear()?;
    Ok(put_aside)
}

/// Whether the files of a log are being replaced, or were when the process ended that did it.
pub(crate) fn is_pending(database: &Path) -> bool {
    Stage::of(database).whole.exists()
}

/// Refuses to read a log whose files do not fit each other.
pub(crate) fn refuse_pending(database: &Path) -> Result<(), Error> {
    if is_pending(database) {
        let path = database.into();
        return Err(Error::HalfRestored { path });
    }
    Ok(())
}

/// Where a copy is until it is the log.
struct Stage {
    folder: PathBuf,
    /// Until it is whole.
    copy: PathBuf,
    /// From then on.
    whole: PathBuf,
    /// What was the log before.
    before: PathBuf,
}

impl Stage {
    fn of(database: &Path) -> Self {
        let folder = with_suffix(database, ".restore");
        Self {
            copy: folder.join("copy.db"),
            whole: folder.join("whole.db"),
            before: folder.join("before"),
            folder,
        }
    }

    /// Makes and proves a log from a copy; gives the epoch that it had, too.
    async fn make(
        &self,
        from: &Path,
        database: &Path,
        random: &Random,
        told: &mut impl FnMut(Progress),
    ) -> Result<(Verified, Epoch), Error> {
        for folder in [&self.folder, &self.before] {
            create_folder(folder)?;
            // Whoever starts the daemon next may have to finish this.
            hand_over(database, &[folder])?;
        }
        remove(&self.copy)?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.copy)
            .map_err(failed("create", &self.copy))?;
        copy(from, &self.copy, 0, told).await?;
        let before = begin_anew(&self.copy, random).await?;
        told(Progress::Checking);
        let verified = verify::verify(&self.copy).await?;
        Ok((verified, before))
    }

    /// From here on the copy will be the log.
    fn commit(&self) -> Result<(), Error> {
        sync(&self.copy)?;
        fs::rename(&self.copy, &self.whole).map_err(failed("rename", &self.copy))?;
        sync(&self.folder)?;
        sync(folder(&self.folder))
    }

    /// Moves the files of the old log out of the way, then the new one to its place.
    fn replace(&self, database: &Path) -> Result<(), Error> {
        create_folder(&self.before)?;
        for suffix in SUFFIXES {
            let old = with_suffix(database, suffix);
            if old.exists() {
                let name = old.file_name().unwrap_or_default();
                rename_new(&old, &self.before.join(name))?;
            }
        }
        sync(&self.before)?;
        sync(&self.folder)?;
        sync(folder(database))?;
        rename_new(&self.whole, database)?;
        sync(folder(database))?;
        sync(&self.folder)
    }

    /// Gives what was the log before a name that lasts.
    fn put_aside(&self, database: &Path) -> Result<Option<PathBuf>, Error> {
        let is_empty = match fs::read_dir(&self.before) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(failed("read", &self.before)(error)),
        };
        if is_empty {
            return Ok(None);
        }
        for n in 1_u64.. {
            let aside = with_suffix(database, &format!(".before-restore-{n}"));
            match rename_new(&self.before, &aside) {
                Err(Error::Exists { .. }) => {}
                renamed => {
                    renamed?;
                    sync(folder(database))?;
                    return Ok(Some(aside));
                }
            }
        }
        Ok(None)
    }

    /// Removes what is of no use any more.
    fn clear(&self) -> Result<(), Error> {
        remove(&self.copy)?;
        for folder in [&self.before, &self.folder] {
            // What somebody else put there is left to them.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// Gives a log another epoch; returns the one that it had.
async fn begin_anew(database: &Path, random: &Random) -> Result<Epoch, Error> {
    let mut connection = connect::alone(database)
        .await
        .map_err(Error::database("be opened"))?;
    let before = schema::meta(&mut connection).await?.epoch;
    let mut epoch = before.get();
    while epoch == before.get() {
        epoch = u32::from_le_bytes(random.bytes());
    }
    sqlx::query("UPDATE meta SET epoch = ?1 WHERE id = 1")
        .bind(i64::from(epoch))
        .execute(&mut connection)
        .await
        .map_err(Error::database("take its new epoch"))?;
    connection
        .close()
        .await
        .map_err(Error::database("be closed"))?;
    Ok(before)
}

/// Makes a folder that only its owner can look into, unless it is there.
fn create_folder(path: &Path) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map_err(failed("create", path)),
    }
}

/// Gives what root made to the user whose log it is.
fn hand_over(database: &Path, made: &[&Path]) -> Result<(), Error> {
    let owner = |path: &Path| {
        let file = fs::metadata(path).map_err(failed("read", path))?;
        Ok::<_, Error>((file.uid(), file.gid()))
    };
    let of_log = if database.exists() {
        database
    } else {
        folder(database)
    };
    let wanted = owner(of_log)?;
    for &path in made {
        if owner(path)? != wanted
            && let Err(error) = chown(path, Some(wanted.0), Some(wanted.1))
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                path = %path.display(),
                "cannot be given to the user whose log it is"
            );
        }
    }
    Ok(())
}
