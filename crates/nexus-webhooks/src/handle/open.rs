//! Opening: every endpoint that is kept begins to run again where it was.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use http::HeaderMap;
use nexus_core::{Ids, Record};
use nexus_reactors::Turns;
use parking_lot::RwLock;

use super::{Endpoints, Live, Origin, Parts, Shared};
use crate::{
    EndpointsOptions, Error,
    error::chain,
    keys::Keys,
    record::{self, ENDPOINT, Kept},
};

impl Endpoints {
    /// Opens the endpoints of a log. Each goes on where it was; one that cannot run is listed with the
    /// reason, and keeps nobody else from running.
    ///
    /// # Errors
    /// What the log and the engine say.
    pub async fn open(parts: Parts, options: EndpointsOptions) -> Result<Self, Error> {
        let clock = parts.log.clock().clone();
        let random = parts.log.random().clone();
        let shared = Shared {
            ids: Ids::new(clock, random, 0),
            parts,
            options,
            live: RwLock::new(BTreeMap::new()),
            turns: Turns::default(),
            making: tokio::sync::Mutex::default(),
            configuring: tokio::sync::Mutex::default(),
        };
        let endpoints = Self(Arc::new(shared));
        let mut pages = endpoints.log().all_records(ENDPOINT, None);
        while let Some(page) = pages.next().await? {
            for record in &page {
                endpoints.open_one(record).await?;
            }
        }
        Ok(endpoints)
    }

    async fn open_one(&self, record: &Record) -> Result<(), Error> {
        let id = record.key.key.clone();
        if record::is_deleted(record) {
            // The process ended before the engine had forgotten it.
            return self.forget(&id).await;
        }
        let Some(kept) = Kept::decode(record) else {
            tracing::error!(endpoint = %id, "the record of an endpoint is damaged");
            return Ok(());
        };
        let (keys, headers, problem) = match self.open_sealed(&id, &kept).await {
            Ok((keys, headers)) => (keys, headers, None),
            // What the vault refuses stays refused; the log may answer the next time.
            Err(error @ (Error::Log(_) | Error::Vault(nexus_auth::Error::Log { .. }))) => {
                return Err(error);
            }
            Err(error) => (Keys::default(), HeaderMap::new(), Some(chain(&error))),
        };
        let mut live = Live {
            id,
            origin: Origin::Api,
            kept,
            revision: record.revision,
            headers,
            keys: Arc::new(ArcSwap::from_pointee(keys)),
            problem,
        };
        if live.problem.is_none() {
            match self.run(&live).await {
                Ok(()) => {}
                Err(Error::Broken { why, .. }) => live.problem = Some(why),
                Err(error) => return Err(error),
            }
        }
        if let Some(why) = &live.problem {
            tracing::error!(endpoint = %live.id, why, "an endpoint cannot run");
        }
        self.put(live);
        Ok(())
    }

    async fn open_sealed(&self, id: &str, kept: &Kept) -> Result<(Keys, HeaderMap), Error> {
        let keys = self.load_keys(id, &kept.secrets).await?;
        let headers = self.load_headers(id, kept.headers.as_ref()).await?;
        Ok((keys, headers))
    }
}
