//! Rows as they are stored, each with a seal over all of it, so that a changed bit is never served.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{
    Digest, Event, Family, Key, OnceEntry, Record, Seq, Source, Topic, commitment, leaf, sha256,
};
use sqlx::{Row, sqlite::SqliteRow};
use uuid::Uuid;

use super::once::key_of;
use crate::Damage;

/// The columns of an event, in the order that [`StoredEvent::decode`] reads them.
pub(crate) const EVENT_COLUMNS: &str = "e.seq, e.id, e.topic, e.source, e.time_us, e.seal, \
    CASE WHEN e.commitment IS NULL THEN e.salt ELSE e.commitment END, e.key, e.causes, e.payload";
/// The columns of a record, in the order that [`decode_record`] reads them.
pub(crate) const RECORD_COLUMNS: &str =
    "r.key, r.owner, r.scope, r.state, r.due_us, r.revision, r.fence, r.body, r.seal";
/// The columns of a once-key, in the order that [`decode_once`] reads them.
pub(crate) const ONCE_COLUMNS: &str =
    "o.name, o.name_rest, o.fingerprint, o.first, o.last, o.expires_us, o.seal";

/// A sequence as SQLite keeps it. Sequences end far below where the sign begins.
pub(crate) fn to_column(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

/// A sequence as it is kept.
pub(crate) fn from_column(seq: i64) -> Seq {
    Seq::new(u64::try_from(seq).unwrap_or(0))
}

/// What is stored beside an event: its leaf, cut to eight bytes, mixed with what the leaf does not cover.
/// Both steps are one to one, so no change of the number or the time alone goes unseen.
pub(crate) fn event_seal(leaf: &Digest, seq: Seq, time_us: i64) -> i64 {
    let mut word = [0; 8];
    word.copy_from_slice(&leaf[..8]);
    u64::from_le_bytes(word)
        .wrapping_add(seq.get().wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .rotate_left(29)
        .wrapping_add(time_us.cast_unsigned().wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .cast_signed()
}

/// An event as it is stored: names are numbers, and what was erased is absent.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) seq: Seq,
    id: Uuid,
    pub(crate) topic: i64,
    pub(crate) source: i64,
    pub(crate) time_us: i64,
    seal: i64,
    commitment: Digest,
    content: Option<Content>,
}

#[derive(Debug)]
struct Content {
    key: Option<Arc<str>>,
    causes: Bytes,
    payload: Bytes,
}

/// The columns of an event as they were read. Types are not checked: the seal covers the values.
pub(crate) struct EventColumns<'r> {
    pub(crate) seq: Seq,
    pub(crate) id: &'r [u8],
    pub(crate) topic: i64,
    pub(crate) source: i64,
    pub(crate) time_us: i64,
    pub(crate) seal: i64,
    /// The salt, or the commitment of an event whose content was erased.
    pub(crate) secret: &'r [u8],
    pub(crate) key: Option<&'r str>,
    pub(crate) causes: Option<&'r [u8]>,
    pub(crate) payload: Option<&'r [u8]>,
}

impl StoredEvent {
    /// Reads a row of [`EVENT_COLUMNS`].
    pub(crate) fn decode(row: &SqliteRow) -> Result<Self, Damage> {
        let seq = from_column(row.try_get_unchecked(0).unwrap_or(0));
        let columns = || {
            Some(EventColumns {
                seq,
                id: row.try_get_unchecked(1).ok()?,
                topic: row.try_get_unchecked(2).ok()?,
                source: row.try_get_unchecked(3).ok()?,
                time_us: row.try_get_unchecked(4).ok()?,
                seal: row.try_get_unchecked(5).ok()?,
                secret: row.try_get_unchecked(6).ok()?,
                key: row.try_get_unchecked(7).ok()?,
                causes: row.try_get_unchecked(8).ok()?,
                payload: row.try_get_unchecked(9).ok()?,
            })
        };
        columns()
            .and_then(|columns| Self::new(&columns))
            .ok_or(Damage::Event { seq: seq.get() })
    }

    /// The event with these columns; nothing if it cannot have them.
    pub(crate) fn new(columns: &EventColumns<'_>) -> Option<Self> {
        let key = columns.key;
        let (commitment, content) = match (columns.causes, columns.payload) {
            (Some(causes), Some(payload)) => {
                let content = Content {
                    key: key.map(Into::into),
                    causes: Bytes::copy_from_slice(causes),
                    payload: Bytes::copy_from_slice(payload),
                };
                let salt = columns.secret.try_into().ok()?;
                (commitment(salt, key, causes, payload), Some(content))
            }
            (None, None) if key.is_none() => (columns.secret.try_into().ok()?, None),
            _ => return None,
        };
        Some(Self {
            seq: columns.seq,
            id: Uuid::from_slice(columns.id).ok()?,
            topic: columns.topic,
            source: columns.source,
            time_us: columns.time_us,
            seal: columns.seal,
            commitment,
            content,
        })
    }

    /// Checks everything that was stored of the event; gives what it adds to its batch's hash.
    pub(crate) fn check(&self, topic: &Topic, source: &Source) -> Result<Digest, Damage> {
        let leaf = leaf(self.id, topic, source, &self.commitment);
        if event_seal(&leaf, self.seq, self.time_us) == self.seal {
            Ok(leaf)
        } else {
            Err(Damage::Event {
                seq: self.seq.get(),
            })
        }
    }

    /// The event that readers get.
    pub(crate) fn into_event(self, topic: Topic, source: Source) -> Event {
        let (key, causes, payload) = match self.content {
            Some(content) => (content.key, content.causes, content.payload),
            None => (
                None,
                Bytes::from_static(b"null"),
                Bytes::from_static(b"null"),
            ),
        };
        Event {
            seq: self.seq,
            id: self.id,
            topic,
            source,
            key,
            time_us: self.time_us,
            causes,
            payload,
        }
    }
}

/// Collects fields, each with its length before it, for a seal.
struct Seal(Vec<u8>);

impl Seal {
    fn field(mut self, bytes: Option<&[u8]>) -> Self {
        // An absent field differs from an empty one.
        let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes.unwrap_or_default());
        self
    }

    fn number(self, number: Option<i64>) -> Self {
        let bytes = number.map(i64::to_le_bytes);
        self.field(bytes.as_ref().map(<[u8; 8]>::as_slice))
    }

    fn finish(self) -> i64 {
        let mut word = [0; 8];
        word.copy_from_slice(&sha256(&self.0)[..8]);
        i64::from_le_bytes(word)
    }
}

