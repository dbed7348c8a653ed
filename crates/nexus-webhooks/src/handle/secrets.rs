//! The secrets of an endpoint: a new one, and an end to an old one.

use std::{sync::Arc, time::Duration};

use nexus_auth::Secret;
use nexus_core::ProtocolEvent;
use nexus_http::Fault;
use serde_json::json;

use super::{Endpoints, Live, Operator, store::ToSeal, view::EndpointView};

use crate::{
    Error,
    options::{GRACE_MAX, SECRETS_MAX},
    record::{Kept, SecretEntry, secret_field},
};

/// A secret that is new.
#[derive(Debug)]
pub struct Rotated {
    /// The endpoint.
    pub endpoint: EndpointView,
    /// The new secret, which is shown this once.
    pub secret: Secret,
    /// Which one it is.
    pub number: u64,
}

impl Endpoints {
    /// Gives an endpoint a new secret. Those that it has sign beside the new one for `grace`, by default for
    /// as long as the options say. One that could not run because what was sealed of it is lost runs again,
    /// without the headers that are lost too.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ReadOnly`], [`Error::Invalid`] for a grace that is too long,
    /// [`Error::TooMany`] when too many secrets sign already, and what the vault and the log say.
    pub async fn rotate(
        &self,
        operator: &Operator<'_>,
        id: &str,
        grace: Option<Duration>,
    ) -> Result<Rotated, Error> {
        let grace = grace.unwrap_or(self.0.options.grace);
        if grace > GRACE_MAX {
            let detail = format!("must be at most {}", GRACE_MAX.as_secs());
            let faults = vec![Fault::new("/grace_s", detail)];
            return Err(Error::Invalid { faults });
        }
        let _turn = self.0.turns.change(id).await;
        let live = self.of_api(id)?;
        let now_us = self.now_us();
        let grace_us = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let until_us = now_us.saturating_add(grace_us);
        let number = 1 + live.kept.secrets.first().map_or(0, |newest| newest.number);
        let mut kept = live.kept.clone();
        if live.problem.is_some() {
            kept.secrets.clear();
            kept.headers = None;
        }
        for old in &mut kept.secrets {
            let expires_us = old.expires_us.map_or(until_us, |at_us| at_us.min(until_us));
            old.expires_us = Some(expires_us);
        }
        let forgotten = forget_expired(&mut kept, now_us);
        if kept.secrets.len() >= SECRETS_MAX {
            return Err(Error::TooMany {
                what: "secrets that sign",
                limit: SECRETS_MAX,
            });
        }
        let newest = SecretEntry {
            number,
            created_us: now_us,
            expires_us: None,
        };
        kept.secrets.insert(0, newest);
        let secret = Secret::generate_standard(self.log().random());
        let sealed = ToSeal {
            secret: Some((number, &secret)),
            forgotten,
            ..ToSeal::default()
        };
        let live = self.keep_secrets(operator, &live, kept, sealed).await?;
        Ok(Rotated {
            endpoint: self.view(&live),
            secret,
            number,
        })
    }

    /// Lets a secret sign no more, before its grace is over.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::SecretNotFound`], [`Error::NewestSecret`], [`Error::ReadOnly`], and what
    /// the vault and the log say.
    pub async fn retire(
        &self,
        operator: &Operator<'_>,
        id: &str,
        number: u64,
    ) -> Result<(), Error> {
        let _turn = self.0.turns.change(id).await;
        let live = self.of_api(id)?;
        let now_us = self.now_us();
        let mut kept = live.kept.clone();
        let mut forgotten = forget_expired(&mut kept, now_us);
        let place = kept.secrets.iter().position(|entry| entry.number == number);
        match place {
            None => return Err(Error::SecretNotFound { number }),
            Some(0) => return Err(Error::NewestSecret),
            Some(place) => kept.secrets.remove(place),
        };
        forgotten.push(secret_field(number));
        let sealed = ToSeal {
            forgotten,
            ..ToSeal::default()
        };
        self.keep_secrets(operator, &live, kept, sealed).await?;
        Ok(())
    }

    /// Keeps which secrets sign, and signs with them from here on.
    async fn keep_secrets(
        &self,
        operator: &Operator<'_>,
        live: &Live,
        mut kept: Kept,
        sealed: ToSeal<'_>,
    ) -> Result<Arc<Live>, Error> {
        let id = &*live.id;
        kept.changed_us = self.now_us();
        let more = [("changed", json!(["secrets"]))];
        let told = self.event(ProtocolEvent::EndpointChanged, id, operator, more);
        let seen = Some(live.revision);
        let receipt = self.keep(id, seen, sealed, told, kept.put(id)).await?;
        let keys = self.load_keys(id, &kept.secrets).await?;
        // Deliveries that run look at them when they sign.
        live.keys.store(Arc::new(keys));
        let now = self.replaced(live, kept, &receipt, None);
        if live.problem.is_some() {
            self.run(&now).await?;
        }
        Ok(now)
    }
}

/// Takes out the secrets that sign no more; the fields that the vault may forget.
fn forget_expired(kept: &mut Kept, now_us: i64) -> Vec<String> {
    let (live, expired): (Vec<_>, Vec<_>) =
        kept.secrets.iter().partition(|entry| entry.is_live(now_us));
    kept.secrets = live;
    expired
        .into_iter()
        .map(|entry: SecretEntry| secret_field(entry.number))
        .collect()
}
