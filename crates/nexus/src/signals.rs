//! The signals that end the process, and the one that reloads its configuration.

use std::{
    future::Future,
    io::{IsTerminal, stdin},
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{App, Error, Reload};

/// SIGTERM and SIGINT: the first ends in order, the second at once. SIGHUP reloads the configuration, unless
/// it says that the terminal is gone from which the process was started: then it ends in order.
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// Whether there was a terminal when this began.
    had_terminal: bool,
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
            hang_up: listen(SignalKind::hangup())?,
            had_terminal: stdin().is_terminal(),
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
    /// SIGHUP reloads its configuration meanwhile.
    ///
    /// # Errors
    /// As [`App::run`]; [`Error::DrainTimeout`] after a second signal.
    pub async fn run(mut self, app: App) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let reload = app.reload().clone();
        let running = app.run(stop.clone());
        tokio::pin!(running);
        tokio::select! {
            result = &mut running => return result,
            () = self.reload_until_stopped(reload) => stop.cancel(),
        }
        tokio::select! {
            result = &mut running => result,
            () = self.next() => Err(Error::DrainTimeout),
        }
    }

    async fn reload_until_stopped(&mut self, reload: Reload) {
        loop {
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {}
            }
            if self.had_terminal && !stdin().is_terminal() {
                return;
            }
            // A task of its own: what it began has to be finished. It has told what became of it.
            let reload = reload.clone();
            tokio::spawn(async move { reload.again().await.ok() });
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
