//! Wakes the task of a connection only when there is something to do that its poll has not done yet.
//!
//! A request and the reading of its body are parts of one task and wake each other while that is polled. Left to
//! the runtime, each such wake puts the task into a queue once more and wakes another thread, which takes it from
//! there: tens of microseconds, for every request with a body.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire},
    },
    task::{Context, Poll, Wake, Waker},
};

/// It waits for a wake.
const WAITING: u8 = 0;
/// It is polled, and has not been woken since that began.
const POLLED: u8 = 1;
/// It was woken: it is polled again without a further wake.
const WOKEN: u8 = 2;

/// How often it is polled in a row. What wakes itself on and on has to let others run.
const ROUNDS_MAX: usize = 4;

/// The wakes of one task.
#[derive(Debug)]
pub(crate) struct Wakes {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    /// Of the one task that it is polled in.
    task: OnceLock<Waker>,
}

impl Wakes {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU8::new(WAITING),
            task: OnceLock::new(),
        });
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Polls, and polls again if it was woken meanwhile. Always has to be called in the same task.
    pub(crate) fn poll<T>(
        &self,
        task: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Shared { state, task: known } = &*self.shared;
        let known = known.get_or_init(|| task.waker().clone());
        debug_assert!(known.will_wake(task.waker()));
        let mut context = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS_MAX {
            // Sees what every wake was about that this one stands for.
            state.swap(POLLED, AcqRel);
            let polled = poll(&mut context);
            if polled.is_ready() {
                return polled;
            }
            let waits = state.compare_exchange(POLLED, WAITING, AcqRel, Acquire);
            if waits.is_ok() {
                return Poll::Pending;
            }
        }
        known.wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Else it is polled again by whoever polls it, or was woken already.
        if self.state.swap(WOKEN, AcqRel) == WAITING
            && let Some(task) = self.task.get()
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::Duration,
    };

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Polls what wakes itself so often; how often it was polled, and how often its task was woken.
    fn polled(wakes_itself: usize) -> (usize, usize) {
        let counter = Arc::<Counter>::default();
        let task = Waker::from(counter.clone());
        let mut polls = 0;
        let pending = Wakes::new().poll(&Context::from_waker(&task), |context| {
            polls += 1;
            if polls <= wakes_itself {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(pending.is_pending());
        (polls, counter.0.load(SeqCst))
    }

    #[test]
    fn what_wakes_itself_is_polled_again_and_its_task_is_not_woken() {
        assert_eq!(polled(0), (1, 0));
        assert_eq!(polled(1), (2, 0));
        // On and on: others run before it is polled again.
        assert_eq!(polled(usize::MAX), (ROUNDS_MAX, 1));
    }

    #[test]
    fn a_wake_from_elsewhere_wakes_the_task_once_until_it_is_polled() {
        let counter = Arc::<Counter>::default();
        let task = Waker::from(counter.clone());
        let wakes = Wakes::new();
        let poll = || wakes.poll(&Context::from_waker(&task), |_| Poll::<()>::Pending);
        for times in 1..4 {
            assert!(poll().is_pending());
            let elsewhere = wakes.waker.clone();
            elsewhere.wake_by_ref();
            elsewhere.wake();
            assert_eq!(counter.0.load(SeqCst), times);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost_between_two_threads() {
        const MESSAGES: usize = 20_000;
        const PATIENCE: Duration = Duration::from_secs(60);
        let (sender, mut receiver) = unbounded_channel();
        let (back, mut answers) = unbounded_channel();
        let receiving = tokio::spawn(async move {
            let wakes = Wakes::new();
            for _ in 0..MESSAGES {
                let message =
                    poll_fn(|task| wakes.poll(task, |context| receiver.poll_recv(context)));
                back.send(message.await.unwrap()).unwrap();
            }
        });
        // One after the other: a wake that is lost is the end.
        let sending = async {
            for message in 0..MESSAGES {
                sender.send(message).unwrap();
                assert_eq!(answers.recv().await, Some(message));
            }
        };
        tokio::time::timeout(PATIENCE, sending).await.unwrap();
        receiving.await.unwrap();
    }
}
