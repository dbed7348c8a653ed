//! Publishing over one WebSocket: many events under way at once, each answered by its number.

mod task;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{Client, Error, Publish, Receipt, client::Shared};

/// Publishes events one behind the other without waiting for each answer. Cheap to clone.
///
/// ```no_run
/// use nexus_client::{Client, Publish};
///
/// # async fn example(client: Client) -> Result<(), nexus_client::Error> {
/// let publisher = client.publisher();
/// let mut under_way = Vec::new();
/// for voter in 0..1_000 {
///     let vote = serde_json::json!({ "proposalId": "p-1", "voterId": voter, "decision": "for" });
///     // Waits only while the window is full.
///     under_way.push(publisher.send(Publish::new("vote.cast", &vote)).await?);
/// }
/// for pending in under_way {
///     println!("{}", pending.await?.position);
/// }
/// # Ok(())
/// # }
/// ```
///
/// When the connection is lost, what was not answered is sent again in the same order with the same keys,
/// so that each event is stored once.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    /// How many more may be under way.
    window: Arc<Semaphore>,
}

/// An event that is to be published, and whom to tell.
#[derive(Debug)]
struct Order {
    /// The event as JSON.
    event: String,
    idempotency_key: String,
    answer: oneshot::Sender<Result<Receipt, Error>>,
    _room: OwnedSemaphorePermit,
}

/// An event that is under way. The answer comes, whether it is waited for or not.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Receipt, Error>>);

impl Client {
    /// A publisher with a connection of its own, which is made with the first event.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        let shared = Arc::clone(&self.shared);
        let window = shared.options.window_events_max;
        // Whoever has room in the window has room in the queue.
        let (orders, queue) = mpsc::channel(window);
        let task = task::Task::new(Arc::clone(&shared), queue);
        shared.tasks.spawn(task.run());
        Publisher {
            shared,
            orders,
            window: Arc::new(Semaphore::new(window)),
        }
    }
}

impl Publisher {
    /// Sends an event, as soon as there is room in the window. What becomes of it is told by what comes
    /// back, which is a future.
    ///
    /// # Errors
    /// [`Error::Payload`], [`Error::Invalid`] for a condition, which only a request of its own can have,
    /// [`Error::Draining`].
    pub async fn send(&self, event: Publish) -> Result<Pending, Error> {
        let request = event.into_request()?;
        if request.expected_last.is_some() {
            let why = "a condition needs a request of its own: `Client::publish`";
            return Err(Error::invalid("the event", why));
        }
        self.shared.refuse_if_draining()?;
        let room = Arc::clone(&self.window).acquire_owned().await;
        let room = room.map_err(|_| Error::Draining)?;
        self.shared.refuse_if_draining()?;
        let (answer, pending) = oneshot::channel();
        let order = Order {
            event: request.body,
            idempotency_key: request
                .idempotency_key
                .unwrap_or_else(|| self.shared.new_key()),
            answer,
            _room: room,
        };
        self.orders.send(order).await.map_err(|_| Error::Draining)?;
        Ok(Pending(pending))
    }

    /// Sends an event and waits until it is stored and synced.
    ///
    /// # Errors
    /// As [`Publisher::send`] and [`Client::publish`].
    pub async fn publish(&self, event: Publish) -> Result<Receipt, Error> {
        self.send(event).await?.await
    }
}

impl Future for Pending {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The task answers each order, and only a runtime that ends takes the task away.
        let answer = Pin::new(&mut self.0).poll(cx);
        answer.map(|answer| answer.unwrap_or(Err(Error::Draining)))
    }
}