/// The seal of a record.
pub(crate) fn record_seal(record: &Record) -> i64 {
    seal_of(record.key.family.as_str(), record)
}

/// The family is given apart, because one that nobody names any more has no [`Family`].
fn seal_of(family: &str, record: &Record) -> i64 {
    Seal(Vec::with_capacity(160 + record.body.len()))
        .field(Some(family.as_bytes()))
        .field(Some(record.key.key.as_bytes()))
        .field(record.owner.as_deref().map(str::as_bytes))
        .field(Some(record.scope.as_bytes()))
        .field(Some(record.state.as_bytes()))
        .number(record.due_us)
        .number(Some(record.revision.cast_signed()))
        .number(record.fence.map(to_column))
        .field(Some(&record.body))
        .finish()
}

/// Reads and checks a row of [`RECORD_COLUMNS`].
pub(crate) fn decode_record(family: Family, row: &SqliteRow) -> Result<Record, Damage> {
    read_record(family, row)
        .filter(|record| row.try_get_unchecked(8).ok() == Some(record_seal(record)))
        .ok_or_else(|| damaged_record(family.as_str(), row))
}

/// Checks a row of [`RECORD_COLUMNS`] of a family whose name is only stored.
pub(crate) fn check_record(family: &str, row: &SqliteRow) -> Result<(), Damage> {
    read_record(Family::new(""), row)
        .filter(|record| row.try_get_unchecked(8).ok() == Some(seal_of(family, record)))
        .map(|_| ())
        .ok_or_else(|| damaged_record(family, row))
}

fn read_record(family: Family, row: &SqliteRow) -> Option<Record> {
    Some(Record {
        key: Key::new(family, row.try_get_unchecked::<&str, _>(0).ok()?),
        owner: row
            .try_get_unchecked::<Option<&str>, _>(1)
            .ok()?
            .map(Into::into),
        scope: row.try_get_unchecked::<&str, _>(2).ok()?.into(),
        state: row.try_get_unchecked::<&str, _>(3).ok()?.into(),
        due_us: row.try_get_unchecked(4).ok()?,
        revision: row.try_get_unchecked::<i64, _>(5).ok()?.cast_unsigned(),
        fence: row
            .try_get_unchecked::<Option<i64>, _>(6)
            .ok()?
            .map(from_column),
        body: Bytes::copy_from_slice(row.try_get_unchecked(7).ok()?),
    })
}

fn damaged_record(family: &str, row: &SqliteRow) -> Damage {
    Damage::Record {
        family: family.into(),
        key: String::from_utf8_lossy(row.try_get_unchecked(0).unwrap_or_default()).into_owned(),
    }
}

/// The seal of a once-key.
pub(crate) fn once_seal(entry: &OnceEntry) -> i64 {
    let (first, last) = entry.range.unzip();
    Seal(Vec::with_capacity(128))
        .field(Some(&entry.key))
        .field(entry.fingerprint.as_ref().map(<[u8; 32]>::as_slice))
        .number(first.map(to_column))
        .number(last.map(to_column))
        .number(entry.expires_us)
        .finish()
}

/// The seal of a part of the filter of names, over what is said of it and its bits.
pub(crate) fn filter_seal(about: &[i64], bits: &[u8]) -> i64 {
    let seal = Seal(Vec::with_capacity(128 + bits.len()));
    let seal = about.iter().fold(seal, |seal, n| seal.number(Some(*n)));
    seal.field(Some(bits)).finish()
}

/// Reads and checks a row of [`ONCE_COLUMNS`].
pub(crate) fn decode_once(row: &SqliteRow) -> Result<OnceEntry, Damage> {
    let read = || {
        let (name, rest) = (
            row.try_get_unchecked(0).ok()?,
            row.try_get_unchecked(1).ok()?,
        );
        let fingerprint: Option<&[u8]> = row.try_get_unchecked(2).ok()?;
        let first: Option<i64> = row.try_get_unchecked(3).ok()?;
        let last: Option<i64> = row.try_get_unchecked(4).ok()?;
        Some(OnceEntry {
            key: key_of(name, rest),
            fingerprint: fingerprint.map(TryInto::try_into).transpose().ok()?,
            range: first.map(from_column).zip(last.map(from_column)),
            expires_us: row.try_get_unchecked(5).ok()?,
        })
    };
    read()
        .filter(|entry| row.try_get_unchecked(6).ok() == Some(once_seal(entry)))
        .ok_or(Damage::Once)
}
