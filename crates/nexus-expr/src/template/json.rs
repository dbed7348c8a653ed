//! Templates that give JSON: it is valid whatever the event holds, and values keep their types.

use std::fmt;

use super::{
    TemplateContext,
    blocks::Kind,
    document::{self, Document, Place},
    error::{RenderError, TemplateError},
    expression::Expression,
    found::{Found, push, push_json_string},
    scope::Scope,
    shape::{SHAPE_DEPTH_MAX, Shape},
    text::{self, Template},
};

/// The member whose value's members stand in its place.
const SPREAD: &str = "$";

/// JSON whose texts are templates, compiled once.
///
/// A text that is nothing but one `{{ expression }}` is the value that it gives, as its sender wrote it: a
/// number stays that number. Every other text gives a text. A member whose expression gives nothing is left
/// out; an item of a list becomes `null`. The members of the object that is named `$` stand in its place,
/// without those that are written beside it.
///
/// ```
/// use nexus_expr::{JsonTemplate, Shape, TemplateContext};
///
/// let shape: Shape = serde_json::from_str(r#"{"amount":"{{ payload.amount }}","note":"{{ payload.x | nope }}"}"#)?;
/// let refused = JsonTemplate::compile(&shape, "http.body", &TemplateContext::default()).unwrap_err();
/// assert_eq!(refused[0].place, "http.body.note");
/// assert_eq!(refused[0].message, "there is no filter \"nope\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
pub struct JsonTemplate {
    place: String,
    root: Node,
    unset: Vec<String>,
}

enum Node {
    /// JSON text.
    Fixed(String),
    Value(Expression),
    Text(Template),
    List(Vec<Node>),
    Object(Object),
}

struct Object {
    members: Vec<Member>,
    /// How many bytes of names and values there are at least.
    bytes: usize,
}

struct Member {
    name: String,
    /// The name as JSON with the colon behind it; empty for a spread.
    printed: String,
    place: String,
    value: Node,
}

impl Member {
    fn is_spread(&self) -> bool {
        self.printed.is_empty()
    }
}

impl JsonTemplate {
    /// Compiles what stands in the configuration at `place`.
    ///
    /// # Errors
    /// All mistakes in it, each with its place.
    pub fn compile(
        shape: &Shape,
        place: &str,
        context: &TemplateContext<'_>,
    ) -> Result<Self, Vec<TemplateError>> {
        let mut compiler = Compiler {
            context,
            unset: Vec::new(),
            errors: Vec::new(),
        };
        let root = compiler.node(shape, place, SHAPE_DEPTH_MAX);
        if compiler.errors.is_empty() {
            Ok(Self {
                place: place.to_owned(),
                root,
                unset: compiler.unset,
            })
        } else {
            Err(compiler.errors)
        }
    }

    /// The variables of the environment that it needs and that are not set.
    #[must_use]
    pub fn unset(&self) -> &[String] {
        &self.unset
    }

    /// Whether what it gives is always an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        matches!(self.root, Node::Object(_))
    }

    /// The JSON for an event.
    ///
    /// # Errors
    /// [`RenderError`], with the place of the template: something that a text asks for is missing, what is
    /// named `$` is no object, or it would be too large.
    pub fn render(&self, scope: &Scope<'_>) -> Result<String, RenderError> {
        let mut out = String::with_capacity(self.root.bytes() + 64);
        let written = self
            .root
            .write(scope, &mut out)
            .map_err(|error| error.at(&self.place))?;
        if written {
            return Ok(out);
        }
        let what = match &self.root {
            Node::Value(expression) => expression.text(),
            _ => "its value",
        };
        Err(RenderError::missing(what).at(&self.place))
    }
}

impl fmt::Debug for JsonTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonTemplate").field(&self.place).finish()
    }
}

impl Node {
    fn bytes(&self) -> usize {
        match self {
            Self::Fixed(text) => text.len(),
            Self::Value(_) => 16,
            Self::Text(template) => template.text().len(),
            Self::List(items) => items.iter().map(Self::bytes).sum(),
            Self::Object(object) => object.bytes,
        }
    }

    /// Writes it; says whether there was anything to write.
    fn write(&self, scope: &Scope<'_>, out: &mut String) -> Result<bool, RenderError> {
        match self {
            Self::Fixed(text) => push(out, text)?,
            Self::Value(expression) => {
                let found = expression.evaluate(scope)?;
                if found.is_nothing() {
                    return Ok(false);
                }
                found.write_json(out)?;
            }
            Self::Text(template) => push_json_string(out, &template.render(scope)?)?,
            Self::List(items) => {
                push(out, "[")?;
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        push(out, ",")?;
                    }
                    if !item.write(scope, out)? {
                        push(out, "null")?;
                    }
                }
                push(out, "]")?;
            }
            Self::Object(object) => object.write(scope, out)?,
        }
        Ok(true)
    }
}

impl Object {
    fn write(&self, scope: &Scope<'_>, out: &mut String) -> Result<(), RenderError> {
        push(out, "{")?;
        let start = out.len();
        for member in &self.members {
            let before = out.len();
            if before > start {
                push(out, ",")?;
            }
            let at = out.len();
            let written = if member.is_spread() {
                self.spread(member, scope, out)
            } else {
                push(out, &member.printed).and_then(|()| member.value.write(scope, out))
            };
            let written = written.map_err(|error| error.at(&member.place))?;
            if !written || out.len() == at {
                out.truncate(before);
            }
        }
        push(out, "}")
    }

