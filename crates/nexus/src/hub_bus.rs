//! The bus as an MCP server: what agents do over other faces, as tools and resources for those that speak
//! MCP. It stands in the hub beside the servers outside, and whoever calls it has the rights they have
//! everywhere.

mod describe;
mod publish;
mod read;
mod refusal;
mod resources;
mod sessions;
mod watch;
mod work;

use std::{future::Future, pin::Pin, sync::Arc};

use nexus_agents::{Handle, Pace};
use nexus_core::{Log, Principal};
use nexus_hub::{
    About, CallError, Changed, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Raw, Request,
    RpcError, Upstream,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};
use tokio::sync::broadcast;

use self::{describe::Described, refusal::Refusal, watch::Watches};
use crate::limits::NodeLimits;

/// What a call of the bus gives.
type Told = Result<Value, Refusal>;
type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send + 'a>>;

/// So many changes are kept for who reads them late.
const CHANGES_KEPT: usize = 256;

/// The bus. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bus(Arc<Shared>);

struct Shared {
    log: Log,
    agents: Handle,
    pace: Pace,
    limits: Arc<NodeLimits>,
    described: Described,
    about: Arc<About>,
    watches: Watches,
    changes: broadcast::Sender<Changed>,
}

/// What one call may use of the bus.
struct Context<'a> {
    log: &'a Log,
    agents: &'a Handle,
    pace: &'a Pace,
    limits: &'a NodeLimits,
    caller: &'a Principal,
}

#[derive(Deserialize)]
struct ToolCall {
    name: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
}

impl Bus {
    /// The bus, of which at most `watches_max` patterns are followed at once.
    pub(crate) fn new(
        log: Log,
        agents: Handle,
        pace: Pace,
        limits: Arc<NodeLimits>,
        watches_max: usize,
    ) -> Self {
        let changes = broadcast::channel(CHANGES_KEPT).0;
        Self(Arc::new(Shared {
            watches: Watches::new(log.clone(), changes.clone(), watches_max),
            described: Described::new(),
            about: Arc::new(about()),
            log,
            agents,
            pace,
            limits,
            changes,
        }))
    }

    async fn answer(&self, request: Request) -> Result<Raw, CallError> {
        let shared = &*self.0;
        // Whoever did not say who they are may nothing.
        let nobody = nobody();
        let caller = request.principal.as_ref().unwrap_or(&nobody);
        let context = Context {
            log: &shared.log,
            agents: &shared.agents,
            pace: &shared.pace,
            limits: &shared.limits,
            caller,
        };
        let params = request.params.as_deref();
        match &*request.method {
            "ping" => Ok(raw(&json!({}))),
            "tools/list" => Ok(shared.described.tools.clone()),
            "resources/list" => Ok(shared.described.resources.clone()),
            "resources/templates/list" => Ok(shared.described.templates.clone()),
            "prompts/list" => Ok(raw(&json!({ "prompts": [] }))),
            "tools/call" => Ok(called(context.call(read_params(params)?).await?)),
            "resources/read" => resources::read(&context, &read_params(params)?).await,
            "resources/subscribe" => {
                resources::subscribe(&context, &shared.watches, &read_params(params)?)
            }
            "resources/unsubscribe" => {
                resources::unsubscribe(&shared.watches, &read_params(params)?)
            }
            "completion/complete" => resources::complete(&context, &read_params(params)?),
            method => {
                let why = format!("the bus has no method {method}");
                Err(CallError::Rpc(RpcError::new(METHOD_NOT_FOUND, why)))
            }
        }
    }
}

impl Context<'_> {
    async fn call(&self, call: ToolCall) -> Result<Told, CallError> {
        let arguments = call.arguments.as_deref();
        Ok(match &*call.name {
            "nexus_publish" => publish::publish(self, arguments).await,
            "nexus_read" => read::read(self, arguments).await,
            "nexus_topics" => publish::topics(self, arguments),
            "nexus_claim_work" => work::claim(self, arguments).await,
            "nexus_renew_work" => work::renew(self, arguments).await,
            "nexus_release_work" => work::release(self, arguments).await,
            "nexus_complete_work" => work::complete(self, arguments).await,
            "nexus_work" => work::list(self, arguments),
            "nexus_sessions" => sessions::list(self, arguments),
            name => {
                let why = format!("the bus has no tool {name:?}");
                return Err(CallError::Rpc(RpcError::new(INVALID_PARAMS, why)));
            }
        })
    }
}

impl Upstream for Bus {
    fn request(&self, request: Request) -> Answering<'_, Raw> {
        Box::pin(async move {
            let (deadline, cancel) = (request.deadline, request.cancel.clone());
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(CallError::Cancelled),
                answer = self.answer(request) => answer,
                () = tokio::time::sleep_until(deadline) => {
                    let why = "the time for the call is over";
                    Err(CallError::Rpc(RpcError::new(INTERNAL_ERROR, why)))
                }
            }
        })
    }

    fn notify<'a>(&'a self, _method: &'a str, _params: Option<Raw>) -> Answering<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn about(&self) -> Arc<About> {
        self.0.about.clone()
    }

    fn changes(&self) -> broadcast::Receiver<Changed> {
        self.0.changes.subscribe()
    }

    fn is_open(&self) -> bool {
        true
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { self.0.watches.stop() })
    }
}

fn about() -> About {
    let capabilities = json!({
        "tools": {},
        "resources": { "subscribe": true },
        "completions": {},
    });
    let info = json!({ "name": "nexus-bus", "title": "Nexus", "version": crate::VERSION });
    About {
        protocol_version: "2025-11-25".into(),
        capabilities: raw(&capabilities).into(),
        server_info: Some(raw(&info).into()),
        instructions: Some(INSTRUCTIONS.into()),
    }
}

const INSTRUCTIONS: &str = "Nexus keeps everything that happens as events in one ordered log. \
    Publish with nexus_publish, follow with nexus_read (go on behind the position that it returned), \
    and take work with nexus_claim_work before you begin it, so that no other agent does the same: \
    keep the fencing token, renew before the lease ends, then complete or release it.";

fn nobody() -> Principal {
    use nexus_core::{Publish, Scopes, Source};
    Principal::new(Source::user("nobody"), Publish::Nothing, Scopes::NONE)
}

fn read_params<T: DeserializeOwned>(params: Option<&RawValue>) -> Result<T, CallError> {
    let text = params.map_or("{}", RawValue::get);
    serde_json::from_str(text).map_err(|error| {
        let why = format!("the parameters cannot be understood: {error}");
        CallError::Rpc(RpcError::new(INVALID_PARAMS, why))
    })
}

/// Reads the arguments of a tool. What is misspelt is refused, so that whoever calls can mend it.
fn read_arguments<T: DeserializeOwned>(arguments: Option<&RawValue>) -> Result<T, Refusal> {
    let text = arguments.map_or("{}", RawValue::get);
    serde_json::from_str(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// The result of a tool: as text for models that read it, and as data. What was refused is a result too: a
/// model is to read why.
fn called(told: Told) -> Raw {
    match told {
        Ok(told) => raw(&json!({
            "content": [{ "type": "text", "text": told.to_string() }],
            "structuredContent": told,
            "isError": false,
        })),
        Err(refusal) => raw(&json!({
            "content": [{ "type": "text", "text": refusal.told().to_string() }],
            "isError": true,
        })),
    }
}

fn raw(value: &Value) -> Raw {
    // What serde_json has in memory it can write.
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
