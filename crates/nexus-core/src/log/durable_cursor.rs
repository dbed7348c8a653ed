//! Durable cursors: how far a reader has got, kept in the log under a name until it comes back.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Command, Log, RecordQuery, RecordsBy};
use crate::{
    Change, Error, Family, Fence, Guard, Key, Position, Principal, Record, Source, topic::shorten,
};

/// The name of a durable cursor has at most this many bytes.
pub const CURSOR_NAME_BYTES_MAX: usize = 100;
/// One owner has at most about this many durable cursors; a few more when they are made at one moment.
pub const CURSORS_PER_OWNER_MAX: usize = 1_000;

const FAMILY: Family = Family::new("durable_cursor");

/// How far a reader has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableCursor {
    /// Everything up to here is acknowledged. Of another epoch when the log was restored since.
    pub position: Position,
    /// Grows with each acknowledgement.
    pub revision: u64,
}

/// A durable cursor among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCursor {
    /// Whose it is.
    pub owner: Source,
    /// What its owner calls it.
    pub name: Arc<str>,
    /// How far it is.
    pub cursor: DurableCursor,
}

#[derive(Serialize, Deserialize)]
struct Body {
    position: String,
}

/// Which way a cursor may move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    Forward,
    Anywhere,
}

impl Log {
    /// The durable cursor of an owner with this name; nothing when it never acknowledged anything.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when this is no name of a cursor, [`Error::Read`].
    pub async fn durable_cursor(
        &self,
        owner: &Source,
        name: &str,
    ) -> Result<Option<DurableCursor>, Error> {
        let key = key(owner, name)?;
        self.record(&key).await?.as_ref().map(cursor).transpose()
    }

    /// Keeps that everything up to a position is acknowledged; returns after it is synced to disk. A
    /// position before what was acknowledged already changes nothing.
    ///
    /// ```
    /// # use nexus_core::{Error, Nexus, Principal, ProtocolEvent, Source};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let nexus = Nexus::in_memory().await?;
    /// # let payment = r#"{"transactionId":"tx-1","amount":1250,"payerId":"payer-7"}"#;
    /// # let payment = nexus.event(ProtocolEvent::PaymentReceived, payment);
    /// # let receipt = nexus.dispatch(&Principal::nexus(), payment).await?;
    /// let (log, billing) = (nexus.log(), Source::node("billing"));
    /// log.acknowledge(&billing, "orders", receipt.position()).await?;
    ///
    /// // After a restart of the reader.
    /// let kept = log.durable_cursor(&billing, "orders").await?;
    /// assert_eq!(kept.map(|cursor| cursor.position), Some(receipt.position()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidName`] when this is no name of a cursor, [`Error::UnknownPosition`] when the
    /// position is of another epoch or the log does not go so far, [`Error::TooMany`] when the owner has
    /// [`CURSORS_PER_OWNER_MAX`] cursors already, and what the storage says.
    pub async fn acknowledge(
        &self,
        owner: &Source,
        name: &str,
        position: Position,
    ) -> Result<(), Error> {
        self.move_cursor(owner, name, position, Move::Forward).await
    }

    /// Puts a durable cursor to a position, backwards too: what follows it is read once more.
    ///
    /// # Errors
    /// As [`Log::acknowledge`].
    pub async fn reset_durable_cursor(
        &self,
        owner: &Source,
        name: &str,
        position: Position,
    ) -> Result<(), Error> {
        self.move_cursor(owner, name, position, Move::Anywhere)
            .await
    }

    /// Forgets a durable cursor, so that it no longer keeps anything from being removed. Nothing happens
    /// if there is none.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when this is no name of a cursor, and what the storage says.
    pub async fn remove_durable_cursor(&self, owner: &Source, name: &str) -> Result<(), Error> {
        let command = Command {
            changes: vec![Change::Delete(key(owner, name)?)],
            ..Command::default()
        };
        self.submit(&Principal::nexus(), command).await?;
        Ok(())
    }

