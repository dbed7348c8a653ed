//! The whole API: events in and out again, in one envelope.
//!
//! Success is `{"success":true,"data":…,"meta":…,"timestamp":…}`, a refusal a problem in the same
//! envelope. Streams at this face are the live edge's, see [`nexus_ws`].

mod answer;
mod body;
mod cursors;
mod event;
mod faults;
mod list;
pub(crate) mod nodes;
mod page_cursor;
mod publish;
mod question;
pub(crate) mod vault;

use std::sync::Arc;

use http::Method;
use nexus_core::Log;
use nexus_http::{Access, Form, Problem, Reply, Route};

use super::Callers;

/// What the face's handlers share.
pub(crate) struct V1 {
    pub(crate) log: Log,
    pub(crate) callers: Callers,
}

/// What a handler gives back.
type Answered = Result<Reply, Problem>;

/// The routes of the face. Each is also under `/api`, where neo has none of that method and path.
pub(crate) fn routes(v1: &Arc<V1>) -> Vec<Route> {
    let own = v1.clone();
    let publish = Route::post("/api/v1/events", Access::Publish, move |call| {
        let v1 = own.clone();
        async move { publish::publish(&v1, &call).await }
    });
    let own = v1.clone();
    let list = Route::get("/api/v1/events", Access::Read, move |call| {
        let v1 = own.clone();
        async move { list::list(&v1, &call).await }
    });
    let own = v1.clone();
    let event = Route::get("/api/v1/events/{id}", Access::Read, move |call| {
        let v1 = own.clone();
        async move { event::event(&v1, &call).await }
    });
    let aliases = [list.at("/api/events"), event.at("/api/events/{id}")];
    [publish.media_types(body::MEDIA_TYPES), list, event]
        .into_iter()
        .chain(of_cursors(v1))
        .chain(aliases)
        .map(|route| route.form(Form::V1))
        .collect()
}

fn of_cursors(v1: &Arc<V1>) -> [Route; 4] {
    let own = v1.clone();
    let list = Route::get("/api/v1/cursors", Access::Read, move |call| {
        let v1 = own.clone();
        async move { cursors::list(&v1, &call).await }
    });
    let own = v1.clone();
    let path = "/api/v1/cursors/{name}";
    let remove = Route::new(Method::DELETE, path, Access::Read, move |call| {
        let v1 = own.clone();
        async move { cursors::remove(&v1, &call).await }
    });
    [
        list.at("/api/cursors"),
        remove.at("/api/cursors/{name}"),
        list,
        remove,
    ]
}
