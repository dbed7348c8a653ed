//! A server in this process that does as it is told, well or badly.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use nexus_hub::{
    About, CallError, Changed, METHOD_NOT_FOUND, Raw, Request, RpcError, Upstream, Waited,
};
use parking_lot::Mutex;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::broadcast;

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Never.
    Hangs,
    /// The connection breaks.
    Crashes,
    /// What cannot be understood.
    Garbage,
    /// It wants other credentials.
    LostLogin,
    /// With an error of its own.
    Refuses,
}

/// A server in this process.
#[derive(Clone)]
pub(crate) struct Fake(Arc<State>);

struct State {
    about: Arc<About>,
    /// By method, the entries of the list.
    lists: Mutex<HashMap<&'static str, Vec<String>>>,
    moods: Mutex<(Mood, Mood)>,
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// So many requests did not say with whose rights they were made.
    nameless: AtomicUsize,
    page_items: AtomicUsize,
    loops: AtomicBool,
    changes: broadcast::Sender<Changed>,
}

impl Fake {
    pub(crate) fn new(capabilities: &Value) -> Self {
        Self::with_instructions(capabilities, None)
    }

    pub(crate) fn with_instructions(capabilities: &Value, instructions: Option<&str>) -> Self {
        Self(Arc::new(State {
            about: Arc::new(About {
                protocol_version: "2025-11-25".into(),
                capabilities: raw(&capabilities.to_string()).into(),
                server_info: None,
                instructions: instructions.map(Into::into),
            }),
            lists: Mutex::default(),
            moods: Mutex::new((Mood::Well, Mood::Well)),
            asked: Mutex::default(),
            nameless: AtomicUsize::new(0),
            page_items: AtomicUsize::new(usize::MAX),
            loops: AtomicBool::new(false),
            changes: broadcast::channel(64).0,
        }))
    }

    /// A server that has these tools and nothing else.
    pub(crate) fn tools(names: &[&str]) -> Self {
        let fake = Self::new(&json!({"tools": {"listChanged": true}}));
        fake.set("tools/list", names.iter().map(|name| tool(name, "A tool.")));
        fake
    }

    /// A server with everything there is.
    pub(crate) fn whole() -> Self {
        Self::new(&json!({
            "tools": {}, "resources": {"subscribe": true}, "prompts": {}, "completions": {}, "logging": {},
        }))
    }

    pub(crate) fn set(&self, list: &'static str, items: impl IntoIterator<Item = String>) {
        self.0
            .lists
            .lock()
            .insert(list, items.into_iter().collect());
    }

    /// How it answers questions for lists.
    pub(crate) fn lists(&self, mood: Mood) {
        self.0.moods.lock().0 = mood;
    }

    /// How it answers all other questions.
    pub(crate) fn calls(&self, mood: Mood) {
        self.0.moods.lock().1 = mood;
    }

    pub(crate) fn pages_of(&self, items: usize) {
        self.0.page_items.store(items, Ordering::SeqCst);
    }

    /// Each page leads to itself.
    pub(crate) fn loops(&self) {
        self.0.loops.store(true, Ordering::SeqCst);
    }

    pub(crate) fn tell(&self, changed: Changed) {
        let _ = self.0.changes.send(changed);
    }

    /// What it was asked so far, by method.
    pub(crate) fn count(&self, method: &str) -> usize {
        let asked = self.0.asked.lock();
        asked.iter().filter(|(asked, _)| asked == method).count()
    }

    /// How often it was asked by nobody.
    pub(crate) fn nameless(&self) -> usize {
        self.0.nameless.load(Ordering::SeqCst)
    }

    pub(crate) fn count_all(&self) -> usize {
        self.0.asked.lock().len()
    }

    /// With what it was last asked.
    pub(crate) fn last(&self, method: &str) -> String {
        let asked = self.0.asked.lock();
        let mut asked = asked.iter().rev();
        let last = asked.find(|(asked, _)| asked == method).unwrap();
        last.1.clone().unwrap_or_default()
    }

