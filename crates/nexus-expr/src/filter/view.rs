//! What filters see of an event: parsed once for each thread, however many filters look at it.

use std::cell::Cell;

use bytes::Bytes;
use nexus_core::{Causes, Event};

use super::{
    node::Reads,
    tape::{Place, Seen, Tape},
};

/// The payload and causes that were looked at last.
///
/// They are known by where their bytes lie. The view holds those bytes, so nothing else can come to lie
/// there while it does.
#[derive(Debug, Default)]
struct Parsed {
    payload: Bytes,
    tape: Tape,
    causes_text: Bytes,
    causes: Causes,
}

impl Parsed {
    fn look_at(&mut self, event: &Event, reads: Reads) {
        if reads.payload && !is_same(&self.payload, &event.payload) {
            self.payload = event.payload.clone();
            self.tape.read(&self.payload);
        }
        if reads.causes && !is_same(&self.causes_text, &event.causes) {
            self.causes_text = event.causes.clone();
            self.causes = event.causes();
        }
    }
}

fn is_same(a: &Bytes, b: &Bytes) -> bool {
    a.as_ptr() == b.as_ptr() && a.len() == b.len()
}

thread_local! {
    static LAST: Cell<Option<Box<Parsed>>> = const { Cell::new(None) };
}

/// An event, with what a filter reads of it parsed.
#[derive(Clone, Copy)]
pub(super) struct View<'e> {
    pub(super) event: &'e Event,
    parsed: &'e Parsed,
}

impl<'e> View<'e> {
    pub(super) fn causes(self) -> &'e Causes {
        &self.parsed.causes
    }

    pub(super) fn tape(self) -> &'e Tape {
        &self.parsed.tape
    }

    pub(super) fn at(self, place: Place) -> Seen<'e> {
        self.parsed.tape.at(&self.parsed.payload, place)
    }

    pub(super) fn member(self, object: Place, name: &str) -> (Option<Place>, u32) {
        self.parsed.tape.member(&self.parsed.payload, object, name)
    }
}

/// Shows an event to a test.
pub(super) fn with<R>(event: &Event, reads: Reads, test: impl FnOnce(View<'_>) -> R) -> R {
    // Taken out while it is used: a test that showed another event would only parse once more.
    let mut parsed = LAST.take().unwrap_or_default();
    parsed.look_at(event, reads);
    let result = test(View {
        event,
        parsed: &parsed,
    });
    LAST.set(Some(parsed));
    result
}
