//! The contract of every backend, over SQLite and over the model itself.

use nexus_core::{Clock, Memory, Random};
use nexus_store::{Sqlite, SqliteBackend, SqliteOptions, SqlitePages};
use nexus_testkit::contract::Subject;
use tempfile::TempDir;

/// A log in a folder of its own.
struct InSqlite(TempDir);

impl Subject for InSqlite {
    type Backend = SqliteBackend;
    type Pages = SqlitePages;

    async fn open(&self, clock: Clock, random: Random) -> (SqliteBackend, SqlitePages) {
        let options = SqliteOptions::new(self.0.path().join("nexus-log.db"));
        Sqlite::open(options, clock, random).await.unwrap()
    }
}

impl Drop for InSqlite {
    /// Whatever a test did: what it leaves is a whole log.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let path = self.0.path().join("nexus-log.db");
        let verify = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(Sqlite::verify(&path))
        };
        let verified = std::thread::spawn(verify).join().unwrap();
        assert!(verified.is_ok(), "{verified:?}");
    }
}

/// A log in memory.
struct InMemory(Memory);

impl Subject for InMemory {
    type Backend = Memory;
    type Pages = Memory;

    async fn open(&self, _: Clock, _: Random) -> (Memory, Memory) {
        (self.0.clone(), self.0.clone())
    }
}

mod sqlite {
    nexus_testkit::backend_contract!(super::InSqlite(tempfile::tempdir().unwrap()));
}

mod memory {
    nexus_testkit::backend_contract!(super::InMemory(nexus_core::Memory::new(
        &nexus_core::Random::system()
    )));
}
