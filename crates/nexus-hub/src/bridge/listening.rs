//! What the hub says by itself: one stream that is opened again whenever it ends.

use std::time::Duration;

use super::{Link, exchange::is_stream};

const NOT_FOUND: u16 = 404;
const METHOD_NOT_ALLOWED: u16 = 405;

impl Link {
    /// Passes on what belongs to no request, for as long as the client is there.
    pub(super) async fn listen(&self) {
        let (first, longest) = self.options.backoff;
        let mut pause = first;
        // With the session in which it counts.
        let mut last: Option<(http::HeaderValue, String)> = None;
        loop {
            let Some(session) = self.session.lock().clone() else {
                pause = self.rest(pause, longest).await;
                continue;
            };
            let from = last.as_ref().filter(|(id, _)| *id == session.id);
            match self
                .get(Some(&session), from.map(|(_, last)| last.as_str()))
                .await
            {
                Ok(mut opened) if opened.is_success() && is_stream(&opened.headers) => {
                    pause = first;
                    let read = self.read(&mut opened, None).await;
                    if let Some(read) = read.last {
                        last = Some((session.id, read));
                    }
                    tokio::time::sleep(first).await;
                }
                Ok(opened) if opened.status == METHOD_NOT_ALLOWED => return,
                Ok(opened) if opened.status == NOT_FOUND => {
                    if let Err(why) = self.begin_again(&session).await {
                        tracing::debug!(why, "the hub forgot the session");
                        pause = self.rest(pause, longest).await;
                    }
                }
                Ok(_) | Err(_) => pause = self.rest(pause, longest).await,
            }
        }
    }

    /// Waits; how long to wait the next time.
    async fn rest(&self, pause: Duration, longest: Duration) -> Duration {
        tokio::time::sleep(pause).await;
        (pause * 2).min(longest)
    }
}
