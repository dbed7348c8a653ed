//! What is done with the database beside the daemon, or while none runs.

use std::path::Path;

use nexus_core::{Backend, Clock, Random};
pub use nexus_store::{Backup, Progress, Restored, Verified};
use nexus_store::{Sqlite, SqliteOptions};

use crate::{Error, config::Config};

/// Brings the database to a schema version, by default the newest, and gives the version it has now. Without
/// a database it makes one, unless a version is named: so a deployment may migrate before its first start.
///
/// # Errors
/// [`Error::Store`].
pub async fn migrate(config: &Config, to: Option<i64>) -> Result<i64, Error> {
    let path = config.storage.database_path();
    if to.is_none() && !path.exists() {
        let options = SqliteOptions::new(&path);
        let (mut backend, _) = Sqlite::open(options, Clock::System, Random::system())
            .await
            .map_err(Error::Store)?;
        backend.close().await;
    }
    Sqlite::migrate(&path, to).await.map_err(Error::Store)
}

/// Walks the whole log and checks its hash chain.
///
/// # Errors
/// [`Error::Store`], also when the chain does not hold: it names the first bad place.
pub async fn verify(config: &Config) -> Result<Verified, Error> {
    Sqlite::verify(&config.storage.database_path())
        .await
        .map_err(Error::Store)
}

/// Walks a log that is no daemon's, such as a backup, and checks its hash chain.
///
/// # Errors
/// As [`verify`].
pub async fn verify_file(path: &Path) -> Result<Verified, Error> {
    Sqlite::verify(path).await.map_err(Error::Store)
}

/// Copies the log under `path` into one file, while a daemon uses it or while none does. A file that has this
/// name goes only with `replace`.
///
/// # Errors
/// [`Error::Taken`], [`Error::Backup`]: then nothing of it is there.
pub async fn backup(
    path: &Path,
    to: &Path,
    replace: bool,
    told: impl FnMut(Progress),
) -> Result<Backup, Error> {
    Sqlite::backup(path, to, replace, &Random::system(), told)
        .await
        .map_err(|error| taken(error, Error::Backup))
}

/// Makes a backup the log under `path`. A log that is there goes only with `replace`, and is kept beside it.
///
/// # Errors
/// [`Error::Taken`], [`Error::Restore`]: then the log is as it was, unless that says otherwise.
pub async fn restore(
    from: &Path,
    path: &Path,
    replace: bool,
    told: impl FnMut(Progress),
) -> Result<Restored, Error> {
    Sqlite::restore(from, path, replace, &Random::system(), told)
        .await
        .map_err(|error| taken(error, Error::Restore))
}

fn taken(error: nexus_store::Error, other: fn(nexus_store::Error) -> Error) -> Error {
    match error {
        nexus_store::Error::Exists { path } => Error::Taken { path },
        error => other(error),
    }
}
