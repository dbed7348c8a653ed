//! A stream of server-sent events.

use http::{
    HeaderName, HeaderValue, Method,
    header::{ACCEPT, CACHE_CONTROL},
};
use nexus_core::Position;
use nexus_outbound::{Opened, Outgoing, Trust};

use crate::{
    Error, GapReason, Start,
    client::Shared,
    refusal::{Lost, read_refusal},
    sse_parser::{SseEvent, SseParser},
    subscribe::Asked,
    wire::{Frame, read_event, read_message},
};

const PATH: &str = "api/v1/stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const NEXUS_POSITION: &str = "nexus-position";
const NEXUS_RECOVERED: &str = "nexus-recovered";
const NEXUS_RECOVERY_REASON: &str = "nexus-recovery-reason";
const EVENT_STREAM: &str = "text/event-stream";
const GAP: &str = "gap";
/// How much of a refusal is read.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// A stream that was accepted.
pub(super) struct Sse {
    opened: Opened,
    parser: SseParser,
    /// Where it begins, until that was told.
    begins: Option<Frame>,
}

impl Sse {
    /// Connects, and goes on behind `through`.
    pub(super) async fn open(
        shared: &Shared,
        asked: &Asked,
        through: Option<Position>,
    ) -> Result<Self, Lost> {
        let call = call(shared, asked, through).map_err(Lost::Over)?;
        let silence = shared.options.sse_silence_max;
        let opened = shared.http.open(call, silence).await;
        let mut opened = opened.map_err(|error| Lost::back(Error::lost(error)))?;
        if !opened.is_success() {
            let body = body(&mut opened).await;
            return Err(Lost::refused(read_refusal(
                opened.status,
                &opened.headers,
                &body,
            )));
        }
        let header = |name: &str| {
            opened
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if !header("content-type").is_some_and(|kind| kind.starts_with(EVENT_STREAM)) {
            return Err(Lost::Over(Error::unreadable("it is no event stream")));
        }
        let position = header(NEXUS_POSITION).and_then(|text| text.parse().ok());
        let position =
            position.ok_or_else(|| Lost::Over(Error::unreadable("a stream without position")))?;
        let is_recovered = header(NEXUS_RECOVERED) != Some("?0");
        let gap = (!is_recovered).then(|| GapReason::of(header(NEXUS_RECOVERY_REASON)));
        Ok(Self {
            opened,
            parser: SseParser::default(),
            begins: Some(Frame::Subscribed { gap, position }),
        })
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Result<Vec<Frame>, Lost> {
        if let Some(begins) = self.begins.take() {
            return Ok(vec![begins]);
        }
        let broken = |error| Lost::back(Error::lost(error));
        let Some(piece) = self.opened.chunk().await.map_err(broken)? else {
            return Err(Lost::closed(1006, "the stream ended"));
        };
        let mut events = Vec::new();
        let taken = self.parser.take(&piece, |event| events.push(event));
        let mut frames = Vec::with_capacity(events.len());
        for event in events {
            match frame(event) {
                Ok(frame) => frames.push(frame),
                Err(error) => {
                    frames.push(Frame::Unreadable(error));
                    return Ok(frames);
                }
            }
        }
        if let Err(error) = taken {
            frames.push(Frame::Unreadable(Error::unreadable(error.to_string())));
        }
        Ok(frames)
    }
}

fn call(shared: &Shared, asked: &Asked, through: Option<Position>) -> Result<Outgoing, Error> {
    let mut url = shared.url(PATH)?;
    let mut query = url.query_pairs_mut();
    query.append_pair("patterns", &asked.patterns.join(","));
    if let Some(filter) = &asked.filter {
        query.append_pair("filter", filter);
    }
    match asked.from {
        Some(Start::Earliest) => query.append_pair("from", "earliest"),
        Some(Start::After(position)) => query.append_pair("from", &position.to_string()),
        Some(Start::Latest) | None => &mut query,
    };
    drop(query);
    let mut call = Outgoing::new(Method::GET, url, Trust::Configured);
    call.headers = shared.credentials.to_read()?;
    call.headers
        .insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
    call.headers
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(position) = through
        && let Ok(position) = HeaderValue::from_str(&position.to_string())
    {
        call.headers.insert(LAST_EVENT_ID, position);
    }
    call.timeout = shared.options.connect_timeout;
    Ok(call)
}

/// The body of a refusal, as far as it is read.
async fn body(opened: &mut Opened) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = opened.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > REFUSAL_BYTES_MAX {
            break;
        }
    }
    body
}

/// An event of the log has its topic for its kind, and a topic always has a dot. What is sent beside them
/// is a frame as a WebSocket would have it, or an id alone, which says how far the stream has come.
fn frame(event: SseEvent) -> Result<Frame, Error> {
    if event.event.contains('.') {
        return read_event(&event.data).map(|event| Frame::Event(Box::new(event)));
    }
    if event.data.is_empty() {
        let position = event.id.and_then(|id| id.parse().ok());
        return Ok(position.map_or(Frame::Other, Frame::Position));
    }
    // For those who cannot see the headers.
    if event.event == GAP {
        return Ok(Frame::Other);
    }
    let mut found = Frame::Other;
    read_message(&event.data, |frame| found = frame)?;
    Ok(found)
}
