//! One connection of a subscription, whichever transport it has.

use super::sse::Sse;
use crate::{
    refusal::Lost,
    socket::Socket,
    wire::{Frame, read_message},
};

/// One connection.
pub(super) enum Feed {
    Socket(Box<Socket>),
    Sse(Box<Sse>),
}

impl Feed {
    /// What comes next. Nothing is lost when the future is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Result<Vec<Frame>, Lost> {
        match self {
            Self::Socket(socket) => {
                let text = socket.next().await?;
                let mut frames = Vec::new();
                if let Err(error) = read_message(&text, |frame| frames.push(frame)) {
                    frames.push(Frame::Unreadable(error));
                }
                Ok(frames)
            }
            Self::Sse(sse) => sse.next().await,
        }
    }

    /// Says something; only a WebSocket can.
    pub(super) async fn say(&mut self, text: String) -> Result<(), Lost> {
        match self {
            Self::Socket(socket) => socket.send(text).await,
            Self::Sse(_) => Ok(()),
        }
    }

    /// It was not listened to for a while.
    pub(super) fn forgive(&mut self) {
        match self {
            Self::Socket(socket) => socket.forgive(),
            // Its silence is measured from the moment in which one listens.
            Self::Sse(_) => {}
        }
    }

    /// Ends it in order.
    pub(super) async fn close(self) {
        match self {
            Self::Socket(socket) => socket.close().await,
            Self::Sse(_) => {}
        }
    }
}
