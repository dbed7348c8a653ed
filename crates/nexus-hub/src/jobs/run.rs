//! Calling a tool: at once, as a job, or as one that becomes a job when it takes long.

use std::sync::Arc;

use nexus_core::{Causes, Coded, Kind};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    JobView, Jobs, Live,
    calling::{
        Calling, Wanted, panicked, params, result, spawn, unless_panicked, with_token_if_none,
    },
    id,
    record::{JobFailure, Kept, Outcome},
};
use crate::{Call, CallError, Caller, Error, EstimatedDuration, Raw, View, view::Target};

/// A call of a tool that may become a job.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The tool, as the caller's view names it.
    pub tool: String,
    /// Its arguments, an object.
    pub arguments: Option<Raw>,
    /// Whether the caller wants a job, however fast it would be.
    pub wants_job: bool,
    /// What the events that tell of it follow from.
    pub causes: Causes,
}

/// What comes of a call.
#[derive(Debug)]
pub enum Invoked {
    /// The result, as the server wrote it.
    Result(Raw),
    /// A job that goes on.
    Job(Box<JobView>),
}

impl Jobs {
    /// Calls a tool. It becomes a job when the caller wants that, when the tool is known to be slow, or when
    /// it takes longer than the options say.
    ///
    /// # Errors
    /// What the hub says, and [`Error::JobsFull`].
    pub async fn invoke(&self, caller: &Caller, invocation: Invocation) -> Result<Invoked, Error> {
        let hub = &self.0.hub;
        if invocation.wants_job || is_slow(&*hub.view(caller, "")?, &invocation.tool)? {
            let job = self.start(caller, &invocation).await?;
            return Ok(Invoked::Job(Box::new(job)));
        }
        let live = self.live_of(caller, &invocation);
        // Whoever goes away before it is a job does not want it any more.
        let guard = live.cancel.clone().drop_guard();
        let wanted = Wanted::of_all(self.call(&invocation, &live));
        let mut calling = spawn(hub, caller, wanted);
        tokio::select! {
            biased;
            ended = &mut calling => return result(ended).map(Invoked::Result),
            () = tokio::time::sleep(self.options().promote_after) => {}
        }
        let jobs = self.clone();
        // To its end, also when the caller goes away: what is in the log has to be worked on.
        let promoted = tokio::spawn(async move {
            match jobs.adopt(live).await {
                Ok((live, revision)) => {
                    guard.disarm();
                    let view = jobs.view_of_live(&live);
                    tokio::spawn(async move { jobs.finish(&live, revision, calling).await });
                    Ok(view)
                }
                Err(error) => Err((error, calling, guard)),
            }
        });
        match unless_panicked(promoted.await)? {
            Ok(view) => Ok(Invoked::Job(Box::new(view))),
            // What cannot be kept cannot be followed: then it is waited for.
            Err((error, calling, _guard)) => {
                tracing::warn!(%error, "a call cannot become a job");
                result(calling.await).map(Invoked::Result)
            }
        }
    }

    /// Begins a job: it is in the log when this returns. What its call costs of the limits is taken by then.
    ///
    /// # Errors
    /// A tool that is not there for the caller, [`Error::JobsFull`], [`Error::RateLimited`], and what the log
    /// says.
    pub async fn start(&self, caller: &Caller, invocation: &Invocation) -> Result<JobView, Error> {
        // What cannot be called need not be begun.
        is_slow(&*self.0.hub.view(caller, "")?, &invocation.tool)?;
        let live = self.live_of(caller, invocation);
        let call = self.call(invocation, &live);
        self.begin(caller, live, Wanted::of_all(call)).await
    }

    /// As [`Jobs::start`], of a call as a client of MCP wrote it, by a name that it has in a namespace.
    ///
    /// # Errors
    /// As [`Jobs::start`].
    pub async fn start_call(
        &self,
        caller: &Caller,
        namespace: &Arc<str>,
        name: &str,
        params: Raw,
        causes: Causes,
    ) -> Result<JobView, Error> {
        let view = self.0.hub.view(caller, namespace)?;
        // Whoever looks at their jobs sees the name that it has among all.
        let tool = match &view.tool(name)?.target {
            Target::Server { entry, .. } => entry.exposed.to_string(),
            Target::Own(_) => name.to_owned(),
        };
        let invocation = Invocation {
            tool,
            arguments: None,
            wants_job: true,
            causes,
        };
        let live = self.live_of(caller, &invocation);
        let call = self.calling(with_token_if_none(params), &live);
        let namespace = namespace.clone();
        let wanted = Wanted {
            namespace,
            call,
            is_paid: false,
        };
        self.begin(caller, live, wanted).await
    }

    async fn begin(
        &self,
        caller: &Caller,
        live: Live,
        mut wanted: Wanted,
    ) -> Result<JobView, Error> {
        let (jobs, caller) = (self.clone(), caller.clone());
        // To its end, also when the caller goes away: what is in the log has to be worked on.
        let begun = tokio::spawn(async move {
            let live = jobs.admit(live)?;
            // Now and not when its turn comes: who calls too often is told so before anything is written,
            // and what is written is not refused later.
            let paid = jobs.0.hub.pay(&caller, &wanted.namespace, &wanted.call);
            jobs.unless_refused(&live, paid)?;
            wanted.is_paid = true;
            let kept = live.kept.borrow().clone();
            let written = jobs.keep(&live.id, None, &[&kept], &live.causes).await;
            let revision = jobs.unless_refused(&live, written)?;
            let view = jobs.view_of_live(&live);
            tokio::spawn(async move { jobs.run(&live, revision, &caller, wanted).await });
            Ok(view)
        });
        unless_panicked(begun.await)?
    }

