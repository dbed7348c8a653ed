//! What a client sends: bytes from the socket, through the filter, into tungstenite, as messages.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tungstenite::{
    Error, Message, Utf8Bytes,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::oversize::{Filter, Oversize};

/// How much is read from a socket at once; on the stack, not per connection.
const READ_BYTES: usize = 4 << 10;
/// What tungstenite keeps per connection for a frame that is not complete; it grows when needed.
const KEPT_BYTES: usize = 512;
/// Control frames that wait for the socket; beyond it only the newest is kept, as the protocol allows.
const CONTROL_BYTES_MAX: usize = 1 << 10;

/// Something that a client did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Text(Utf8Bytes),
    Binary,
    /// The answer to a ping, with what that said.
    Pong(Bytes),
    /// A message that was too long and was skipped.
    TooLarge,
    /// It takes leave; the answer is among the control frames.
    Close,
    /// It broke the protocol: what to close with.
    Broken(u16, &'static str),
    /// It is gone.
    Gone,
}

/// The reading side of a connection.
pub(crate) struct Inbound {
    filter: Filter,
    /// Read and filtered, not yet taken; without capacity when there is nothing.
    staged: Vec<u8>,
    taken: usize,
    context: WebSocketContext,
    /// Tungstenite has nothing more to give before the socket does: it need not be asked each time that the
    /// connection has events to write.
    is_dry: bool,
    /// How many data messages were completed.
    completed: u64,
    /// What comes is thrown away: the client broke the protocol and has to read that it did.
    ignoring: bool,
    /// How many bytes the filter passed on.
    #[cfg(test)]
    pub(super) passed_bytes: usize,
}

impl Inbound {
    /// A message has at most this many bytes, and the first one possibly fewer.
    pub(crate) fn new(message_bytes_max: usize, first_message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(KEPT_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(CONTROL_BYTES_MAX)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max.max(125)));
        Self {
            filter: Filter::new(message_bytes_max, first_message_bytes_max),
            staged: Vec::new(),
            taken: 0,
            context: WebSocketContext::new(Role::Server, Some(config)),
            is_dry: true,
            completed: 0,
            ignoring: false,
            #[cfg(test)]
            passed_bytes: 0,
        }
    }

    /// From now on only hears that the client is gone.
    pub(crate) fn ignore(&mut self) {
        self.ignoring = true;
    }

    /// From now on only hears control frames: of who is being closed nothing more is kept than what it said of a
    /// message in pieces, and what it is in the middle of saying is dropped at once.
    pub(crate) fn begin_closing(&mut self) {
        if !self.filter.begin_closing() {
            return;
        }
        // Who is in the middle of a message has not taken leave: no such frame is lost here.
        let config = *self.context.get_config();
        self.context = WebSocketContext::new(Role::Server, Some(config));
        self.filter.oversize.clear();
        self.staged = Vec::new();
        self.taken = 0;
        self.is_dry = true;
    }

    /// The next thing that the client does. What tungstenite answers by itself is appended to `control`.
    pub(crate) fn poll_next<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
        control: &mut Vec<u8>,
    ) -> Poll<Received> {
        while self.ignoring {
            if ready!(self.poll_fill(socket, context)).is_err() {
                return Poll::Ready(Received::Gone);
            }
        }
        loop {
            if let Some(Oversize {
                after,
                truncated: false,
            }) = self.filter.oversize.front()
                && *after == self.completed
            {
                self.filter.oversize.pop_front();
                return Poll::Ready(Received::TooLarge);
            }
            if self.is_dry {
                if ready!(self.poll_fill(socket, context)).is_err() {
                    return Poll::Ready(Received::Gone);
                }
                self.is_dry = false;
                continue;
            }
            let mut wire = Wire {
                staged: &self.staged,
                taken: &mut self.taken,
                control,
            };
            let result = self.context.read(&mut wire);
            let closing = matches!(&result, Ok(Message::Close(_)));
            if closing {
                // Puts the answer among the control frames, and says that this was the end.
                let _ = self.context.flush(&mut wire);
            }
            match result {
                Ok(Message::Ping(_) | Message::Frame(_)) => {}
                Ok(Message::Pong(said)) => return Poll::Ready(Received::Pong(said)),
                Ok(Message::Close(_)) => return Poll::Ready(Received::Close),
                Ok(Message::Text(text)) => {
                    return Poll::Ready(self.complete(Received::Text(text)));
                }
                Ok(Message::Binary(_)) => return Poll::Ready(self.complete(Received::Binary)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_dry = true;
                }
                // It may only have been cut inside a character; but what is left of it must not be taken
                // for a message of its own.
                Err(Error::Utf8(_)) if self.is_truncated() => {
                    return Poll::Ready(Received::Broken(1009, "message too large"));
                }
                Err(error) => return Poll::Ready(broken(&error)),
            }
        }
    }

    fn complete(&mut self, received: Received) -> Received {
        let truncated = self.is_truncated();
        self.completed += 1;
        if truncated {
            self.filter.oversize.pop_front();
            return Received::TooLarge;
        }
        received
    }

    /// Whether the message that is completed next lost its end in the filter.
    fn is_truncated(&self) -> bool {
        matches!(self.filter.oversize.front(), Some(Oversize { after, truncated: true }) if *after == self.completed)
    }

    fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.taken = 0;
        // An idle connection keeps no buffer.
        self.staged = Vec::new();
        // Not filled with zeros: mostly there is nothing to read.
        let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(socket).poll_read(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.filter.run(read.filled(), &mut self.staged);
        #[cfg(test)]
        {
            self.passed_bytes += self.staged.len();
        }
        Poll::Ready(Ok(()))
    }
}

/// What the protocol says to close with.
fn broken(error: &Error) -> Received {
    match error {
        Error::Utf8(_) => Received::Broken(1007, "text that is not UTF-8"),
        Error::Capacity(_) => Received::Broken(1009, "message too large"),
        Error::Protocol(_) => Received::Broken(1002, "protocol error"),
        _ => Received::Gone,
    }
}

/// What tungstenite takes for the socket: reads what was staged, writes to where the writer looks.
struct Wire<'a> {
    staged: &'a [u8],
    taken: &'a mut usize,
    control: &'a mut Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = &self.staged[*self.taken..];
        if left.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        *self.taken += count;
        Ok(count)
    }
}

impl Write for Wire<'_> {
    /// One call, one control frame: tungstenite is told to keep none back.
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        if self.control.len() + frame.len() > CONTROL_BYTES_MAX {
            self.control.clear();
        }
        self.control.extend_from_slice(frame);
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
