//! The tables: migrations up and down, and the row that describes the log.

use nexus_core::{Digest, Epoch, Seq};
use sqlx::{
    Row, SqliteConnection,
    migrate::{Migrate, MigrateError, Migrator},
};

use crate::{Damage, Error};

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// Where the database keeps which of them it has.
const TABLE: &str = "_sqlx_migrations";

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
    if applied < to {
        let ups = MIGRATOR
            .iter()
            .filter(|step| step.migration_type.is_up_migration());
        for step in ups.filter(|step| applied < step.version && step.version <= to) {
            connection.apply(TABLE, step).await.map_err(failed)?;
        }
    } else {
        let downs = MIGRATOR
            .iter()
            .rev()
            .filter(|step| step.migration_type.is_down_migration());
        for step in downs.filter(|step| to < step.version && step.version <= applied) {
            connection.revert(TABLE, step).await.map_err(failed)?;
        }
    }
    Ok(to)
}

fn failed(error: MigrateError) -> Error {
    Error::Migration {
        source: Box::new(error),
    }
}

/// The newest migration that the database has; zero if it has none.
async fn applied(connection: &mut SqliteConnection) -> Result<i64, Error> {
    connection
        .ensure_migrations_table(TABLE)
        .await
        .map_err(failed)?;
    check(connection).await
}

/// Checks that each migration which the database has is one that is known here, and the same; gives the
/// newest. Only reads.
pub(crate) async fn check(connection: &mut SqliteConnection) -> Result<i64, Error> {
    let applied = connection
        .list_applied_migrations(TABLE)
        .await
        .map_err(failed)?;
    let mut newest = 0;
    for step in applied {
        let version = step.version;
        let known = MIGRATOR
            .iter()
            .find(|known| known.version == version && known.migration_type.is_up_migration())
            .ok_or(Error::TooNew { version })?;
        if known.checksum != step.checksum {
            return Err(failed(MigrateError::VersionMismatch(version)));
        }
        newest = version;
    }
    Ok(newest)
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
