//! What others hold of the endpoints: cheap to clone, makes, changes and shows them.

mod backlog;
mod change;
mod configured;
mod open;
mod secrets;
mod store;
mod testing;
mod view;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use http::HeaderMap;
use nexus_auth::Vault;
use nexus_core::{Causes, Ids, Log, Position, Principal};
use nexus_outbound::{Client, Trust};
use nexus_reactors::{Handle, Turns};
use parking_lot::RwLock;

pub use backlog::Backlog;
pub use change::Created;
pub use configured::{Configured, EndpointProblem};
pub use secrets::Rotated;
pub use testing::Tested;
pub use view::{EndpointView, SecretView};

use crate::{
    EndpointsOptions, Error,
    delivery::{self, Delivery},
    input::EndpointInput,
    keys::Keys,
    record::Kept,
    settings::{self, Checked, Rules},
};

/// What endpoints are made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The log that events come from and endpoints are kept in.
    pub log: Log,
    /// What makes the calls.
    pub client: Client,
    /// What runs the deliveries.
    pub engine: Handle,
    /// What keeps the secrets.
    pub vault: Vault,
}

/// Every endpoint. Cheap to clone; all clones are the same endpoints.
#[derive(Clone)]
pub struct Endpoints(Arc<Shared>);

struct Shared {
    parts: Parts,
    options: EndpointsOptions,
    ids: Ids,
    live: RwLock<BTreeMap<Arc<str>, Arc<Live>>>,
    /// Whose change it is, by id: none waits for the receiver of another.
    turns: Turns,
    /// Held by whoever makes one, so that there are never too many.
    making: tokio::sync::Mutex<()>,
    /// Held while the endpoints of a configuration are put in the place of others.
    configuring: tokio::sync::Mutex<()>,
}

/// Where an endpoint was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Api,
    Configuration,
}

/// An endpoint as it runs.
#[derive(Clone)]
struct Live {
    id: Arc<str>,
    origin: Origin,
    kept: Kept,
    /// The revision of its record; zero for one of the configuration.
    revision: u64,
    headers: HeaderMap,
    keys: Arc<ArcSwap<Keys>>,
    /// Why it cannot run, if it cannot.
    problem: Option<String>,
}

/// Who wants something of an endpoint, and where that came from.
#[derive(Debug, Clone)]
pub struct Operator<'a> {
    /// Who it is. Endpoints get the rights of whoever made or changed them last.
    pub principal: &'a Principal,
    /// What the events that tell of it follow from.
    pub causes: Causes,
}

impl Endpoints {
    /// Judges what is asked for as if it were to be made, and makes nothing.
    fn check(&self, input: &EndpointInput, trust: Trust) -> Result<Checked, Error> {
        let shared = &self.0;
        let rules = Rules {
            catalogue: &shared.parts.log.catalogue(),
            options: &shared.options,
            client: &shared.parts.client,
            trust,
            now_us: self.now_us(),
        };
        settings::check(input, &rules).map_err(|faults| Error::Invalid { faults })
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.parts.log
    }

    pub(crate) fn engine(&self) -> &Handle {
        &self.0.parts.engine
    }

    fn now_us(&self) -> i64 {
        self.log().clock().now_us()
    }

    /// The endpoint with an id.
    fn live(&self, id: &str) -> Result<Arc<Live>, Error> {
        let live = self.0.live.read().get(id).cloned();
        live.ok_or_else(|| Error::NotFound {
            id: id.chars().take(64).collect(),
        })
    }

    /// The endpoint with an id, if it may be changed over the API.
    fn of_api(&self, id: &str) -> Result<Arc<Live>, Error> {
        let live = self.live(id)?;
        match live.origin {
            Origin::Api => Ok(live),
            Origin::Configuration => Err(Error::ReadOnly),
        }
    }

    fn put(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        let mut all = self.0.live.write();
        all.insert(live.id.clone(), live.clone());
        live
    }

    /// What delivers to an endpoint.
    fn delivery(&self, live: &Live) -> Result<Delivery, Error> {
        let parts = &self.0.parts;
        let broken = |why: String| Error::Broken {
            id: live.id.to_string(),
            why,
        };
        let kept = &live.kept;
        let selection = kept.settings.selection(&parts.log.catalogue());
        let reads = kept.readable();
        let reads = reads.ok_or_else(|| broken("its rights cannot be read".into()))?;
        let begin: Position = kept.begin.parse()?;
        let options = delivery::options(
            &live.id,
            &kept.settings,
            selection.map_err(broken)?,
            &reads,
            begin,
            &self.0.options,
        );
        Ok(Delivery {
            options,
            settings: Arc::new(kept.settings.clone()),
            headers: live.headers.clone(),
            trust: live.trust(),
            keys: live.keys.clone(),
            client: parts.client.clone(),
            log: parts.log.clone(),
        })
    }

    /// Lets the engine run an endpoint, in the place of what it was before.
    async fn run(&self, live: &Live) -> Result<(), Error> {
        let delivery = Arc::new(self.delivery(live)?);
        Ok(self.0.parts.engine.add(delivery).await?)
    }
}

impl Live {
    /// An operator may have written a private address into the configuration; one that came by the API is
    /// foreign.
    fn trust(&self) -> Trust {
        match self.origin {
            Origin::Api => Trust::Foreign,
            Origin::Configuration => Trust::Configured,
        }
    }
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints")
            .field("count", &self.0.live.read().len())
            .finish_non_exhaustive()
    }
}
