//! What is done with the database while no daemon runs.

use nexus_store::{Sqlite, Verified};

use crate::{Error, config::Config};

/// Brings the database to a schema version, by default the newest, and gives the version it has now.
///
/// # Errors
/// [`Error::Store`].
pub async fn migrate(config: &Config, to: Option<i64>) -> Result<i64, Error> {
    Sqlite::migrate(&config.storage.database_path(), to)
        .await
        .map_err(Error::Store)
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
