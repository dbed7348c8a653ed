//! Jobs: calls of tools that go on when nobody waits for them, and that are never lost and never made twice
//! in silence.
//!
//! A job is in the log before its caller is told of it, and again before its server is asked. So whatever
//! ends Nexus in between, the next start finds each job that was not finished, and says of it that it failed
//! and whether its server may have done something: it is never called again by itself. Every change is an
//! event that its owner and operators can follow.

mod calling;
mod cleanup;
mod id;
mod open;
mod options;
mod progress;
mod query;
mod record;
mod run;
mod writing;

use std::{collections::HashMap, sync::Arc};

use nexus_core::{Causes, Log};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use options::JobsOptions;
pub use progress::{Progress, ProgressView};
pub use query::{JobPage, JobView};
pub use record::{JobFailure, JobState};
pub use run::{Invocation, Invoked};

use self::record::Kept;
use crate::{Error, Hub};

/// Every job. Cheap to clone; all clones are the same jobs.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    log: Log,
    hub: Hub,
    options: JobsOptions,
    /// The jobs that are not finished, by id: whoever runs one holds it.
    live: Mutex<HashMap<Arc<str>, Arc<Live>>>,
    turns: Semaphore,
}

/// A job that is not finished.
struct Live {
    id: Arc<str>,
    user: Arc<str>,
    /// What its events follow from.
    causes: Causes,
    /// As it is kept.
    kept: watch::Sender<Kept>,
    /// Ends it early, because somebody wants that.
    cancel: CancellationToken,
    /// Nobody works on it any more, whatever became of it.
    over: CancellationToken,
    progress: Arc<Progress>,
}

impl Jobs {
    fn now_us(&self) -> i64 {
        self.log().clock().now_us()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    /// What holds for jobs.
    #[must_use]
    pub fn options(&self) -> &JobsOptions {
        &self.0.options
    }

    /// How many jobs are not finished.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.0.live.lock().len()
    }

    /// Takes a place among the unfinished jobs.
    fn admit(&self, live: Live) -> Result<Arc<Live>, Error> {
        let options = &self.0.options;
        let mut all = self.0.live.lock();
        if all.len() >= options.unfinished_max {
            let limit = options.unfinished_max;
            return Err(Error::JobsFull {
                of: "in all",
                limit,
            });
        }
        let of_user = all.values().filter(|other| other.user == live.user);
        if of_user.count() >= options.unfinished_per_user_max {
            let limit = options.unfinished_per_user_max;
            return Err(Error::JobsFull {
                of: "of yours",
                limit,
            });
        }
        let live = Arc::new(live);
        all.insert(live.id.clone(), live.clone());
        Ok(live)
    }

    fn live(&self, id: &str) -> Option<Arc<Live>> {
        self.0.live.lock().get(id).cloned()
    }

    /// Nobody works on it any more.
    fn forget(&self, live: &Live) {
        self.0.live.lock().remove(&live.id);
        live.over.cancel();
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs")
            .field("unfinished", &self.unfinished())
            .finish_non_exhaustive()
    }
}
