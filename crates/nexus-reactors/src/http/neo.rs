//! The engine's routes on the neo face: how many deliveries wait, and which were given up.

use ::http::StatusCode;
use nexus_auth::Auth;
use nexus_core::{Principal, Scope, Topic, iso8601_ms};
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{DeadLetter, Handle};

/// How many dead letters are listed unless the caller says.
const LETTERS_DEFAULT: usize = 100;
/// At most this many dead letters are listed.
const LETTERS_MAX: usize = 1_000;

/// `GET /retry/stats` and `GET /retry/dead-letters`, each also under `/api`.
pub(super) fn routes(handle: &Handle, auth: &Auth) -> Vec<Route> {
    let state = (handle.clone(), auth.clone());
    let stats = Route::get("/retry/stats", Access::Operate, move |call| {
        let (handle, auth) = state.clone();
        async move { stats(&handle, &auth, &call) }
    });
    let state = (handle.clone(), auth.clone());
    let letters = Route::get("/retry/dead-letters", Access::Operate, move |call| {
        let (handle, auth) = state.clone();
        async move { letters(&handle, &auth, &call).await }
    });
    let aliases = [
        stats.at("/api/retry/stats"),
        letters.at("/api/retry/dead-letters"),
    ];
    [stats, letters].into_iter().chain(aliases).collect()
}

#[derive(Serialize)]
struct StatsAnswer {
    success: bool,
    stats: StatsBody,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsBody {
    pending: usize,
    dead_letters: usize,
    oldest_retry: Option<String>,
}

fn stats(handle: &Handle, auth: &Auth, call: &Call) -> Result<Reply, Problem> {
    operator(auth, call)?;
    let stats = handle.stats();
    let stats = StatsBody {
        pending: stats.pending,
        dead_letters: stats.dead_letters,
        oldest_retry: stats.oldest_retry_us.map(iso8601_ms),
    };
    Ok(Reply::json(
        StatusCode::OK,
        &StatsAnswer {
            success: true,
            stats,
        },
    ))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LettersAnswer<'a> {
    success: bool,
    count: usize,
    dead_letters: Vec<LetterBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LetterBody<'a> {
    id: &'a str,
    task_id: String,
    r#type: &'a str,
    target_url: Option<&'a str>,
    payload: Option<&'a RawValue>,
    attempts: u32,
    final_error: &'a str,
    created_at: String,
    failed_at: String,
}

impl<'a> LetterBody<'a> {
    fn new(letter: &'a DeadLetter) -> Self {
        Self {
            id: &letter.id,
            task_id: letter.event_id.to_string(),
            r#type: &letter.reactor,
            target_url: letter.target_url.as_deref(),
            // The sender's own text; what is in the log is JSON.
            payload: letter
                .payload
                .as_deref()
                .and_then(|text| serde_json::from_slice(text).ok()),
            attempts: letter.attempts,
            final_error: &letter.final_error,
            created_at: iso8601_ms(letter.created_us),
            failed_at: iso8601_ms(letter.failed_us),
        }
    }
}

/// The newest dead letters, without those of events that the caller may not read.
async fn letters(handle: &Handle, auth: &Auth, call: &Call) -> Result<Reply, Problem> {
    let caller = operator(auth, call)?;
    let mut letters = handle
        .dead_letters(call.limit(LETTERS_DEFAULT, LETTERS_MAX)?)
        .await?;
    letters.retain(|letter| {
        let operates = caller.scopes().has(Scope::Operate);
        Topic::parse(&letter.topic).is_ok_and(|topic| {
            caller.readable().matches(&topic) && (operates || !topic.is_private())
        })
    });
    let answer = LettersAnswer {
        success: true,
        count: letters.len(),
        dead_letters: letters.iter().map(LetterBody::new).collect(),
    };
    Ok(Reply::json(StatusCode::OK, &answer))
}

/// Who asks; refuses whoever is no operator. A node that signs may ask what it may read.
fn operator(auth: &Auth, call: &Call) -> Result<Principal, Problem> {
    call.identify(|headers| auth.asks_for(headers, Scope::Operate))
}
