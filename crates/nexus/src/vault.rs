//! What is done with the secrets in the log while no daemon runs.

use nexus_auth::{Rotation, Vault};
use nexus_core::{Catalogue, Clock, Log, LogOptions, Random};
use nexus_store::{Sqlite, SqliteOptions};

use crate::{Error, config::Config};

/// Seals every secret in the log anew with the configured key.
///
/// # Errors
/// [`Error::Store`], also when a daemon holds the data; [`Error::Vault`] when the keys do not fit what is
/// sealed.
pub async fn rotate(config: &Config) -> Result<Rotation, Error> {
    with_log(config, async |log| {
        let vault = Vault::open(log, config.vault_keys(), Random::system()).await?;
        vault.rotate().await
    })
    .await
}

/// Removes every secret from the log, so that it can be opened with another key: for a log whose key is lost.
/// Returns how many there were.
///
/// # Errors
/// [`Error::Store`], also when a daemon holds the data; [`Error::Vault`].
pub async fn forget(config: &Config) -> Result<usize, Error> {
    with_log(config, async |log| Vault::forget_everything(&log).await).await
}

async fn with_log<T>(
    config: &Config,
    work: impl AsyncFnOnce(Log) -> Result<T, nexus_auth::Error>,
) -> Result<T, Error> {
    let store = SqliteOptions::new(config.storage.database_path());
    let (clock, random) = (Clock::System, Random::system());
    let (backend, pages) = Sqlite::open(store, clock.clone(), random.clone())
        .await
        .map_err(Error::Store)?;
    // Nothing is published, so that it does not matter which events are declared.
    let options = LogOptions::default();
    let opened = Log::open(backend, pages, Catalogue::known(), options, clock, random).await;
    let (log, service) = opened.map_err(Error::Log)?;
    let writer = tokio::spawn(service.run());
    let done = work(log.clone()).await;
    log.close();
    match writer.await {
        Ok(Ok(())) => done.map_err(Error::Vault),
        Ok(Err(fatal)) => Err(Error::Storage(fatal)),
        Err(panic) => Err(Error::System {
            what: "running the log's writer",
            source: std::io::Error::other(panic),
        }),
    }
}