    /// Writes the members of a value, without those that are written beside it.
    fn spread(
        &self,
        member: &Member,
        scope: &Scope<'_>,
        out: &mut String,
    ) -> Result<bool, RenderError> {
        let mut text = String::new();
        let raw = match &member.value {
            Node::Value(expression) => match expression.evaluate(scope)? {
                Found::Nothing => return Ok(false),
                Found::Raw(raw) => Found::Raw(raw),
                found if found.is_nothing() => return Ok(false),
                found => {
                    found.write_json(&mut text)?;
                    Found::Raw(&text)
                }
            },
            other => {
                other.write(scope, &mut text)?;
                Found::Raw(&text)
            }
        };
        let Found::Raw(raw) = raw else {
            return Ok(false);
        };
        if raw == "null" {
            return Ok(false);
        }
        let document = Document::read(bytes::Bytes::copy_from_slice(raw.as_bytes()));
        if document.kind(Place::ROOT) != Some(document::Kind::Object) {
            return Err(RenderError::failed("what is named $ is no object"));
        }
        let mut is_first = true;
        for (name, value) in document.members(Place::ROOT) {
            let name = document.raw(name);
            let is_beside = self
                .members
                .iter()
                .any(|member| !member.is_spread() && member.name == document::decode(name));
            if is_beside {
                continue;
            }
            if !is_first {
                push(out, ",")?;
            }
            is_first = false;
            push(out, name)?;
            push(out, ":")?;
            push(out, document.raw(value))?;
        }
        Ok(true)
    }
}

struct Compiler<'c, 'e> {
    context: &'c TemplateContext<'e>,
    unset: Vec<String>,
    errors: Vec<TemplateError>,
}

impl Compiler<'_, '_> {
    /// A part that cannot be used is told, and stands for nothing.
    fn node(&mut self, shape: &Shape, place: &str, depth_left: usize) -> Node {
        let nothing = Node::Fixed("null".to_owned());
        let Some(depth_left) = depth_left.checked_sub(1) else {
            let message = format!("objects and lists stand at most {SHAPE_DEPTH_MAX} deep");
            self.errors
                .push(TemplateError::new("", 0, &message).at(place));
            return nothing;
        };
        match shape {
            Shape::Fixed(text) => Node::Fixed(text.clone()),
            Shape::Text(text) => match self.leaf(text) {
                Ok(node) => node,
                Err(error) => {
                    self.errors.push(error.at(place));
                    nothing
                }
            },
            Shape::List(items) => Node::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(n, item)| self.node(item, &format!("{place}[{n}]"), depth_left))
                    .collect(),
            ),
            Shape::Object(members) => self.object(members, place, depth_left),
        }
    }

    fn leaf(&mut self, text: &str) -> Result<Node, TemplateError> {
        let blocks = text::split(text)?;
        if let [block] = blocks.as_slice()
            && block.kind == Kind::Expression
            && !text::is_computed_whole(&blocks)
        {
            let (at, inner) = (block.at, block.text);
            let compiled = Expression::compile(text, at, inner, self.context, &mut self.unset)?;
            return Ok(Node::Value(compiled));
        }
        let template = Template::compile(text, self.context)?;
        self.unset.extend_from_slice(template.unset());
        if let Some(fixed) = template.fixed() {
            let mut printed = String::new();
            // It is shorter than what may be rendered.
            let _ = push_json_string(&mut printed, fixed);
            return Ok(Node::Fixed(printed));
        }
        Ok(Node::Text(template))
    }

    fn object(&mut self, members: &[(String, Shape)], place: &str, depth_left: usize) -> Node {
        let mut compiled = Vec::with_capacity(members.len());
        for (name, shape) in members {
            let member_place = format!("{place}.{name}");
            let mut refuse = |message: &str| {
                let error = TemplateError::new(name, 0, message);
                self.errors.push(error.at(&member_place));
            };
            if name.contains("{{") || name.contains("{%") {
                refuse("the name of a member is no template");
                continue;
            }
            let is_spread = name == SPREAD;
            if is_spread && !matches!(shape, Shape::Text(_)) {
                refuse("what is named $ is a text, such as \"{{ payload }}\"");
                continue;
            }
            let value = self.node(shape, &member_place, depth_left);
            if is_spread && !matches!(value, Node::Value(_)) {
                let error = TemplateError::new(name, 0, "what is named $ is one {{ expression }}");
                self.errors.push(error.at(&member_place));
                continue;
            }
            let mut printed = String::new();
            if !is_spread {
                // As above.
                let _ = push_json_string(&mut printed, name);
                printed.push(':');
            }
            compiled.push(Member {
                name: name.clone(),
                printed,
                place: member_place,
                value,
            });
        }
        let bytes = compiled
            .iter()
            .map(|member| member.printed.len() + member.value.bytes() + 1)
            .sum();
        Node::Object(Object {
            members: compiled,
            bytes,
        })
    }
}
