//! Listens to what a server says by itself, for as long as the session lasts.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    CallError, Http, Session,
    answer::{Place, media_type},
    sse::Parser,
};

/// A stream on which nothing comes for so long is opened again: nobody may be at its other end.
pub(super) const SILENCE: Duration = Duration::from_secs(3_600);

impl Http {
    /// Opens the server's own stream again and again, until the session is another or the server does not
    /// offer it.
    pub(super) async fn listen(self, session: Session) {
        let closing = self.0.closing.clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = self.listen_on(&session) => {}
        }
    }

    async fn listen_on(&self, session: &Session) {
        let (first, most) = self.0.listen_backoff;
        let mut place = Place::default();
        let mut pause = first;
        loop {
            let last = place.last_event_id.as_deref();
            match self.open_stream(session, last, SILENCE).await {
                Ok(mut opened) if opened.is_success() => {
                    if media_type(&opened) != "text/event-stream" {
                        return;
                    }
                    let mut parser = Parser::new(self.0.limits.message_bytes_max);
                    self.read_on(&mut opened, &mut parser, &mut place).await;
                    pause = first;
                }
                // It offers none, mostly with 405, or does not know the session any more.
                Ok(opened) if is_final(opened.status) => return,
                // The address may not be called.
                Err(CallError::NotConnected { source })
                    if source
                        .downcast_ref::<nexus_outbound::Error>()
                        .is_some_and(|error| !error.is_transient()) =>
                {
                    return;
                }
                Ok(_) | Err(_) => {}
            }
            sleep(place.retry.map_or(pause, |retry| retry.clamp(first, most))).await;
            pause = (pause * 2).min(most);
            if self.session().number != session.number {
                return;
            }
        }
    }
}

/// Whether asking again for the stream would be answered in the same way.
fn is_final(status: u16) -> bool {
    status == 501 || ((400..500).contains(&status) && !matches!(status, 408 | 425 | 429))
}
