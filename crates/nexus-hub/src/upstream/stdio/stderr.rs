//! The last of what a child writes to its standard error, without secrets.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::{io::AsyncReadExt, process::ChildStderr};

use crate::Redactor;

/// Last words are cut to this many characters.
const LAST_WORDS_CHARS: usize = 400;

/// What is kept.
pub(super) struct Stderr {
    kept: Mutex<Kept>,
    bytes_max: usize,
    redactor: Arc<Redactor>,
}

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    /// The beginning was let go of.
    is_cut: bool,
}

impl Stderr {
    pub(super) fn new(bytes_max: usize, redactor: Arc<Redactor>) -> Self {
        Self {
            kept: Mutex::default(),
            bytes_max,
            redactor,
        }
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock();
        kept.bytes.extend(bytes);
        let excess = kept.bytes.len().saturating_sub(self.bytes_max);
        if excess > 0 {
            kept.bytes.drain(..excess);
            kept.is_cut = true;
        }
    }

    /// All that is kept, without secrets.
    pub(super) fn text(&self) -> String {
        let (bytes, is_cut) = {
            let kept = self.kept.lock();
            (kept.bytes.iter().copied().collect::<Vec<_>>(), kept.is_cut)
        };
        if is_cut {
            self.redactor.tail(&bytes)
        } else {
            self.redactor.text(&bytes)
        }
    }

    /// The end of it in one line.
    pub(super) fn last_words(&self) -> String {
        let text = self.text();
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut words: String = words.chars().filter(|c| !c.is_control()).collect();
        let excess = words.chars().count().saturating_sub(LAST_WORDS_CHARS);
        if let Some((at, _)) = words.char_indices().nth(excess) {
            words.drain(..at);
        }
        words
    }
}

/// Reads until the pipe ends.
pub(super) async fn keep(mut pipe: ChildStderr, stderr: Arc<Stderr>) {
    let mut piece = [0; 2048];
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        stderr.push(&piece[..length]);
    }
}

#[cfg(test)]
mod tests {
    use nexus_auth::Secret;

    use super::*;

    #[test]
    fn the_end_is_kept_without_secrets_also_where_it_is_cut() {
        let secret = Secret::new("hunter2-hunter2");
        let redactor = Arc::new(Redactor::new([&secret]));
        let stderr = Stderr::new(64, redactor);
        stderr.push(b"starting with hunter2-");
        stderr.push(b"hunter2\n\tready\x07");
        assert_eq!(stderr.text(), "starting with [redacted]\n\tready\u{7}");
        assert_eq!(stderr.last_words(), "starting with [redacted] ready");
        for cut in 0..40 {
            stderr.push(b"hunter2-hunter2 ");
            stderr.push(&b"."[..cut % 2]);
            let text = stderr.text();
            assert!(text.len() <= 64 && !text.contains("unter2"), "{text}");
        }
    }

    #[test]
    fn last_words_are_few() {
        let stderr = Stderr::new(10_000, Arc::new(Redactor::new([])));
        stderr.push("\u{e9}".repeat(1_000).as_bytes());
        stderr.push(b" end");
        let words = stderr.last_words();
        assert_eq!(words.chars().count(), LAST_WORDS_CHARS);
        assert!(words.ends_with(" end"));
    }
}
