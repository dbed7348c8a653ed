//! The one error of this crate: why a log cannot be opened, migrated or verified.

use std::path::PathBuf;

use nexus_core::{Coded, Kind};

/// Why a database could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process has the log open.
    #[error("another process has the log open: {} is locked", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is a database of somebody else. It was not touched.
    #[error("{} is not a log of Nexus; it was left as it is", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file is no readable database. It was not touched, and is never replaced.
    #[error("{} is not a readable database ({why}); it was left as it is", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no database to migrate or verify.
    #[error("there is no log at {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is something under this name already, and it was not said that it may go.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A backup cannot be written into the log that it is of, nor a log be restored from itself.
    #[error("{} is a file of the log itself", path.display())]
    Itself {
        /// The file.
        path: PathBuf,
    },
    /// The disk has no space for a copy of the log. Nothing of it is left there.
    #[error("there is no space for it in {}: about {bytes} bytes are needed", path.display())]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// The size of the copy, and what the log is left beside it.
        bytes: u64,
    },
    /// A restoration was interrupted when the new log was about to take the place of the old one. Whoever
    /// opens the log for writing finishes it first.
    #[error("a restoration of {} was interrupted: start the daemon, or restore again", path.display())]
    HalfRestored {
        /// The file.
        path: PathBuf,
    },
    /// The copy will be the log, but something kept its files from being replaced.
    #[error("{} could not be replaced yet; start the daemon, or restore again", path.display())]
    Unfinished {
        /// The file.
        path: PathBuf,
        /// What was in the way.
        source: Box<Error>,
    },
    /// A newer version of Nexus has written the database.
    #[error(
        "the log was written by a newer version of Nexus (migration {version} is not known here)"
    )]
    TooNew {
        /// The migration that is not known here.
        version: i64,
    },
    /// There is no such migration.
    #[error("there is no migration {version}; the newest is {newest}")]
    NoSuchMigration {
        /// What was asked for.
        version: i64,
        /// What there is.
        newest: i64,
    },
    /// The linked SQLite can corrupt a database in WAL mode.
    #[error("SQLite {found} can corrupt a log; 3.51.3 or newer is needed")]
    SqliteTooOld {
        /// The linked version.
        found: String,
    },
    /// A setting that durability rests on was not taken.
    #[error("SQLite did not take the setting {name}: it is {found}, and has to be {wanted}")]
    Setting {
        /// The pragma.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        wanted: &'static str,
    },
    /// What is stored contradicts itself.
    #[error("the log is damaged: {0}")]
    Damaged(#[from] Damage),
    /// A file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A migration failed; the database is as it was before it.
    #[error("a migration failed")]
    Migration {
        /// What the database says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database refused.
    #[error("the database could not {what}")]
    Database {
        /// What was tried.
        what: &'static str,
        /// What the database says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// A refusal of the database, while something was tried.
    pub(crate) fn database(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database {
            what,
            source: Box::new(source),
        }
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Locked { .. } => Kind::Unavailable,
            _ => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "unavailable",
            _ => "internal",
        }
    }
}

/// The first place where what is stored contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The structure of the database file is broken.
    #[error("the structure of the file is broken: {detail}")]
    Structure {
        /// What SQLite's own check says.
        detail: String,
    },
    /// An event is not there.
    #[error("event {seq} is missing")]
    Missing {
        /// Its number.
        seq: u64,
    },
    /// An event that no batch has.
    #[error("event {seq} is behind the end of the log")]
    Unchained {
        /// Its number.
        seq: u64,
    },
    /// An event is not what was written.
    #[error("event {seq} was changed")]
    Event {
        /// Its number.
        seq: u64,
    },
    /// An event does not stand where its number says.
    #[error("event {seq} is out of order")]
    Order {
        /// Its number.
        seq: u64,
    },
    /// A batch does not begin where the one before it ends.
    #[error("the batch that ends with event {last} does not begin with event {expected}")]
    Gap {
        /// The batch.
        last: u64,
        /// Where it should begin.
        expected: u64,
    },
    /// The hash of a batch does not follow from the batch before it and its events.
    #[error("the hash of the batch that ends with event {last} does not match its events")]
    Chain {
        /// The batch.
        last: u64,
    },
    /// A record is not what was written.
    #[error("the record {family}/{key} was changed")]
    Record {
        /// What it is.
        family: String,
        /// Which one.
        key: String,
    },
    /// An idempotency key is not what was written.
    #[error("an idempotency key was changed")]
    Once,
    /// The row that describes the log is not there or has no sense.
    #[error("the description of the log is missing or has no sense")]
    Meta,
}
