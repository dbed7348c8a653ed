//! Reading ahead: the system is asked for the blocks of a page's events all at once.
//!
//! SQLite asks for one block after the other, and waits for each that is not in memory: in a large log that took
//! longer than everything else about a page. Where the rows of a range lie is in the inner blocks of their tree,
//! each of which tells it of thousands of rows. They are read beside SQLite, from the file as it is: what is only
//! in the write-ahead log is not seen, and what is being copied may be seen half. So nothing rests on them: what
//! they tell wrongly costs a block that nobody wanted.

use std::{fs::File, num::NonZeroU64, ops::RangeInclusive, os::unix::fs::FileExt};

use nexus_core::Seq;
use rustix::fs::{Advice, fadvise};
use sqlx::SqliteConnection;

use super::{file::DataFile, rows::to_column};

/// Fewer rows lie in a few blocks, which are not worth the question.
const ROWS_MIN: u64 = 32;
/// At most so many blocks of a level are asked for: as many as a page looks at rows, if each is in one of its own.
const BLOCKS_MAX: usize = 2_048;
/// No tree is deeper.
const DEPTH_MAX: usize = 20;
/// Blocks with no more than so many others between them are asked for together: those others are of the indexes,
/// which grew beside the events.
const GAP_MAX: u32 = 4;

/// What a block of a tree of rows begins with, by its kind.
const INNER: u8 = 0x05;
const LEAF: u8 = 0x0d;
/// Where an inner block tells how many cells it has …
const CELLS_AT: usize = 3;
/// … which block has the rows behind the last of them …
const LAST_CHILD_AT: usize = 8;
/// … and where each of them is.
const CELLS_BEGIN_AT: usize = 12;

/// Asks for events that will be read.
#[derive(Debug, Clone)]
pub(crate) struct ReadAhead {
    file: DataFile,
    tree: Tree,
}

/// Where the tree of events begins. Its root never moves.
#[derive(Debug, Clone, Copy)]
struct Tree {
    root: u32,
    block_bytes: u32,
}

impl Tree {
    async fn of_events(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        const EVENTS: &str = "SELECT s.rootpage, p.page_size \
            FROM sqlite_schema AS s, pragma_page_size AS p \
            WHERE s.type = 'table' AND s.name = 'events'";
        let (root, block_bytes) = sqlx::query_as(EVENTS).fetch_one(connection).await?;
        Ok(Self { root, block_bytes })
    }
}

impl ReadAhead {
    pub(crate) async fn new(
        connection: &mut SqliteConnection,
        file: DataFile,
    ) -> Result<Self, sqlx::Error> {
        let tree = Tree::of_events(connection).await?;
        Ok(Self { file, tree })
    }

    /// Asks for the events of `(after, through]`, and waits until it is known where they lie.
    pub(crate) async fn ask(&self, after: Seq, through: Seq) {
        if through.get().saturating_sub(after.get()) < ROWS_MIN {
            return;
        }
        let rows = to_column(after.next())..=to_column(through);
        let Self { file, tree } = self.clone();
        let ask = move || file.with(|file| ask(file, tree, &rows));
        // If it failed, SQLite asks for itself.
        let _ = tokio::task::spawn_blocking(ask).await;
    }
}

/// Asks for the blocks of these rows and those that lead to them, level by level; gives the last level, the
/// leaves, if those above them can be read.
fn ask(file: &File, tree: Tree, rows: &RangeInclusive<i64>) -> Option<Vec<u32>> {
    let mut level = vec![tree.root];
    let mut block = vec![0; tree.block_bytes as usize];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for number in &level {
            let offset = u64::from(number.checked_sub(1)?) * u64::from(tree.block_bytes);
            file.read_exact_at(&mut block, offset).ok()?;
            match *block.first()? {
                // All leaves are at one depth, so that the first tells of all.
                LEAF => return Some(level),
                INNER => children(&block, rows, &mut below)?,
                _ => return None,
            }
            if below.len() >= BLOCKS_MAX {
                break;
            }
        }
        below.truncate(BLOCKS_MAX);
        // Before it is known whether they are leaves: that costs one more wait.
        advise(file, tree, &below);
        level = below;
    }
    None
}

