//! What an error of SQLite says of the storage: by its number, never by its text.

use nexus_core::{Fault, Outcome, WriteError};

/// Primary result codes (the lowest byte of every code).
mod primary {
    pub(super) const NOMEM: i32 = 7;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const NOTADB: i32 = 26;
}

/// Extended codes of `IOERR` that an exhausted quota or a full disk may stand behind.
const IOERR_WRITE: i32 = 778;
const IOERR_SHMSIZE: i32 = 4874;
const IOERR_SHMMAP: i32 = 5386;
/// Extended codes of `IOERR` that speak of locks and memory, not of what was written.
const IOERR_LOCKS: [i32; 4] = [2058, 2314, 3594, 3850];

/// The extended result code, if SQLite gave one.
pub(crate) fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Whether what is stored cannot be read as a database.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| matches!(code & 0xff, primary::CORRUPT | primary::NOTADB))
}

/// What a failure to write says. `is_disk_full` is asked only where the code leaves it open.
pub(crate) fn classify(error: &sqlx::Error, is_disk_full: impl FnOnce() -> bool) -> Fault {
    let Some(code) = code(error) else {
        // The connection's thread is gone, or a file could not be opened.
        return Fault::Transient;
    };
    match code & 0xff {
        primary::FULL => Fault::Full,
        primary::IOERR if matches!(code, IOERR_WRITE | IOERR_SHMSIZE | IOERR_SHMMAP) => {
            if is_disk_full() {
                Fault::Full
            } else {
                Fault::Fatal
            }
        }
        primary::IOERR if IOERR_LOCKS.contains(&code) => Fault::Transient,
        primary::IOERR
        | primary::CORRUPT
        | primary::NOTADB
        | primary::NOMEM
        | primary::READONLY => Fault::Fatal,
        _ => Fault::Transient,
    }
}

/// The error that the log hears.
pub(crate) fn write_error(
    fault: Fault,
    outcome: Outcome,
    source: impl Into<nexus_core::Cause>,
) -> WriteError {
    WriteError {
        outcome,
        fault,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, error::Error, fmt};

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;

    #[derive(Debug)]
    struct Coded(i32);

    impl fmt::Display for Coded {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "database disk image is full of misleading words")
        }
    }

    impl Error for Coded {}

    impl DatabaseError for Coded {
        fn message(&self) -> &str {
            "disk I/O error"
        }
        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.to_string().into())
        }
        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn every_code_has_its_fault() {
        for (code, disk_full, expected) in [
            (13, false, Fault::Full),
            (778, true, Fault::Full),
            (778, false, Fault::Fatal),
            (4874, true, Fault::Full),
            (1034, true, Fault::Fatal),
            (1290, false, Fault::Fatal),
            (1546, false, Fault::Fatal),
            (266, false, Fault::Fatal),
            (11, false, Fault::Fatal),
            (267, false, Fault::Fatal),
            (26, false, Fault::Fatal),
            (7, false, Fault::Fatal),
            (8, false, Fault::Fatal),
            (3850, false, Fault::Transient),
            (5, false, Fault::Transient),
            (517, false, Fault::Transient),
            (6, false, Fault::Transient),
            (9, false, Fault::Transient),
            (14, false, Fault::Transient),
            (1555, false, Fault::Transient),
        ] {
            let error = sqlx::Error::Database(Box::new(Coded(code)));
            assert_eq!(classify(&error, || disk_full), expected, "code {code}");
        }
        assert_eq!(
            classify(&sqlx::Error::WorkerCrashed, || false),
            Fault::Transient
        );
    }
}
