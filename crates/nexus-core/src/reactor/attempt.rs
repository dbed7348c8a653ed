//! One run of a reactor for one event, and what it leaves behind of a call to the outside.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::Event;

/// A request's body is kept up to this many bytes.
pub const EXCHANGE_BODY_BYTES_MAX: usize = 16 << 10;
/// An answer's body is kept up to this many bytes.
pub const EXCHANGE_ANSWER_BYTES_MAX: usize = 4 << 10;
/// At most this many headers of a request are kept.
pub const EXCHANGE_HEADERS_MAX: usize = 32;
/// A header's value, and an address, are kept up to this many bytes.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// One run of a reactor for one event.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Attempt {
    /// The event.
    pub event: Arc<Event>,
    /// Which attempt it is, from 1. After a crash the same number may run again.
    pub number: u32,
    /// The same for every attempt at this event: hand it to receivers, so that they do things once.
    pub idempotency_key: Arc<str>,
    /// The name of the delivery that this is, or would be: `<reactor>.<seq>`, as the whole API has it.
    pub delivery_id: Arc<str>,
    /// Whether it is the real thing.
    pub mode: Mode,
    kept: Arc<Mutex<Option<Exchange>>>,
}

/// Whether an attempt is about something new, or about the past once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The event has its first turn.
    Live,
    /// The event is shown again to a reactor that may have had it.
    Replay {
        /// Whether calls to the outside are made. If not, a reactor keeps with [`Attempt::exchange`] what
        /// it would have sent, and succeeds.
        outbound: bool,
    },
}

impl Mode {
    /// Whether calls to the outside are to be made.
    #[must_use]
    pub const fn calls_out(self) -> bool {
        !matches!(self, Self::Replay { outbound: false })
    }
}

/// What was asked of the outside, and what it answered. For people: secrets do not belong in here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The method, `POST`.
    pub method: String,
    /// The address, without user information and without a query that carries secrets.
    pub url: String,
    /// What was sent with it, without secrets.
    pub headers: Vec<(String, String)>,
    /// What was sent, up to [`EXCHANGE_BODY_BYTES_MAX`].
    pub body: Bytes,
    /// What was answered; nothing when no answer came, or nothing was sent.
    pub status: Option<u16>,
    /// What the answer said, up to [`EXCHANGE_ANSWER_BYTES_MAX`].
    pub answer: Bytes,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

impl Exchange {
    /// The same within the bounds of what is kept.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.headers.truncate(EXCHANGE_HEADERS_MAX);
        for (name, value) in &mut self.headers {
            cut(name);
            cut(value);
        }
        cut(&mut self.url);
        cut(&mut self.method);
        self.body = part(&self.body, EXCHANGE_BODY_BYTES_MAX);
        self.answer = part(&self.answer, EXCHANGE_ANSWER_BYTES_MAX);
        self
    }
}

/// The first bytes, as a copy where they are fewer: a slice would keep the whole alive.
fn part(bytes: &Bytes, bytes_max: usize) -> Bytes {
    if bytes.len() <= bytes_max {
        return bytes.clone();
    }
    Bytes::copy_from_slice(&bytes[..bytes_max])
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

impl Attempt {
    /// An attempt at an event, as the engine makes it; also for those who try a reactor without one.
    #[must_use]
    pub fn new(
        event: Arc<Event>,
        number: u32,
        idempotency_key: Arc<str>,
        delivery_id: Arc<str>,
        mode: Mode,
    ) -> Self {
        Self {
            event,
            number,
            idempotency_key,
            delivery_id,
            mode,
            kept: Arc::default(),
        }
    }

    /// Keeps what was asked and answered, or what would be asked, within its bounds; the last one stays.
    /// Kept also when the attempt fails or runs out of time.
    pub fn exchange(&self, exchange: Exchange) {
        *self.kept.lock() = Some(exchange.bounded());
    }

    /// What was kept, which then is gone.
    #[must_use]
    pub fn take_exchange(&self) -> Option<Exchange> {
        self.kept.lock().take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_an_exchange_is_bounded() {
        let exchange = Exchange {
            url: "ü".repeat(TEXT_BYTES_MAX),
            headers: vec![("a".into(), "b".repeat(10_000)); 100],
            body: vec![0; 1 << 20].into(),
            answer: vec![0; 1 << 20].into(),
            ..Exchange::default()
        }
        .bounded();
        assert_eq!(exchange.url.len(), TEXT_BYTES_MAX);
        assert_eq!(exchange.headers.len(), EXCHANGE_HEADERS_MAX);
        assert_eq!(exchange.headers[0].1.len(), TEXT_BYTES_MAX);
        assert_eq!(exchange.body.len(), EXCHANGE_BODY_BYTES_MAX);
        assert_eq!(exchange.answer.len(), EXCHANGE_ANSWER_BYTES_MAX);
    }
}
