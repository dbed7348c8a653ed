//! What is done with the database while no daemon runs.

use nexus_core::{Backend, Clock, Random};
use nexus_store::{Sqlite, SqliteOptions, Verified};

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