fn advise(file: &File, tree: Tree, blocks: &[u32]) {
    for run in runs(blocks.to_vec()) {
        let (first, last) = (u64::from(*run.start()), u64::from(*run.end()));
        let block_bytes = u64::from(tree.block_bytes);
        let bytes = NonZeroU64::new((last - first + 1) * block_bytes);
        // If the system does not take the advice, nothing is lost.
        let _ = fadvise(file, (first - 1) * block_bytes, bytes, Advice::WillNeed);
    }
}

/// Blocks, as few pieces of the file.
fn runs(mut blocks: Vec<u32>) -> Vec<RangeInclusive<u32>> {
    blocks.sort_unstable();
    blocks.retain(|block| *block > 0);
    let runs = blocks.chunk_by(|one, next| next - one <= GAP_MAX + 1);
    runs.map(|run| run[0]..=run[run.len() - 1]).collect()
}

/// Adds the children of an inner block that have some of these rows.
fn children(block: &[u8], rows: &RangeInclusive<i64>, found: &mut Vec<u32>) -> Option<()> {
    let cells = usize::from(u16::from_be_bytes(bytes_at(block, CELLS_AT)?));
    for cell in 0..cells {
        let cell_at = bytes_at(block, CELLS_BEGIN_AT + 2 * cell)?;
        let cell = block.get(usize::from(u16::from_be_bytes(cell_at))..)?;
        let child = u32::from_be_bytes(bytes_at(cell, 0)?);
        let last = number(cell.get(4..)?)?;
        if last >= *rows.start() {
            found.push(child);
        }
        if last >= *rows.end() {
            return Some(());
        }
    }
    found.push(u32::from_be_bytes(bytes_at(block, LAST_CHILD_AT)?));
    Some(())
}

fn bytes_at<const N: usize>(block: &[u8], at: usize) -> Option<[u8; N]> {
    block.get(at..)?.first_chunk().copied()
}

