//! The task of a publisher: sends what is ordered, and sends it again until it is answered.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use super::Order;
use crate::{
    Error, Receipt,
    client::Shared,
    refusal::Lost,
    retry::Backoff,
    socket::Socket,
    wire::{Frame, publish_frame, read_message},
};

/// How many orders are taken at once, before they are written.
const ORDERS_AT_ONCE: usize = 64;

/// What the task knows.
pub(super) struct Task {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Order>,
    /// No more orders come.
    closed: bool,
    /// What was ordered and not answered, by its number. Orders have equal time, so that the first is the
    /// first whose time is up.
    open: BTreeMap<u64, Open>,
    last_reference: u64,
}

/// An order that is not answered.
struct Open {
    order: Order,
    deadline: Instant,
    /// How often it was sent.
    sent: u32,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Order>) -> Self {
        Self {
            shared,
            queue,
            closed: false,
            open: BTreeMap::new(),
            last_reference: 0,
        }
    }

    /// Runs until nobody orders any more and everything is answered.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let too_late = async {
            shared.draining.cancelled().await;
            sleep(shared.options.drain_timeout).await;
        };
        tokio::select! {
            () = self.work() => {}
            () = shared.ended.cancelled() => {}
            () = too_late => {}
        }
        if !self.open.is_empty() {
            shared.unconfirmed.store(true, Ordering::SeqCst);
        }
        self.give_up(&Error::Draining);
        self.queue.close();
        while let Ok(order) = self.queue.try_recv() {
            let _ = order.answer.send(Err(Error::Draining));
        }
    }

    async fn work(&mut self) {
        let policy = self.shared.options.retry.clone();
        let mut backoff = Backoff::new(policy, self.shared.random.clone());
        // Without an order there is no connection, unless one stands already.
        while self.wait_for_order().await {
            let lost = match Socket::open(&self.shared).await {
                Ok(mut socket) => {
                    let begun = Instant::now();
                    let lost = self.serve(&mut socket).await;
                    backoff.stood(begun.elapsed());
                    match lost {
                        Ok(()) => {
                            socket.close().await;
                            return;
                        }
                        Err(lost) => lost,
                    }
                }
                Err(lost) => lost,
            };
            match lost {
                // Another order may have more luck, with another token.
                Lost::Over(error) => self.give_up(&error),
                Lost::Back { why, after } => self.wait(&mut backoff, &why, after).await,
            }
        }
    }

    /// Whether there is something to send; if not, there never will be.
    async fn wait_for_order(&mut self) -> bool {
        while self.open.is_empty() && !self.closed {
            let draining = self.shared.draining.clone();
            tokio::select! {
                order = self.queue.recv() => match order {
                    Some(order) => self.accept(order),
                    None => self.closed = true,
                },
                // What is in the queue by now is still taken.
                () = draining.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        !self.open.is_empty()
    }

    /// Sends and takes answers; good is the end only when everything is answered.
    async fn serve(&mut self, socket: &mut Socket) -> Result<(), Lost> {
        let references: Vec<u64> = self.open.keys().copied().collect();
        self.send(socket, &references).await?;
        let draining = self.shared.draining.clone();
        let mut orders = Vec::with_capacity(ORDERS_AT_ONCE);
        loop {
            if self.closed && self.open.is_empty() {
                return Ok(());
            }
            let deadline = self.first_deadline();
            let (queue, closed) = (&mut self.queue, self.closed);
            let may_close = !queue.is_closed();
            tokio::select! {
                text = socket.next() => {
                    let mut frames = Vec::new();
                    read_message(&text?, |frame| frames.push(frame)).map_err(Lost::Over)?;
                    for frame in frames {
                        self.answered(frame)?;
                    }
                }
                count = queue.recv_many(&mut orders, ORDERS_AT_ONCE), if !closed => {
                    self.closed = count == 0;
                    let from = self.last_reference + 1;
                    orders.drain(..).for_each(|order| self.accept(order));
                    let references: Vec<u64> = (from..=self.last_reference).collect();
                    self.send(socket, &references).await?;
                }
                () = sleep_until(deadline), if !self.open.is_empty() => self.expire(),
                () = draining.cancelled(), if may_close => self.queue.close(),
            }
        }
    }

    fn accept(&mut self, order: Order) {
        self.last_reference += 1;
        let open = Open {
            order,
            deadline: Instant::now() + self.shared.options.request_timeout,
            sent: 0,
        };
        self.open.insert(self.last_reference, open);
    }

    async fn send(&mut self, socket: &mut Socket, references: &[u64]) -> Result<(), Lost> {
        for reference in references {
            let Some(open) = self.open.get_mut(reference) else {
                continue;
            };
            open.sent += 1;
            let order = &open.order;
            let frame = publish_frame(*reference, &order.idempotency_key, &order.event);
            socket.feed(frame.into()).await?;
        }
        socket.flush().await
    }

    fn answered(&mut self, frame: Frame) -> Result<(), Lost> {
        match frame {
            Frame::Published {
                reference,
                position,
                id,
                replayed,
            } => {
                let receipt = Receipt {
                    position,
                    id,
                    replayed,
                };
                self.tell(reference, Ok(receipt));
                Ok(())
            }
            // Whatever could not be stored for the moment is sent again, with all that follows it.
            Frame::Refused { refusal, .. } if refusal.retryable => Err(Lost::refused(refusal)),
            Frame::Refused {
                reference: Some(reference),
                refusal,
            } => {
                self.tell(reference, Err(Error::Refused(Box::new(refusal))));
                Ok(())
            }
            Frame::Refused {
                reference: None,
                refusal,
            } => Err(Lost::refused(refusal)),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, reference: u64, answer: Result<Receipt, Error>) {
        if let Some(open) = self.open.remove(&reference) {
            // Nobody has to wait for it.
            let _ = open.order.answer.send(answer);
        }
    }

    async fn wait(&mut self, backoff: &mut Backoff, why: &Error, after: Option<Duration>) {
        let attempt = backoff.attempt();
        debug!(
            error = why as &dyn std::error::Error,
            attempt, "a publisher lost its connection and comes back"
        );
        let until = Instant::now() + backoff.wait(after);
        while Instant::now() < until {
            let deadline = self.first_deadline();
            if self.open.is_empty() {
                return sleep_until(until).await;
            }
            sleep_until(until.min(deadline)).await;
            self.expire();
        }
    }

    /// When the time of the first is up; without one the moment does not matter.
    fn first_deadline(&self) -> Instant {
        let first = self.open.first_key_value();
        first.map_or_else(Instant::now, |(_, open)| open.deadline)
    }

    /// Gives up what nobody answered in time.
    fn expire(&mut self) {
        let now = Instant::now();
        let after = self.shared.options.request_timeout;
        while let Some(first) = self.open.first_entry()
            && first.get().deadline <= now
        {
            first.remove().give_up(&Error::TimedOut { after });
        }
    }

    fn give_up(&mut self, why: &Error) {
        for (_, open) in std::mem::take(&mut self.open) {
            open.give_up(why);
        }
    }
}

impl Open {
    /// What was sent may have been stored.
    fn give_up(self, why: &Error) {
        let source = || Arc::new(why.clone());
        let error = match (self.sent, why) {
            (0, Error::Refused(_) | Error::Closed { .. } | Error::Draining) => why.clone(),
            (0, _) => Error::Unavailable {
                attempts: 0,
                source: source(),
            },
            _ => Error::Unknown {
                idempotency_key: self.order.idempotency_key,
                source: source(),
            },
        };
        let _ = self.order.answer.send(Err(error));
    }
}
