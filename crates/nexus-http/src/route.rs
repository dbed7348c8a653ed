//! One entry of the list of routes: what it answers to, what it asks of its caller, and what it runs.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use http::Method;

use crate::{Call, Problem, Reply};

/// What a route asks of its caller.
///
/// It documents the route and drives the tests of refusals; the check itself is the handler's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Nothing; so each request costs its address one token for callers that are not authenticated. On the
    /// other routes the handler takes it, see [`Call::take_anonymous_token`].
    Open,
    /// A node's signature.
    Signed,
    /// A node's signature, or a token with the scope `publish`.
    Publish,
    /// The scope `read`.
    Read,
    /// The scope `operate`.
    Operate,
    /// The scope `admin`, by a token: it changes who may do what.
    Admin,
    /// A token that may open a stream.
    Stream,
}

/// How problems are written for a route's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// With `error` and `message`, as the clients of the neo face expect.
    Neo,
    /// In the envelope of the v1 face.
    V1,
    /// With what went wrong as `error`, as the clients of the hub's actions show it.
    Hub,
}

pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;
/// Erased, because a table of routes holds handlers of many types.
pub(crate) type Handler = Arc<dyn Fn(Call) -> HandlerFuture + Send + Sync>;

/// Media types that a route takes when its list is not set: JSON.
const JSON_ONLY: &[&str] = &["application/json"];

/// A method and path, and what answers there.
#[derive(Clone)]
pub struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) form: Form,
    pub(crate) probe: bool,
    pub(crate) body_bytes_max: Option<usize>,
    pub(crate) media_types: &'static [&'static str],
    pub(crate) handler: Handler,
}

impl Route {
    /// A route; `path` is a pattern such as `/webhook/{node}`.
    ///
    /// Its problems are written in [`Form::Neo`] and its body is JSON, unless changed below.
    pub fn new<F, R>(method: Method, path: impl Into<String>, access: Access, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Problem>> + Send + 'static,
    {
        Self {
            method,
            path: path.into(),
            access,
            form: Form::Neo,
            probe: false,
            body_bytes_max: None,
            media_types: JSON_ONLY,
            handler: Arc::new(move |call| Box::pin(handler(call))),
        }
    }

    /// A route for GET, and so for HEAD.
    pub fn get<F, R>(path: impl Into<String>, access: Access, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Problem>> + Send + 'static,
    {
        Self::new(Method::GET, path, access, handler)
    }

    /// A route for POST.
    pub fn post<F, R>(path: impl Into<String>, access: Access, handler: F) -> Self
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Problem>> + Send + 'static,
    {
        Self::new(Method::POST, path, access, handler)
    }

    /// Sets how problems are written.
    #[must_use]
    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Marks a probe: it is never rate limited.
    #[must_use]
    pub fn probe(mut self) -> Self {
        self.probe = true;
        self
    }

    /// Sets how many bytes the body may have.
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = Some(bytes);
        self
    }

    /// Sets the media types that the body may state, lower-case and without parameters.
    ///
    /// A body that states none is always taken; one that states another is 415. An empty list takes every
    /// type.
    #[must_use]
    pub fn media_types(mut self, types: &'static [&'static str]) -> Self {
        self.media_types = types;
        self
    }

    /// Lets a request that has begun go on to its end when the caller goes away, which otherwise ends it
    /// wherever it waits. For changes of which one part is in the log and another in memory.
    #[must_use]
    pub fn to_the_end(mut self) -> Self {
        let handler = self.handler;
        self.handler = Arc::new(move |call| {
            let handling = handler(call);
            Box::pin(async move {
                match tokio::spawn(handling).await {
                    Ok(answered) => answered,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // Nobody aborts it but a runtime that ends.
                        Err(_) => std::future::pending().await,
                    },
                }
            })
        });
        self
    }

    /// The same route under another path.
    #[must_use]
    pub fn at(&self, path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            ..self.clone()
        }
    }

    /// The routes, and those under `/api/v1` once more under `/api`.
    #[must_use]
    pub fn aliased(routes: Vec<Self>) -> Vec<Self> {
        let aliases: Vec<Self> = routes
            .iter()
            .filter_map(|route| {
                let rest = route.path.strip_prefix("/api/v1")?;
                Some(route.at(format!("/api{rest}")))
            })
            .collect();
        routes.into_iter().chain(aliases).collect()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The pattern of its path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it asks of its caller.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether it is a probe.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}
