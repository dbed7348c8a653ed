//! The way of endpoints into the log and the vault, and out of them.

use http::HeaderMap;
use nexus_auth::{SealedName, Secret};
use nexus_core::{Command, Guard, NewEvent, Principal, ProtocolEvent, Receipt, Source};
use serde_json::{Map, Value, json};

use super::{Endpoints, Operator};
use crate::{
    Error, headers,
    keys::Keys,
    record::{self, Kept, SEALED_OWNER, SealedHeaders, SecretEntry, secret_field},
};

/// The field of the sealed headers.
const HEADERS_FIELD: &str = "headers";
/// A command is sealed anew at most this often, because the vault's keys changed meanwhile.
const SEALINGS_MAX: usize = 3;

/// What goes with a change, into the vault before all.
#[derive(Default)]
pub(super) struct ToSeal<'a> {
    pub(super) secret: Option<(u64, &'a Secret)>,
    pub(super) headers: Option<(u64, &'a HeaderMap)>,
    /// Fields that go.
    pub(super) forgotten: Vec<String>,
    /// Lets the engine begin with a pause.
    pub(super) paused: Option<nexus_core::Change>,
}

impl Endpoints {
    /// Makes one change: what is sealed, an event that tells of it, and the record.
    ///
    /// `seen` is the revision of the record that the change is about; nothing when there is none yet.
    pub(super) async fn keep(
        &self,
        id: &str,
        seen: Option<u64>,
        sealed: ToSeal<'_>,
        event: NewEvent,
        put: nexus_core::Change,
    ) -> Result<Receipt, Error> {
        let vault = &self.0.parts.vault;
        let guard = match seen {
            Some(revision) => Guard::Revision(record::key(id), revision),
            None => Guard::Absent(record::key(id)),
        };
        let mut sealings = 0;
        loop {
            sealings += 1;
            let mut command = Command {
                events: vec![event.clone()],
                guards: vec![guard.clone()],
                ..Command::default()
            };
            command.changes.extend(sealed.paused.clone());
            for field in &sealed.forgotten {
                command.changes.push(vault.delete(&name(id, field)));
            }
            if let Some((number, secret)) = sealed.secret {
                let field = secret_field(number);
                let plain = secret.expose().as_bytes();
                let sealing = vault.seal(&mut command, &name(id, &field), number, plain);
                sealing.map_err(Error::Vault)?;
            }
            if let Some((version, headers)) = sealed.headers {
                let plain = headers::write(headers);
                let sealing = vault.seal(&mut command, &name(id, HEADERS_FIELD), version, &plain);
                sealing.map_err(Error::Vault)?;
            }
            // The last, because the answer has the revision of the last record.
            command.changes.push(put.clone());
            match self.log().submit(&Principal::nexus(), command).await {
                Err(nexus_core::Error::Refused { guard: unmet, .. }) if unmet == guard => {
                    return Err(Error::Stale);
                }
                // The vault's keys were replaced between sealing and keeping.
                Err(nexus_core::Error::Refused { .. }) if sealings < SEALINGS_MAX => {}
                kept => return Ok(kept?),
            }
        }
    }

    /// The secrets of an endpoint, ready to sign. One that cannot be opened is an error: with a part of
    /// them receivers would refuse what they are sent.
    pub(super) async fn load_keys(&self, id: &str, secrets: &[SecretEntry]) -> Result<Keys, Error> {
        let mut keys = Keys::default();
        let now_us = self.now_us();
        for entry in secrets.iter().filter(|entry| entry.is_live(now_us)) {
            let field = secret_field(entry.number);
            let text = self.unseal(id, &field, entry.number).await?;
            let text = String::from_utf8_lossy(&text).into_owned();
            keys.add(&Secret::new(text), entry.expires_us)
                .map_err(Error::Vault)?;
        }
        Ok(keys)
    }

    /// The headers of an endpoint, with their values.
    pub(super) async fn load_headers(
        &self,
        id: &str,
        sealed: Option<&SealedHeaders>,
    ) -> Result<HeaderMap, Error> {
        let Some(sealed) = sealed else {
            return Ok(HeaderMap::new());
        };
        let text = self.unseal(id, HEADERS_FIELD, sealed.version).await?;
        headers::read(&text).ok_or_else(|| Error::Broken {
            id: id.to_owned(),
            why: "its headers are damaged".into(),
        })
    }

    async fn unseal(
        &self,
        record: &str,
        field: &str,
        version: u64,
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
        let name = name(record, field);
        let unsealed = self.0.parts.vault.unseal(&name, version).await;
        unsealed.map_err(Error::Vault)
    }

    /// An event that tells what became of an endpoint.
    pub(super) fn event(
        &self,
        event: ProtocolEvent,
        id: &str,
        operator: &Operator<'_>,
        more: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> NewEvent {
        let by = operator.principal.source().as_str();
        let mut told = told(self, event, id, by, more);
        told.causes = operator.causes.clone();
        told
    }

    /// An event that tells what Nexus itself did to an endpoint.
    pub(crate) fn own_event(&self, event: ProtocolEvent, id: &str, why: &str) -> NewEvent {
        let more = [("why", Value::from(why))];
        told(self, event, id, Source::nexus().as_str(), more)
    }
}

fn told(
    endpoints: &Endpoints,
    event: ProtocolEvent,
    id: &str,
    by: &str,
    more: impl IntoIterator<Item = (&'static str, Value)>,
) -> NewEvent {
    let mut payload = Map::new();
    payload.insert("endpoint".into(), json!(id));
    payload.insert("by".into(), json!(by));
    payload.extend(
        more.into_iter()
            .map(|(name, value)| (name.to_owned(), value)),
    );
    let event_type = endpoints.log().catalogue().known_type(event);
    let mut told = NewEvent::new(event_type, Value::from(payload).to_string());
    told.key = Some(id.into());
    told
}

fn name<'a>(record: &'a str, field: &'a str) -> SealedName<'a> {
    SealedName {
        owner: SEALED_OWNER,
        record,
        field,
    }
}

/// Every field of an endpoint that the vault may hold.
pub(super) fn sealed_fields(kept: &Kept) -> Vec<String> {
    let secrets = kept.secrets.iter().map(|entry| secret_field(entry.number));
    let headers = kept.headers.iter().map(|_| HEADERS_FIELD.to_owned());
    secrets.chain(headers).collect()
}