/// A number as SQLite writes it: seven bits in each byte, the highest first, all eight in the ninth.
fn number(bytes: &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for (n, byte) in bytes.iter().take(9).enumerate() {
        if n == 8 {
            return Some((number << 8 | u64::from(*byte)).cast_signed());
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number.cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use sqlx::{AssertSqlSafe, Connection};

    use super::*;
    use crate::sqlite::{connect, schema};

    /// The leaves in the order of their rows, and how many each has.
    const LEAVES: &str = "SELECT pageno, ncell FROM dbstat \
        WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path";
    const INNER_BLOCKS: &str =
        "SELECT count(*) FROM dbstat WHERE name = 'events' AND pagetype = 'internal'";
    /// Some hold their rows in one block, some in several.
    const ADD: &str = "WITH RECURSIVE n (seq) AS (SELECT ?1 UNION ALL SELECT seq + 1 FROM n WHERE seq < ?2) \
        INSERT INTO events (seq, id, topic, source, time_us, seal, payload) \
        SELECT seq, CAST(seq AS BLOB), 1, 1, seq, 1, \
            zeroblob(CASE WHEN seq % 50 = 0 THEN 9000 ELSE seq * 7919 % 600 END) FROM n";

    async fn execute(connection: &mut SqliteConnection, sql: &str) {
        let sql = sqlx::query(AssertSqlSafe(sql));
        sql.execute(connection).await.unwrap();
    }

    async fn add(connection: &mut SqliteConnection, rows: RangeInclusive<i64>) {
        let sql = sqlx::query(ADD).bind(*rows.start()).bind(*rows.end());
        sql.execute(&mut *connection).await.unwrap();
        execute(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    }

    async fn database(path: &Path) -> SqliteConnection {
        let mut connection = connect::writer(path, true).await.unwrap();
        schema::migrate(&mut connection, None).await.unwrap();
        connection
    }

    /// Compares with what SQLite tells of these rows, which are all that there are.
    async fn check(connection: &mut SqliteConnection, path: &Path, rows: RangeInclusive<i64>) {
        let tree = Tree::of_events(connection).await.unwrap();
        let all: Vec<(u32, i64)> = sqlx::query_as(LEAVES)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        let mut before = *rows.start() - 1;
        let all: Vec<_> = all
            .into_iter()
            .map(|(block, count)| {
                let first = before + 1;
                before += count;
                (block, first..=before)
            })
            .collect();
        assert_eq!(before, *rows.end());
        let inner: i64 = sqlx::query_scalar(INNER_BLOCKS)
            .fetch_one(connection)
            .await
            .unwrap();
        assert!(inner > 2, "the root and {inner} others");
        let file = DataFile::open(path).unwrap();
        for first in rows.clone().step_by(331) {
            for last in [0, 31, 1_000, 4_321, 1_000_000].map(|more| first + more) {
                let has_some =
                    |has: &RangeInclusive<i64>| *has.start() <= last && *has.end() >= first;
                let expected: Vec<u32> = all
                    .iter()
                    .filter(|(_, has)| has_some(has))
                    .map(|(block, _)| *block)
                    .collect();
                let found = file.with(|file| ask(file, tree, &(first..=last)));
                assert_eq!(found.unwrap().unwrap(), expected, "{first} to {last}");
            }
        }
    }

    #[tokio::test]
    async fn rows_are_where_sqlite_says_also_after_the_oldest_were_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let mut connection = database(&path).await;
        add(&mut connection, 1..=12_000).await;
        check(&mut connection, &path, 1..=12_000).await;
        execute(&mut connection, "DELETE FROM events WHERE seq <= 5000").await;
        // Into blocks that are free, anywhere in the file.
        add(&mut connection, 12_001..=15_000).await;
        check(&mut connection, &path, 5_001..=15_000).await;
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_tree_of_rows_is_not_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        let mut connection = database(&path).await;
        add(&mut connection, 1..=100).await;
        let tree = Tree::of_events(&mut connection).await.unwrap();
        let index: u32 =
            sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'events_topic'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        let file = DataFile::open(&path).unwrap();
        let found = |root| file.with(|file| ask(file, Tree { root, ..tree }, &(1..=100)));
        assert!(found(tree.root).unwrap().is_some());
        for root in [0, 1, index, 1_000_000, u32::MAX] {
            assert_eq!(found(root).unwrap(), None, "{root}");
        }
        // Whoever asks never hears of it.
        let root = index;
        let asked = [tree, Tree { root, ..tree }].map(|tree| ReadAhead {
            file: file.clone(),
            tree,
        });
        for asked in &asked {
            asked.ask(Seq::ZERO, Seq::new(100)).await;
        }
        connection.close().await.unwrap();
        file.close();
        asked[0].ask(Seq::ZERO, Seq::new(100)).await;
    }

    #[test]
    fn a_tree_without_an_end_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut block = [0; 512];
        block[0] = INNER;
        block[LAST_CHILD_AT..LAST_CHILD_AT + 4].copy_from_slice(&1_u32.to_be_bytes());
        std::fs::write(&path, block).unwrap();
        let tree = Tree {
            root: 1,
            block_bytes: 512,
        };
        assert_eq!(ask(&File::open(path).unwrap(), tree, &(1..=9)), None);
    }

    #[test]
    fn blocks_are_asked_for_in_few_pieces() {
        assert_eq!(runs(Vec::new()), []);
        assert_eq!(runs(vec![9, 0, 7, 8, 7]), [7..=9]);
        let far = 9 + GAP_MAX + 1;
        assert_eq!(runs(vec![far, 9]), [9..=far]);
        assert_eq!(runs(vec![far + 1, 9]), [9..=9, far + 1..=far + 1]);
    }

    /// As SQLite writes it.
    fn written(number: i64) -> Vec<u8> {
        let mut left = number.cast_unsigned();
        if left >> 56 == 0 {
            let mut bytes = vec![(left & 0x7f) as u8];
            while left >> 7 > 0 {
                left >>= 7;
                bytes.insert(0, (left & 0x7f) as u8 | 0x80);
            }
            return bytes;
        }
        let mut bytes = vec![left as u8];
        left >>= 8;
        for _ in 0..8 {
            bytes.insert(0, (left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        bytes
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(bits in any::<i64>(), shift in 0_u32..64) {
            let bytes = written(bits >> shift);
            prop_assert_eq!(number(&bytes), Some(bits >> shift));
            prop_assert_eq!(number(&bytes[..bytes.len() - 1]), None);
        }

        /// Whatever lies there: no more is found than the block can name.
        #[test]
        fn a_block_of_anything_is_read_to_its_end(
            block in prop::collection::vec(any::<u8>(), 0..600),
            rows in any::<(i64, i64)>(),
        ) {
            let mut found = Vec::new();
            let read = children(&block, &(rows.0..=rows.1), &mut found);
            prop_assert!(found.len() <= block.len() / 2);
            prop_assert!(read.is_none() || block.len() >= CELLS_BEGIN_AT);
        }
    }
}
