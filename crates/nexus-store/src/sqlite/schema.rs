//! The tables: migrations up and down, and the row that describes the log.

use nexus_core::{Digest, Epoch, Seq};
use sqlx::{
    Row, SqliteConnection,
    migrate::{MigrateError, Migrator},
};

use crate::{Damage, Error};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// What marks a database file as a log of Nexus: `NXLG`.
pub(crate) const APPLICATION_ID: u32 = 0x4e58_4c47;

/// Brings the tables to a version, or to the newest; gives the version that they have then.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    to: Option<i64>,
) -> Result<i64, Error> {
    let newest = MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    let to = to.unwrap_or(newest);
    if to != 0 && !MIGRATOR.version_exists(to) {
        return Err(Error::NoSuchMigration {
            version: to,
            newest,
        });
    }
    let applied = applied(connection).await?;
    if applied > newest {
        return Err(Error::TooNew { version: applied });
    }
    let result = if to < applied {
        MIGRATOR.undo(&mut *connection, to).await
    } else {
        MIGRATOR.run_to(to, &mut *connection).await
    };
    result.map_err(|error| match error {
        MigrateError::VersionMissing(version) => Error::TooNew { version },
        error => Error::Migration {
            source: Box::new(error),
        },
    })?;
    Ok(to)
}

/// The newest migration that the database has; zero if it has none.
async fn applied(connection: &mut SqliteConnection) -> Result<i64, Error> {
    let read = "tell which migrations it has";
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await
            .map_err(Error::database(read))?;
    if tables == 0 {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::database(read))
}

/// The row that describes the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) epoch: Epoch,
    pub(crate) pruned_seq: Seq,
    pub(crate) pruned_hash: Digest,
}

/// Describes the log as new, unless it is described already.
pub(crate) async fn describe(
    connection: &mut SqliteConnection,
    epoch: Epoch,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO meta (id, epoch, pruned_hash) VALUES (1, ?1, ?2)")
        .bind(i64::from(epoch.get()))
        .bind([0_u8; 32].as_slice())
        .execute(connection)
        .await?;
    Ok(())
}

/// Reads that row.
pub(crate) async fn meta(connection: &mut SqliteConnection) -> Result<Meta, Error> {
    let row = sqlx::query("SELECT epoch, pruned_seq, pruned_hash FROM meta WHERE id = 1")
        .fetch_optional(connection)
        .await
        .map_err(Error::database("describe the log"))?;
    row.and_then(|row| {
        Some(Meta {
            epoch: Epoch::new(u32::try_from(row.try_get::<i64, _>(0).ok()?).ok()?),
            pruned_seq: Seq::new(u64::try_from(row.try_get::<i64, _>(1).ok()?).ok()?),
            pruned_hash: row.try_get::<&[u8], _>(2).ok()?.try_into().ok()?,
        })
    })
    .ok_or(Error::Damaged(Damage::Meta))
}
