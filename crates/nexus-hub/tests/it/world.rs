//! A hub over a log, with servers in this process, and who asks it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use nexus_core::{Log, Nexus, Principal, Publish, Scope as Right, Source};
use nexus_hub::{
    Alias, Call, Caller, CatalogueOptions, ClientCapabilities, Error, Hub, HubServer, Isolation,
    PoolOptions, Review, ServerId, Service, Transport, UpstreamConfig, UpstreamLimits, Upstreams,
};
use nexus_outbound::{Client, OutboundOptions};
use parking_lot::Mutex;
use serde_json::Value;

use crate::fake::{Fake, raw, read};

/// Nothing in these tests takes longer.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A hub over a log.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) log: Log,
    pub(crate) upstreams: Upstreams,
    service: Mutex<Option<Service>>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: CatalogueOptions) -> Self {
        let log = Nexus::in_memory().await.unwrap().log().clone();
        Self::over(log, options).await
    }

    /// As after a restart.
    pub(crate) async fn over(log: Log, options: CatalogueOptions) -> Self {
        let client = Client::new(&OutboundOptions::default()).unwrap();
        let upstreams = Upstreams::new(PoolOptions::default(), client);
        let opened = Hub::open(log.clone(), upstreams.clone(), options).await;
        let (hub, service) = opened.unwrap();
        Self {
            hub,
            log,
            upstreams,
            service: Mutex::new(Some(service)),
        }
    }

    /// Starts the loop; nothing is read by itself before.
    pub(crate) fn run(&self) {
        let service = self.service.lock().take().unwrap();
        tokio::spawn(service.run());
    }

    /// Puts a system server in.
    pub(crate) async fn put(&self, alias: &str, fake: &Fake) -> ServerId {
        self.put_as(server(alias), fake).await
    }

    /// Puts a server of a user in.
    pub(crate) async fn put_of(&self, owner: &str, alias: &str, fake: &Fake) -> ServerId {
        let server = HubServer {
            id: ServerId::new(format!("{owner}-{alias}")),
            owner: Some(owner.into()),
            ..server(alias)
        };
        self.put_as(server, fake).await
    }

    pub(crate) async fn put_as(&self, server: HubServer, fake: &Fake) -> ServerId {
        let id = server.id.clone();
        self.upstreams.put(id.clone(), Arc::new(fake.clone()));
        self.hub.put_server(server, config(&id)).await.unwrap();
        id
    }

    /// Puts a system server in and reads its lists.
    pub(crate) async fn listed(&self, alias: &str, fake: &Fake) -> ServerId {
        let id = self.put(alias, fake).await;
        self.hub.sync(&id).await.unwrap();
        id
    }

    /// The names of the tools that a user sees.
    pub(crate) fn names(&self, user: &str) -> Vec<String> {
        let view = self.hub.view(&caller(user), "").unwrap();
        let items = view.tools().items().iter();
        items.map(|item| item.name().to_owned()).collect()
    }

    pub(crate) async fn call(&self, user: &str, tool: &str) -> Result<Value, Error> {
        let answer = self
            .hub
            .call(&caller(user), "", Call::tool(tool, None))
            .await?;
        Ok(read(answer.get()))
    }

    /// Passes any request on.
    pub(crate) async fn ask(
        &self,
        caller: &Caller,
        method: &'static str,
        params: &str,
    ) -> Result<Value, Error> {
        let call = Call::new(method, Some(raw(params)));
        let answer = self.hub.call(caller, "", call).await?;
        Ok(read(answer.get()))
    }
}

/// Without limits of rate, and with short waits.
pub(crate) fn options() -> CatalogueOptions {
    CatalogueOptions {
        debounce: Duration::from_millis(20),
        sync_retry: Duration::from_millis(20),
        circuit_open: Duration::from_millis(50),
        list_timeout: Duration::from_millis(200),
        user_calls_per_minute: 0,
        tool_calls_per_minute: 0,
        ..CatalogueOptions::default()
    }
}

pub(crate) fn server(alias: &str) -> HubServer {
    HubServer {
        id: ServerId::new(format!("system-{alias}")),
        alias: Alias::parse(alias).unwrap(),
        name: alias.into(),
        owner: None,
        enabled: true,
        calls_per_minute: 0,
        review: Review::Changes,
        overrides: BTreeMap::new(),
    }
}

pub(crate) fn config(id: &ServerId) -> UpstreamConfig {
    UpstreamConfig {
        id: id.clone(),
        revision: 1,
        transport: Transport::Stdio {
            program: "/nowhere".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
        },
        isolation: Isolation::Shared,
        capabilities: ClientCapabilities::none(),
        limits: UpstreamLimits::stdio(),
    }
}

/// A user in a session of theirs.
pub(crate) fn caller(user: &str) -> Caller {
    let rights = [Right::Read, Right::Publish].into_iter().collect();
    let principal = Principal::new(Source::user(user), Publish::Unreserved, rights);
    Caller {
        principal,
        user: user.into(),
        session: Some(format!("session of {user}").into()),
        is_operator: false,
    }
}

pub(crate) fn operator() -> Caller {
    Caller {
        is_operator: true,
        ..caller("operator")
    }
}

/// Waits until something is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, waited).await.unwrap();
}
