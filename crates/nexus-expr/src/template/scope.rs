//! What a template reads while it is rendered: an event, and what a rule asked and was answered.

use std::{borrow::Cow, cell::OnceCell, sync::Arc};

use bytes::Bytes;
use nexus_core::{Catalogue, Causes, Event, Json, iso8601_ms};

use super::{
    document::{Document, Kind, Place},
    found::Found,
    names::{Field, Root},
};

/// What a rule asked of a receiver, as `request` in a template.
#[derive(Debug, Clone)]
pub struct Asked {
    method: String,
    url: String,
    body: Arc<Document>,
}

impl Asked {
    /// A call. The address is as people may see it; the body is JSON, or nothing.
    #[must_use]
    pub fn new(method: &str, url: &str, body: Bytes) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            body: Arc::new(Document::read(body)),
        }
    }
}

/// What the receiver answered, as `response` in a template.
#[derive(Debug, Clone)]
pub struct Answered {
    status: u16,
    text: String,
    json: Arc<Document>,
}

impl Answered {
    /// An answer. `response.json` is its body if that is JSON, which is read as strictly as an event; else
    /// its text as a JSON string, and `null` when there is none.
    #[must_use]
    pub fn new(status: u16, body: &Bytes) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        let json = if body.is_empty() {
            Bytes::from_static(b"null")
        } else if Json::parse(body).is_ok() {
            body.clone()
        } else {
            // A string always serialises.
            Bytes::from(serde_json::to_string(&text).unwrap_or_default())
        };
        Self {
            status,
            text,
            json: Arc::new(Document::read(json)),
        }
    }
}

/// What there is to read while templates are rendered for one event.
#[derive(Debug)]
pub struct Scope<'s> {
    event: &'s Event,
    catalogue: &'s Catalogue,
    payload: Arc<Document>,
    causes: OnceCell<Causes>,
    request: Option<&'s Asked>,
    response: Option<&'s Answered>,
}

impl<'s> Scope<'s> {
    /// An event; `name` is what the catalogue calls it.
    #[must_use]
    pub fn new(event: &'s Event, catalogue: &'s Catalogue) -> Self {
        Self {
            event,
            catalogue,
            payload: Document::of(&event.payload),
            causes: OnceCell::new(),
            request: None,
            response: None,
        }
    }

    /// With a request, as it was or would be sent.
    #[must_use]
    pub fn with_request(mut self, request: &'s Asked) -> Self {
        self.request = Some(request);
        self
    }

    /// With the answer to it.
    #[must_use]
    pub fn with_response(mut self, response: &'s Answered) -> Self {
        self.response = Some(response);
        self
    }

    pub(crate) fn document(&self, root: Root) -> Option<&Arc<Document>> {
        match root {
            Root::Payload => Some(&self.payload),
            Root::RequestBody => self.request.map(|request| &request.body),
            Root::ResponseJson => self.response.map(|response| &response.json),
        }
    }

    pub(crate) fn field(&self, field: Field) -> Found<'_> {
        let event = self.event;
        let text = |text: String| Found::Text(Cow::Owned(text));
        let part =
            |text: Option<&'s str>| text.map_or(Found::Nothing, |text| Found::Text(text.into()));
        match field {
            Field::Id => text(event.id.to_string()),
            Field::Topic => Found::Text(event.topic.as_str().into()),
            Field::Name => {
                let known = self.catalogue.get(&event.topic);
                Found::Text(
                    known
                        .map_or(event.topic.as_str(), |known| &known.name)
                        .into(),
                )
            }
            Field::Source => Found::Text(event.source.as_str().into()),
            Field::Key => part(event.key.as_deref()),
            Field::Time => text(iso8601_ms(event.time_us)),
            Field::Seq => Found::Whole(event.seq.get()),
            Field::CorrelationId => self.id(self.causes().correlation_id),
            Field::CausationId => self.id(self.causes().causation_id),
            Field::OriginId => self.cause(self.causes().origin_id.as_deref()),
            Field::OccurredAt => self.cause(self.causes().occurred_at.as_deref()),
            Field::RequestMethod => part(self.request.map(|request| request.method.as_str())),
            Field::RequestUrl => part(self.request.map(|request| request.url.as_str())),
            Field::ResponseStatus => self
                .response
                .map_or(Found::Nothing, |answer| Found::Whole(answer.status.into())),
            Field::ResponseText => part(self.response.map(|answer| answer.text.as_str())),
        }
    }

    fn causes(&self) -> &Causes {
        self.causes.get_or_init(|| self.event.causes())
    }

    fn id(&self, id: Option<uuid::Uuid>) -> Found<'_> {
        id.map_or(Found::Nothing, |id| Found::Text(id.to_string().into()))
    }

    fn cause<'c>(&self, text: Option<&'c str>) -> Found<'c> {
        text.map_or(Found::Nothing, |text| Found::Text(text.into()))
    }

    /// The value at a path of a document.
    pub(crate) fn walk(&self, root: Root, steps: &[Step]) -> Found<'_> {
        let Some(document) = self.document(root) else {
            return Found::Nothing;
        };
        let place = steps
            .iter()
            .try_fold(Place::ROOT, |place, step| match step {
                Step::Member(name) => document.member(place, name),
                Step::Item(index) => document.item(place, *index),
            });
        match place {
            Some(place) if document.kind(place).is_some() => Found::Raw(document.raw(place)),
            _ => Found::Nothing,
        }
    }

    /// Whether the payload was erased: nothing can be rendered from it any more.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.payload.kind(Place::ROOT) != Some(Kind::Object)
    }
}

/// One step of a path below a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Member(String),
    Item(usize),
}
