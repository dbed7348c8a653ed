//! The signals that end the process.

use std::future::Future;

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

    /// Waits for something that may take long, such as [`Builder::build`](crate::Builder::build); nothing
    /// when a signal came first, and then it is given up where it stands.
    ///
    /// # Errors
    /// Those of what is waited for.
    pub async fn unless_stopped<T>(
        &mut self,
        starting: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        tokio::select! {
            biased;
            () = self.next() => Ok(None),
            started = starting => started.map(Some),
        }
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

#[cfg(test)]
mod tests {
    use std::{future::pending, process::Command, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_signal_ends_a_start_that_takes_long() {
        let mut stop = Stop::listen().unwrap();
        let done = stop.unless_stopped(async { Ok(7) }).await;
        assert_eq!(done.unwrap(), Some(7));
        let own = std::process::id().to_string();
        let sent = Command::new("kill").args(["-TERM", &own]).status().unwrap();
        assert!(sent.success());
        let starting = stop.unless_stopped(pending::<Result<(), Error>>());
        let ended = tokio::time::timeout(Duration::from_secs(10), starting).await;
        assert_eq!(ended.expect("the signal ends it").unwrap(), None);
    }
}
