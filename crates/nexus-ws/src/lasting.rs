//! Sockets that stay open while the server that they came by ends, until they are told to.

use std::{future::Future, time::Duration};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Sockets that end after their server. Cheap to clone; every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Lasting {
    sockets: TaskTracker,
    draining: CancellationToken,
    over: CancellationToken,
}

impl Lasting {
    /// Tells every socket to end, waits that long for them, and ends those that do not; says how many that were.
    pub async fn drain(&self, patience: Duration) -> usize {
        self.draining.cancel();
        self.sockets.close();
        let ended = timeout(patience, self.sockets.wait()).await;
        let left = self.sockets.len();
        self.over.cancel();
        if ended.is_err() { left } else { 0 }
    }

    /// Tells every socket to end, and waits for none.
    pub fn tell_to_end(&self) {
        self.draining.cancel();
    }

    /// Serves a socket, which is given the token that tells it to end.
    pub(crate) fn serve<S>(&self, serve: impl FnOnce(CancellationToken) -> S)
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let serving = serve(self.draining.clone());
        let over = self.over.clone();
        self.sockets.spawn(async move {
            tokio::select! {
                () = serving => {}
                () = over.cancelled() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_told_to_end_is_waited_for_and_one_that_does_not_is_ended() {
        let lasting = Lasting::default();
        lasting.serve(|draining| async move { draining.cancelled().await });
        assert_eq!(lasting.drain(Duration::from_secs(20)).await, 0);
        let lasting = Lasting::default();
        let (ended, waits) = tokio::sync::oneshot::channel::<()>();
        lasting.serve(|_| async move {
            let _ended = ended;
            std::future::pending::<()>().await;
        });
        assert_eq!(lasting.drain(Duration::ZERO).await, 1);
        assert!(waits.await.is_err(), "what it held is gone");
    }
}
