//! What a socket asks of the face that speaks over it, and what the face has of its connection.

use std::{task::Context, time::Duration};

use nexus_auth::Grant;
use nexus_core::{Position, Principal};
use tokio::time::Instant;

use super::{closing::Closing, outbound::Outbound};
use crate::{
    handle::{Seat, Shared},
    signal::Notice,
};

/// A message of a client, or what is left of one.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Text(&'a str),
    /// Only text is spoken here.
    Binary,
    /// It was too long and was skipped.
    TooLarge,
    /// It came too soon after others and was skipped.
    TooFast,
}

/// What clients of one kind are told, and what they may say.
pub(crate) trait Face {
    /// Goes on with what is under way, such as a subscription whose start is looked up. Says whether
    /// anything came of it.
    fn poll_work(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool;

    /// Whether it can take a message now.
    fn takes_messages(&self, link: &Link) -> bool;

    /// Takes a message.
    fn receive(&mut self, message: Message<'_>, link: &mut Link, context: &mut Context<'_>);

    /// Hands over what the log holds, as far ahead of the socket as it may be. Says whether anything was.
    fn fill(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool;

    /// What was handed over and not taken is to be handed over again, because the client takes nothing.
    fn give_back(&mut self, link: &mut Link);

    /// The rules changed, and the client still may: with these rights now.
    fn granted(&mut self, link: &mut Link);

    /// The client answered a ping, with what the ping said.
    fn ponged(&mut self, said: &[u8], link: &mut Link) {
        let _ = (said, link);
    }

    /// Something else that concerns the face was told to the connection.
    fn noticed(&mut self, notice: Notice, link: &mut Link) {
        let _ = (notice, link);
    }

    /// When [`Face::on_time`] is due, at the latest.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn on_time(&mut self, now: Instant, link: &mut Link) {
        let _ = (now, link);
    }

    /// Whether everything that it was asked for is answered: before that a draining server does not end it.
    fn is_settled(&self) -> bool {
        true
    }

    /// The connection ends. What was not sent is taken back, the last is said, nothing more is wanted. Gives
    /// where the client goes on, if it was being sent events.
    fn leave(&mut self, link: &mut Link) -> Option<Position>;
}

/// What a face has of its connection.
pub(crate) struct Link {
    pub(crate) seat: Seat,
    /// Who the client is, once that is known.
    pub(crate) grant: Option<Grant>,
    pub(crate) outbound: Outbound,
    /// Why the connection is to be closed.
    pub(super) ending: Option<Closing>,
}

impl Link {
    pub(crate) fn new(seat: Seat, grant: Option<Grant>) -> Self {
        Self {
            seat,
            grant,
            outbound: Outbound::default(),
            ending: None,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.seat.edge.0.shared
    }

    /// Has the connection closed as soon as the face is done with what it is doing.
    pub(crate) fn close(&mut self, closing: Closing) {
        self.ending.get_or_insert(closing);
    }

    /// Who the client is and what it may, at this moment; closes the connection if it is nobody any more.
    pub(crate) fn renewed(&mut self) -> Result<Principal, nexus_auth::Error> {
        let grant = self.grant.as_ref().ok_or(nexus_auth::Error::Unauthorized)?;
        match self.shared().auth.renew(grant) {
            Ok(grant) => Ok(grant.principal),
            Err(error) => {
                self.close(self.loss());
                Err(error)
            }
        }
    }

    /// Why the client is nobody any more: a token that expired is replaced by its client, which then comes
    /// back; one that was taken away is not.
    pub(super) fn loss(&self) -> Closing {
        let not_after_us = self.grant.as_ref().and_then(|grant| grant.not_after_us);
        let now_us = self.shared().log.clock().now_us();
        if not_after_us.is_some_and(|not_after_us| now_us > not_after_us) {
            Closing::Expired
        } else {
            Closing::Revoked
        }
    }
}

/// How a face wants its messages bounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) message_bytes_max: usize,
    /// What decides who the client is may be shorter, because it may come from anybody.
    pub(crate) first_message_bytes_max: usize,
    pub(crate) messages_per_second_max: u32,
    pub(crate) ping: Duration,
}