    fn answer(&self, method: &str, params: Option<&RawValue>) -> Result<Raw, CallError> {
        let lists = self.0.lists.lock();
        if let Some((list, items)) = lists.iter().find(|(list, _)| **list == method) {
            return Ok(self.page(list, items, params));
        }
        let params = params.map_or("{}", RawValue::get);
        match method {
            "tools/list" | "resources/list" | "resources/templates/list" | "prompts/list" => Err(
                CallError::Rpc(RpcError::new(METHOD_NOT_FOUND, "no such method")),
            ),
            "tools/call" => {
                let text = Value::from(params);
                Ok(raw(&format!(
                    r#"{{"content":[{{"type":"text","text":{text}}}],"isError":false,"own":1.50}}"#
                )))
            }
            "resources/read" => {
                let uri = &read(params)["uri"];
                Ok(raw(&format!(
                    r#"{{"contents":[{{"uri":{uri},"text":"x"}}]}}"#
                )))
            }
            "prompts/get" => Ok(raw(r#"{"messages":[]}"#)),
            "completion/complete" => Ok(raw(r#"{"completion":{"values":["a"]}}"#)),
            _ => Ok(raw("{}")),
        }
    }

    /// Cursors are numbers, the one of the second page is empty.
    fn page(&self, list: &str, items: &[String], params: Option<&RawValue>) -> Raw {
        let cursor = params.map(|params| read(params.get())["cursor"].clone());
        let cursor = cursor.as_ref().and_then(Value::as_str);
        let size = self.0.page_items.load(Ordering::SeqCst);
        let first = match cursor {
            None => 0,
            Some("") => size,
            Some(number) => number.parse().unwrap(),
        };
        let end = first.saturating_add(size).min(items.len());
        let member = match list {
            "tools/list" => "tools",
            "resources/list" => "resources",
            "resources/templates/list" => "resourceTemplates",
            _ => "prompts",
        };
        let next = if self.0.loops.load(Ordering::SeqCst) {
            r#","nextCursor":"0""#.to_owned()
        } else if end == items.len() {
            String::new()
        } else if end == size {
            r#","nextCursor":"""#.to_owned()
        } else {
            format!(r#","nextCursor":"{end}""#)
        };
        raw(&format!(
            r#"{{"{member}":[{}]{next}}}"#,
            items[first..end].join(",")
        ))
    }
}

impl Upstream for Fake {
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Raw, CallError>> {
        Box::pin(async move {
            let method = request.method.to_string();
            let params = request.params.as_ref();
            let is_nameless = request.principal.is_none() && !method.ends_with("/list");
            self.0
                .nameless
                .fetch_add(usize::from(is_nameless), Ordering::SeqCst);
            self.0
                .asked
                .lock()
                .push((method.clone(), params.map(|params| params.get().to_owned())));
            let mood = {
                let moods = self.0.moods.lock();
                if method.ends_with("/list") {
                    moods.0
                } else {
                    moods.1
                }
            };
            match mood {
                Mood::Well => self.answer(&method, request.params.as_deref()),
                Mood::Hangs => tokio::select! {
                    () = request.cancel.cancelled() => Err(CallError::Cancelled),
                    () = tokio::time::sleep_until(request.deadline) => Err(CallError::Timeout {
                        waited: Waited::Total,
                        limit: Duration::from_millis(1),
                    }),
                },
                Mood::Crashes => Err(CallError::Gone {
                    why: "it crashed".to_owned(),
                }),
                Mood::Garbage => Ok(raw("[1]")),
                Mood::LostLogin => Err(CallError::Unauthorized {
                    status: 401,
                    challenge: None,
                }),
                Mood::Refuses => Err(CallError::Rpc(RpcError::new(-32_050, "not today"))),
            }
        })
    }

    fn notify<'a>(
        &'a self,
        _method: &'a str,
        _params: Option<Raw>,
    ) -> BoxFuture<'a, Result<(), CallError>> {
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

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

pub(crate) fn tool(name: &str, description: &str) -> String {
    json!({"name": name, "description": description, "inputSchema": {"type": "object"}}).to_string()
}

pub(crate) fn raw(text: &str) -> Raw {
    RawValue::from_string(text.to_owned()).unwrap()
}

pub(crate) fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
