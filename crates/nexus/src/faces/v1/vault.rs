//! `/api/v1/vault/rotate`: seals every secret in the log anew, with the key that is configured now.

use http::StatusCode;
use nexus_auth::{Rotation, Vault};
use nexus_core::Clock;
use nexus_http::{Access, Call, Form, Reply, Route};
use serde::Serialize;

use super::{Answered, nodes::administrator};
use crate::faces::Callers;

#[derive(Serialize)]
struct Rotated {
    /// How many were sealed anew.
    rewrapped: usize,
    /// How many are sealed, all with this key.
    sealed: usize,
    key_id: String,
}

/// `POST /api/v1/vault/rotate`, also under `/api`.
pub(crate) fn routes(vault: &Vault, callers: &Callers, clock: &Clock) -> [Route; 2] {
    let state = (vault.clone(), callers.clone(), clock.clone());
    let path = "/api/v1/vault/rotate";
    let rotate = Route::post(path, Access::Admin, move |call| {
        let (vault, callers, clock) = state.clone();
        async move { rotate(&vault, &callers, &clock, &call).await }
    });
    let rotate = rotate.form(Form::V1);
    [rotate.at("/api/vault/rotate"), rotate]
}

async fn rotate(vault: &Vault, callers: &Callers, clock: &Clock, call: &Call) -> Answered {
    let by = administrator(callers, call)?;
    call.refuse_unknown_query(&[])?;
    // A caller that goes away leaves some with one key and some with the other, which is as good as before.
    let rotation = vault.rotate().await?;
    let Rotation {
        rewrapped,
        sealed,
        key_id,
    } = rotation;
    tracing::info!(rewrapped, sealed, %key_id, by = %by.source(), "secrets were sealed anew");
    let key_id = key_id.to_string();
    let body = Rotated {
        rewrapped,
        sealed,
        key_id,
    };
    Ok(Reply::enveloped(StatusCode::OK, clock, &body, None::<&()>))
}
