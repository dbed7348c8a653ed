//! Turns: of each thing that has a name one change at a time, while those with other names do not wait for it.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Whose turn it is, by name. A change may take long, because what it replaces is drained: only what has the same
/// name waits for that.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Arc<str>, Arc<RwLock<()>>>>);

/// Nobody else changes it, or keeps it as it is, until this is dropped.
#[derive(Debug)]
pub struct Turn {
    _turn: OwnedRwLockWriteGuard<()>,
}

/// Nobody changes it until this is dropped.
#[derive(Debug)]
pub struct Kept {
    _turn: OwnedRwLockReadGuard<()>,
}

impl Turns {
    /// Waits until nobody changes what has this name, or keeps it as it is.
    pub async fn change(&self, name: &str) -> Turn {
        Turn {
            _turn: self.of(name).write_owned().await,
        }
    }

    /// Waits until nobody changes what has this name. Any number may keep it as it is.
    pub async fn keep(&self, name: &str) -> Kept {
        Kept {
            _turn: self.of(name).read_owned().await,
        }
    }

    fn of(&self, name: &str) -> Arc<RwLock<()>> {
        let mut turns = self.0.lock();
        // Those that nobody has or waits for are forgotten, so that there are never more than changes.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(name.into()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn now<T>(turn: impl Future<Output = T>) -> Option<T> {
        match pin!(turn).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn only_what_has_the_same_name_waits() {
        let turns = Turns::default();
        let first = now(turns.change("a")).unwrap();
        assert!(now(turns.change("a")).is_none());
        assert!(now(turns.keep("a")).is_none());
        let other = now(turns.change("b")).unwrap();
        drop(first);
        let kept = [now(turns.keep("a")).unwrap(), now(turns.keep("a")).unwrap()];
        assert!(now(turns.change("a")).is_none());
        drop((other, kept));
        assert!(now(turns.change("a")).is_some());
        assert_eq!(turns.0.lock().len(), 1, "what nobody has is forgotten");
    }
}
