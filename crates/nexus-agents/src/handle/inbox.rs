//! Messages to one session: how far it has received them.

use nexus_core::{Command, Error as LogError, Guard, Position, Principal};

use super::{Handle, TRIES_MAX};
use crate::{Error, SessionId, session::inbox};

impl Handle {
    /// Every message to a session up to here was received by it. A session that never received any has still
    /// to get those that were sent since it is known.
    ///
    /// # Errors
    /// [`Error::UnknownSession`], and what the log says.
    pub async fn received(&self, id: &SessionId) -> Result<Position, Error> {
        let known_us = self.session(id)?.registered_us;
        let record = self.log().record(&inbox::key(id)).await?;
        if let Some(received) = record.as_ref().and_then(inbox::read) {
            return Ok(received);
        }
        let before = self.log().last_before(known_us).await?;
        Ok(self.log().position(before))
    }

    /// Keeps that every message to a session up to a position was received by it. A position before what was
    /// kept already changes nothing.
    ///
    /// # Errors
    /// [`Error::Contended`], and what the log says.
    pub async fn keep_received(&self, id: &SessionId, through: Position) -> Result<(), Error> {
        let key = inbox::key(id);
        for _ in 0..TRIES_MAX {
            let found = self.log().record(&key).await?;
            let received = found.as_ref().and_then(inbox::read);
            let is_known =
                |received: Position| received.epoch == through.epoch && received.seq >= through.seq;
            // A session that was signed off meanwhile is not to be remembered.
            if received.is_some_and(is_known) || self.session(id).is_err() {
                return Ok(());
            }
            let guard = match &found {
                Some(record) => Guard::Revision(key.clone(), record.revision),
                None => Guard::Absent(key.clone()),
            };
            let command = Command {
                guards: vec![guard],
                changes: vec![inbox::put(id, through)],
                ..Command::default()
            };
            match self.log().submit(&Principal::nexus(), command).await {
                Ok(_) => return Ok(()),
                // Another connection of the session kept more.
                Err(LogError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended {
            what: key.to_string(),
        })
    }
}
