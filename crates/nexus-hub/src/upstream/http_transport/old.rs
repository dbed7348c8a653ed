//! Servers of the transport of 2024-11-05: one stream brings everything, and says where messages go.

use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    CallError, Http, Opened, Session,
    answer::{Place, media_type},
    listen::SILENCE,
    sse::Parser,
};
use crate::{Waited, upstream::calls::Ending};

/// The stream, as far as it was read.
pub(super) struct Stream {
    opened: Opened,
    parser: Parser,
}

impl Http {
    /// Opens the stream, and reads where messages go.
    pub(super) async fn find_endpoint(&self) -> Result<(Stream, Url), CallError> {
        let limit = self.0.limits.connect;
        let found = timeout_at(Instant::now() + limit, self.read_endpoint()).await;
        let waited = Waited::Connecting;
        found.unwrap_or(Err(CallError::Timeout { waited, limit }))
    }

    async fn read_endpoint(&self) -> Result<(Stream, Url), CallError> {
        let opened = self.open_stream(&Session::default(), None, SILENCE).await?;
        if !opened.is_success() || media_type(&opened) != "text/event-stream" {
            return Err(CallError::not_connected("it offers no stream"));
        }
        let limit_bytes = self.0.limits.message_bytes_max;
        let parser = Parser::new(limit_bytes);
        let mut stream = Stream { opened, parser };
        let mut events = Vec::new();
        while let Some(chunk) = self.chunk(&mut stream.opened).await? {
            let taken = stream.parser.take(&chunk, &mut events);
            // Nothing else is said before the server was greeted.
            if let Some(event) = events.iter().find(|event| event.kind == "endpoint") {
                let endpoint = self.endpoint(&event.data)?;
                return Ok((stream, endpoint));
            }
            events.clear();
            if taken.is_err() {
                return Err(CallError::TooLarge { limit_bytes });
            }
        }
        Err(CallError::not_connected(
            "its stream says not where messages go",
        ))
    }

    /// Where messages go: to the server itself, because they carry its credentials.
    fn endpoint(&self, text: &[u8]) -> Result<Url, CallError> {
        let text = String::from_utf8_lossy(text);
        let endpoint = self
            .0
            .url
            .join(text.trim())
            .map_err(CallError::not_connected)?;
        if endpoint.origin() != self.0.url.origin() {
            let why = "it wants messages to be sent to another server";
            return Err(CallError::not_connected(why));
        }
        Ok(endpoint)
    }

    /// Reads the stream to its end, which is the end of the connection.
    pub(super) async fn read_everything(self, mut stream: Stream) {
        let closing = self.0.closing.clone();
        let mut place = Place::default();
        let reading = self.read_on(&mut stream.opened, &mut stream.parser, &mut place);
        tokio::select! {
            () = closing.cancelled() => {}
            () = reading => {
                let why = String::from("its stream ended");
                self.0.calls.end(Ending::Gone(why));
            }
        }
    }
}