    /// Every durable cursor, by owner and name.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub async fn durable_cursors(&self) -> Result<Vec<NamedCursor>, Error> {
        self.cursors_by(None).await
    }

    /// Every durable cursor of an owner, by name.
    ///
    /// # Errors
    /// As [`Log::durable_cursors`].
    pub async fn durable_cursors_of(&self, owner: &Source) -> Result<Vec<NamedCursor>, Error> {
        self.cursors_by(Some(owner)).await
    }

    async fn cursors_by(&self, owner: Option<&Source>) -> Result<Vec<NamedCursor>, Error> {
        let mut pages = self.all_records(FAMILY, owner.map(|owner| owner.as_str().into()));
        let mut cursors = Vec::new();
        while let Some(page) = pages.next().await? {
            for record in &page {
                cursors.push(named(record)?);
            }
        }
        Ok(cursors)
    }

    async fn move_cursor(
        &self,
        owner: &Source,
        name: &str,
        position: Position,
        allowed: Move,
    ) -> Result<(), Error> {
        let key = key(owner, name)?;
        let end = self.stored();
        if position.epoch != end.epoch || position.seq > end.seq {
            return Err(Error::UnknownPosition { position, end });
        }
        loop {
            let found = self.record(&key).await?;
            let guard = match &found {
                Some(record) => {
                    let now = cursor(record)?.position;
                    let is_behind = now.epoch == position.epoch && now.seq >= position.seq;
                    if now == position || (is_behind && allowed == Move::Forward) {
                        return Ok(());
                    }
                    Guard::Revision(key.clone(), record.revision)
                }
                None => {
                    self.check_room(owner).await?;
                    Guard::Absent(key.clone())
                }
            };
            let command = Command {
                guards: vec![guard],
                changes: vec![put(&key, owner, position)],
                ..Command::default()
            };
            match self.submit(&Principal::nexus(), command).await {
                Ok(_) => return Ok(()),
                // Someone else moved it, which is progress: look again.
                Err(Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the owner may have one more.
    async fn check_room(&self, owner: &Source) -> Result<(), Error> {
        let query = RecordQuery {
            family: FAMILY,
            by: RecordsBy::Scope(owner.as_str().into()),
            after_key: None,
            records_max: CURSORS_PER_OWNER_MAX,
        };
        if self.records(&query).await?.len() >= CURSORS_PER_OWNER_MAX {
            return Err(Error::TooMany {
                what: "durable cursors",
                limit: CURSORS_PER_OWNER_MAX,
            });
        }
        Ok(())
    }
}

fn key(owner: &Source, name: &str) -> Result<Key, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > CURSOR_NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(Error::InvalidName {
            what: "cursor name",
            value: shorten(name),
            why: "it is 1 to 100 of A-Z, a-z, 0-9, `.`, `_` and `-`",
        });
    }
    // Retention reads every cursor: one that it could not read would hold the log for ever.
    owner.check()?;
    Ok(Key::new(FAMILY, format!("{owner}/{name}")))
}

fn put(key: &Key, owner: &Source, position: Position) -> Change {
    let owner: Arc<str> = owner.as_str().into();
    Change::Put {
        key: key.clone(),
        owner: Some(owner.clone()),
        scope: owner,
        state: "".into(),
        due_us: None,
        fence: Fence::Keep,
        body: Bytes::from(format!(r#"{{"position":"{position}"}}"#)),
    }
}

fn cursor(record: &Record) -> Result<DurableCursor, Error> {
    let body: Result<Body, _> = serde_json::from_slice(&record.body);
    let position = body.ok().and_then(|body| body.position.parse().ok());
    let Some(position) = position else {
        return Err(damaged(record));
    };
    Ok(DurableCursor {
        position,
        revision: record.revision,
    })
}

fn named(record: &Record) -> Result<NamedCursor, Error> {
    // A name has no slash, but an owner may.
    let (owner, name) = record
        .key
        .key
        .rsplit_once('/')
        .ok_or_else(|| damaged(record))?;
    Ok(NamedCursor {
        owner: Source::parse(owner)?,
        name: name.into(),
        cursor: cursor(record)?,
    })
}

fn damaged(record: &Record) -> Error {
    Error::Damaged {
        detail: format!("the record {} is no durable cursor", record.key),
    }
}
