//! The signals that end the process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{App, Error};

/// SIGTERM and SIGINT: the first ends in order, the second at once.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`Error::System`] when the system refuses.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind).map_err(|source| Error::System {
                what: "listening for signals",
                source,
            })
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Runs the application until a signal, and ends it in order; a second signal does not wait for that.
    ///
    /// # Errors
    /// As [`App::run`]; [`Error::DrainTimeout`] after a second signal.
    pub async fn run(mut self, app: App) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let running = app.run(stop.clone());
        tokio::pin!(running);
        tokio::select! {
            result = &mut running => return result,
            () = self.next() => stop.cancel(),
        }
        tokio::select! {
            result = &mut running => result,
            () = self.next() => Err(Error::DrainTimeout),
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
