//! The loop that tells, in the log, of endpoints that the engine disabled.

use nexus_core::{Command, Once, Principal, ProtocolEvent};
use nexus_reactors::{TargetChange, TargetState};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{Endpoints, Error, delivery::target_name};

/// Tells of endpoints that were disabled because their receiver is gone, or because nothing succeeded for
/// too long: with an event `endpoint.disabled`, once for each time.
#[derive(Debug)]
pub struct Service {
    endpoints: Endpoints,
    changes: Receiver<TargetChange>,
}

impl Endpoints {
    /// What has to run beside the engine. It ends with the engine.
    #[must_use]
    pub fn service(&self) -> Service {
        Service {
            changes: self.engine().changes(),
            endpoints: self.clone(),
        }
    }

    /// Tells of an endpoint that is disabled since a time. The time stands for the fact, so that it is told
    /// once, whoever finds it out how often.
    async fn tell_disabled(&self, id: &str, since_us: i64, why: &str) -> Result<(), Error> {
        let told = self.own_event(ProtocolEvent::EndpointDisabled, id, why);
        let command = Command {
            once: Some(Once::fact("endpoint", format!("{id}:disabled:{since_us}"))),
            ..Command::event(told)
        };
        self.log().submit(&Principal::nexus(), command).await?;
        tracing::warn!(endpoint = id, why, "an endpoint was disabled");
        Ok(())
    }
}

impl Service {
    /// Runs until the engine ends.
    pub async fn run(mut self) {
        // What was disabled when nobody told of it, because the process ended.
        self.catch_up().await;
        loop {
            match self.changes.recv().await {
                Ok(change) => self.take(&change).await,
                Err(RecvError::Lagged(_)) => self.catch_up().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn take(&self, change: &TargetChange) {
        if change.state != TargetState::Disabled {
            return;
        }
        if let Some(id) = change.name.strip_prefix(&target_name("")) {
            let why = change.why.as_deref().unwrap_or_default();
            self.tell(id, change.time_us, why).await;
        }
    }

    async fn catch_up(&self) {
        for target in self.endpoints.engine().targets() {
            if target.state != TargetState::Disabled {
                continue;
            }
            if let (Some(id), Some(since_us)) =
                (target.name.strip_prefix(&target_name("")), target.since_us)
            {
                let why = target.why.as_deref().unwrap_or_default();
                self.tell(id, since_us, why).await;
            }
        }
    }

    async fn tell(&self, id: &str, since_us: i64, why: &str) {
        if let Err(error) = self.endpoints.tell_disabled(id, since_us, why).await {
            let error = &error as &dyn std::error::Error;
            // It is found and told at the next start.
            tracing::error!(
                error,
                endpoint = id,
                "a disabled endpoint could not be told of"
            );
        }
    }
}
