//! The events of a page as one row: each column has the values of all of them, one behind the other.
//!
//! Handing a row from SQLite's thread to the reader's costs about as much as finding it, most of it for memory
//! that is allocated and freed value by value: measured, half of what a page of a thousand events took.

use nexus_core::Seq;
use sqlx::{Row, sqlite::SqliteRow};

use super::rows::{EventColumns, StoredEvent, from_column};
use crate::Damage;

/// The columns of all events `e`, in the order that [`PackedEvents::decode`] reads them. The blobs have
/// nothing between them: their lengths are in columns of their own, -1 for NULL, which is left out.
pub(crate) const PACKED_COLUMNS: &str = "group_concat(e.seq), group_concat(e.topic), \
    group_concat(e.source), group_concat(e.time_us), group_concat(e.seal), \
    group_concat(coalesce(octet_length(e.key), -1)), \
    group_concat(coalesce(octet_length(e.causes), -1)), \
    group_concat(coalesce(octet_length(e.payload), -1)), \
    CAST(group_concat(e.id, '') AS BLOB), \
    CAST(group_concat(CASE WHEN e.commitment IS NULL THEN e.salt ELSE e.commitment END, '') AS BLOB), \
    CAST(group_concat(e.key, '') AS BLOB), \
    CAST(group_concat(e.causes, '') AS BLOB), \
    CAST(group_concat(e.payload, '') AS BLOB)";
/// Where the first column behind these is.
pub(crate) const PACKED_COLUMNS_END: usize = 13;

const ID_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
const COMMITMENT_BYTES: usize = 32;

/// The events of such a row, in the order in which SQLite came to them.
///
/// What was damaged may have another length than it should, so that everything behind it is read from the
/// wrong place: the first event that is not what its seal says is the one.
#[derive(Debug)]
pub(crate) struct PackedEvents<'r> {
    seq: Numbers<'r>,
    topic: Numbers<'r>,
    source: Numbers<'r>,
    time_us: Numbers<'r>,
    seal: Numbers<'r>,
    key_bytes: Numbers<'r>,
    causes_bytes: Numbers<'r>,
    payload_bytes: Numbers<'r>,
    ids: Blobs<'r>,
    secrets: Blobs<'r>,
    keys: Blobs<'r>,
    causes: Blobs<'r>,
    payloads: Blobs<'r>,
}

impl<'r> PackedEvents<'r> {
    /// Reads a row of [`PACKED_COLUMNS`]; all of them are NULL where there are no events.
    pub(crate) fn decode(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let numbers = |column| Ok::<_, sqlx::Error>(Numbers(row.try_get_unchecked(column)?));
        let blobs = |column| {
            let blobs: Option<&[u8]> = row.try_get_unchecked(column)?;
            Ok::<_, sqlx::Error>(Blobs(blobs.unwrap_or_default()))
        };
        Ok(Self {
            seq: numbers(0)?,
            topic: numbers(1)?,
            source: numbers(2)?,
            time_us: numbers(3)?,
            seal: numbers(4)?,
            key_bytes: numbers(5)?,
            causes_bytes: numbers(6)?,
            payload_bytes: numbers(7)?,
            ids: blobs(8)?,
            secrets: blobs(9)?,
            keys: blobs(10)?,
            causes: blobs(11)?,
            payloads: blobs(12)?,
        })
    }

    fn event(&mut self, seq: Seq) -> Option<StoredEvent> {
        let key_bytes = self.key_bytes.next()?;
        let causes_bytes = self.causes_bytes.next()?;
        let payload_bytes = self.payload_bytes.next()?;
        let is_erased = causes_bytes < 0 && payload_bytes < 0;
        let secret_bytes = if is_erased {
            COMMITMENT_BYTES
        } else {
            SALT_BYTES
        };
        let key = self.keys.next_or_null(key_bytes)?;
        StoredEvent::new(&EventColumns {
            seq,
            id: self.ids.next(ID_BYTES)?,
            topic: self.topic.next()?,
            source: self.source.next()?,
            time_us: self.time_us.next()?,
            seal: self.seal.next()?,
            secret: self.secrets.next(secret_bytes)?,
            key: key.map(std::str::from_utf8).transpose().ok()?,
            causes: self.causes.next_or_null(causes_bytes)?,
            payload: self.payloads.next_or_null(payload_bytes)?,
        })
    }
}

impl Iterator for PackedEvents<'_> {
    type Item = Result<StoredEvent, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        // The number of a row cannot be anything else.
        let seq = from_column(self.seq.next()?);
        let event = self.event(seq);
        Some(event.ok_or(Damage::Event { seq: seq.get() }))
    }
}

/// Numbers with commas between them.
#[derive(Debug)]
struct Numbers<'r>(Option<&'r str>);

impl Numbers<'_> {
    fn next(&mut self) -> Option<i64> {
        let left = self.0?;
        let (number, left) = match left.split_once(',') {
            Some((number, left)) => (number, Some(left)),
            None => (left, None),
        };
        self.0 = left;
        number.parse().ok()
    }
}

/// Blobs without anything between them.
#[derive(Debug)]
struct Blobs<'r>(&'r [u8]);

impl<'r> Blobs<'r> {
    fn next(&mut self, length: usize) -> Option<&'r [u8]> {
        let (next, left) = self.0.split_at_checked(length)?;
        self.0 = left;
        Some(next)
    }

    /// The next one, if it is as long as its column says; a length below zero stands for none.
    fn next_or_null(&mut self, length: i64) -> Option<Option<&'r [u8]>> {
        match usize::try_from(length) {
            Ok(length) => self.next(length).map(Some),
            Err(_) => Some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_one_by_one() {
        let mut numbers = Numbers(Some("7,-1,9223372036854775807,x"));
        assert_eq!(numbers.next(), Some(7));
        assert_eq!(numbers.next(), Some(-1));
        assert_eq!(numbers.next(), Some(i64::MAX));
        assert_eq!(numbers.next(), None);
        assert_eq!(numbers.next(), None);
        assert_eq!(Numbers(None).next(), None);
    }

    #[test]
    fn a_blob_is_whole_or_absent() {
        let mut blobs = Blobs(b"\0abc");
        assert_eq!(blobs.next(2), Some(&b"\0a"[..]));
        assert_eq!(blobs.next_or_null(-1), Some(None));
        assert_eq!(blobs.next_or_null(0), Some(Some(&b""[..])));
        assert_eq!(blobs.next_or_null(3), None);
        assert_eq!(blobs.next_or_null(2), Some(Some(&b"bc"[..])));
        assert_eq!(blobs.next(1), None);
    }
}
