//! Messages of a connection that wait while what was said before them is done.

use std::collections::VecDeque;

/// With so many messages waiting, or so many bytes of them, no more are read.
const MESSAGES_MAX: usize = 16;
const BYTES_MAX: usize = 64 << 10;

/// What waits, in the order it came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: VecDeque<Box<str>>,
    bytes: usize,
}

impl Waiting {
    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < MESSAGES_MAX && self.bytes < BYTES_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn push(&mut self, text: &str) {
        self.bytes += text.len();
        self.messages.push_back(text.into());
    }

    /// The next; a connection for which nothing waits keeps no queue.
    pub(super) fn pop(&mut self) -> Option<Box<str>> {
        let Some(text) = self.messages.pop_front() else {
            self.messages = VecDeque::new();
            return None;
        };
        self.bytes -= text.len();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_keeps_its_order() {
        let mut waiting = Waiting::default();
        for number in 0..MESSAGES_MAX {
            assert!(waiting.has_room());
            waiting.push(&number.to_string());
        }
        assert!(!waiting.has_room());
        for number in 0..MESSAGES_MAX {
            assert_eq!(waiting.pop().as_deref(), Some(&*number.to_string()));
            assert!(waiting.has_room());
        }
        assert_eq!(waiting.pop(), None);
        waiting.push(&"x".repeat(BYTES_MAX));
        assert!(!waiting.has_room());
        waiting.pop();
        assert!(waiting.has_room() && waiting.is_empty());
    }
}
