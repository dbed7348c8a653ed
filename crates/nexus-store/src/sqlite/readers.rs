//! The reading connections, and the gate through which every page read goes.

use std::{
    ops::{Deref, DerefMut},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::connect;

/// A few connections that cannot write, opened when they are needed and kept.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    /// One permit for each page that may be read at once.
    gate: Semaphore,
    readers_max: u32,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, readers_max: usize) -> Arc<Self> {
        let readers_max = u32::try_from(readers_max.max(1)).unwrap_or(u32::MAX);
        Arc::new(Self {
            path,
            gate: Semaphore::new(readers_max as usize),
            readers_max,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Waits for its turn to read one page.
    pub(crate) async fn acquire(&self) -> Result<Reader<'_>, sqlx::Error> {
        let permit = self
            .gate
            .acquire()
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect::reader(&self.path).await?,
        };
        Ok(Reader {
            readers: self,
            connection: Some(connection),
            _permit: permit,
        })
    }

    /// Waits until no page is being read, and lets none begin while the answer is held.
    pub(crate) async fn pause(&self) -> Option<SemaphorePermit<'_>> {
        self.gate.acquire_many(self.readers_max).await.ok()
    }

    /// Ends reading for good.
    pub(crate) async fn close(&self) {
        // Whoever is reading ends first.
        let paused = self.pause().await;
        self.gate.close();
        drop(paused);
        let idle = std::mem::take(&mut *self.idle.lock());
        for connection in idle {
            // Nothing was written through it, so nothing can be lost.
            let _ = connection.close().await;
        }
    }
}

/// One connection, for one page.
pub(crate) struct Reader<'a> {
    readers: &'a Readers,
    connection: Option<SqliteConnection>,
    _permit: SemaphorePermit<'a>,
}

impl Reader<'_> {
    /// Does not use the connection again, after it failed.
    pub(crate) fn discard(mut self) {
        self.connection = None;
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !self.readers.gate.is_closed()
        {
            self.readers.idle.lock().push(connection);
        }
    }
}

#[allow(
    clippy::expect_used,
    reason = "the connection leaves only when the reader is dropped"
)]
impl Deref for Reader<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("until it is dropped")
    }
}

#[allow(
    clippy::expect_used,
    reason = "the connection leaves only when the reader is dropped"
)]
impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("until it is dropped")
    }
}