    /// Makes a job of a call that runs already.
    async fn adopt(&self, live: Live) -> Result<(Arc<Live>, u64), Error> {
        let live = self.admit(live)?;
        let created = live.kept.borrow().clone();
        let started = created.clone().started(self.now_us());
        let told = [&created, &started];
        let written = self.keep(&live.id, None, &told, &live.causes).await;
        let revision = self.unless_refused(&live, written)?;
        live.kept.send_replace(started);
        Ok((live, revision))
    }

    fn live_of(&self, caller: &Caller, invocation: &Invocation) -> Live {
        let kept = Kept::new(&invocation.tool, &caller.user, self.now_us());
        Live {
            id: id::new(kept.created_us, self.log().random()).into(),
            user: kept.user.clone(),
            causes: invocation.causes.clone(),
            kept: watch::Sender::new(kept),
            cancel: CancellationToken::new(),
            over: CancellationToken::new(),
            progress: Arc::default(),
        }
    }

    /// A job that could not be kept is none.
    fn unless_refused<T>(&self, live: &Live, kept: Result<T, Error>) -> Result<T, Error> {
        if kept.is_err() {
            self.forget(live);
        }
        kept
    }

    fn call(&self, invocation: &Invocation, live: &Live) -> Call {
        let params = params(&invocation.tool, invocation.arguments.as_deref());
        self.calling(params, live)
    }

    fn calling(&self, params: Option<Raw>, live: &Live) -> Call {
        Call {
            deadline: Some(Instant::now() + self.options().timeout),
            cancel: live.cancel.clone(),
            peer: Some(live.progress.clone()),
            ..Call::new("tools/call", params)
        }
    }

    /// Waits for its turn, says in the log that it begins, and begins.
    async fn run(&self, live: &Arc<Live>, revision: u64, caller: &Caller, mut wanted: Wanted) {
        let turn = tokio::select! {
            biased;
            () = live.cancel.cancelled() => None,
            turn = self.0.turns.acquire() => turn.ok(),
        };
        let Some(_turn) = turn else {
            self.end(live, revision, Outcome::Cancelled).await;
            return;
        };
        let started = live.kept.borrow().clone().started(self.now_us());
        let kept = self
            .keep_surely(&live.id, revision, &started, &live.causes)
            .await;
        match kept {
            Ok(revision) => {
                live.kept.send_replace(started);
                wanted.call.deadline = Some(Instant::now() + self.options().timeout);
                let calling = spawn(&self.0.hub, caller, wanted);
                self.finish(live, revision, calling).await;
            }
            // It must not begin unsaid: the next start says that it did not.
            Err(error) => self.give_up(live, &error),
        }
    }

    /// Waits for the end of the call, and says in the log what came of it.
    async fn finish(&self, live: &Arc<Live>, revision: u64, mut calling: Calling) {
        let ended = tokio::select! {
            biased;
            ended = &mut calling => Some(ended.unwrap_or_else(|_| Err(panicked()))),
            () = live.cancel.cancelled() => None,
        };
        let outcome = match ended {
            Some(Ok(result)) => self.completed(result),
            Some(Err(Error::Call(CallError::Cancelled))) if live.cancel.is_cancelled() => {
                Outcome::Cancelled
            }
            Some(Err(error)) => Outcome::Failed(failure(&error)),
            None => {
                calling.abort();
                Outcome::Cancelled
            }
        };
        self.end(live, revision, outcome).await;
    }

    fn completed(&self, result: Raw) -> Outcome {
        let limit_bytes = self.options().result_bytes_max;
        if result.get().len() <= limit_bytes {
            return Outcome::Completed(result.into());
        }
        Outcome::Failed(JobFailure {
            code: "result-too-large".into(),
            message: format!("the result is larger than {limit_bytes} bytes, and is not kept"),
            retriable: false,
        })
    }

    /// Says in the log how a job ended.
    async fn end(&self, live: &Arc<Live>, revision: u64, outcome: Outcome) {
        let ended = live.kept.borrow().clone().ended(outcome, self.now_us());
        match self
            .keep_surely(&live.id, revision, &ended, &live.causes)
            .await
        {
            Ok(_) => {
                // Whoever waits for the end looks at this, and whoever comes later at the log.
                live.kept.send_replace(ended);
                self.forget(live);
            }
            Err(error) => self.give_up(live, &error),
        }
    }

    /// The log takes nothing: the next start says what is known of the job.
    fn give_up(&self, live: &Live, error: &Error) {
        let error = error as &dyn std::error::Error;
        tracing::error!(error, job = %live.id, "what became of a job could not be kept");
        self.forget(live);
    }
}

/// Whether a tool is known to be slow.
fn is_slow(view: &View, tool: &str) -> Result<bool, Error> {
    let item = view.tool(tool)?;
    Ok(item.metadata().estimated_duration == EstimatedDuration::Slow)
}

/// What a failure is told as.
fn failure(error: &Error) -> JobFailure {
    let retriable = matches!(
        error.kind(),
        Kind::Unavailable | Kind::Unknown | Kind::Limited
    );
    JobFailure {
        code: error.code().into(),
        message: error.to_string(),
        retriable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_help_to_ask_again_is_retriable() {
        let gone = Error::from(CallError::Gone { why: "x".into() });
        assert!(failure(&gone).retriable);
        let refused = Error::from(CallError::Rpc(crate::RpcError::new(-1, "no")));
        assert!(!failure(&refused).retriable);
    }
}
