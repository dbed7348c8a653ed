//! How a log in SQLite is opened.

use std::path::PathBuf;

/// Where the database is, and how much it may take.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// The database file. It is created with its folder if there is none.
    pub path: PathBuf,
    /// At most this many pages are read at once; each takes one connection, opened when it is needed.
    pub readers_max: usize,
    /// Above this size, in bytes, the write-ahead log is cut as soon as no page is being read.
    pub wal_bytes_max: u64,
    /// The size, in bytes, of the file that is kept to make room when the disk is full.
    pub ballast_bytes: u64,
    /// At most so much memory, in bytes, says which idempotency keys are surely new, and twice that for
    /// moments. It takes two bytes a key, less with very many; a log without keys takes none.
    pub once_filter_bytes_max: usize,
}

impl SqliteOptions {
    /// The defaults, for this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            readers_max: 4,
            wal_bytes_max: 32 << 20,
            ballast_bytes: 16 << 20,
            once_filter_bytes_max: 32 << 20,
        }
    }
}
