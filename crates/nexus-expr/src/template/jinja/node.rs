//! A part of a document as MiniJinja sees it: nothing is copied until it is asked for.

use std::{cell::RefCell, fmt, sync::Arc};

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};

use crate::template::document::{Document, Kind, Place, decode};

/// An array or an object of a document.
#[derive(Debug)]
struct Node {
    document: Arc<Document>,
    place: Place,
}

impl Node {
    fn value(&self, place: Place) -> Value {
        of(&self.document, place)
    }
}

impl Object for Node {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.document.kind(self.place) {
            Some(Kind::Array) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        if let Some(name) = key.as_str() {
            return self.get_value_by_str(name);
        }
        let place = self.document.item(self.place, key.as_usize()?)?;
        Some(self.value(place))
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let place = self.document.member(self.place, key)?;
        Some(self.value(place))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.document.kind(self.place) {
            Some(Kind::Array) => {
                let items = self.document.items(self.place);
                Enumerator::Values(items.map(|place| self.value(place)).collect())
            }
            _ => {
                let members = self.document.members(self.place);
                let names =
                    members.map(|(name, _)| Value::from(decode(self.document.raw(name)).as_ref()));
                Enumerator::Values(names.collect())
            }
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.document.raw(self.place))
    }
}

/// A whole document; nothing where it is no JSON.
pub(super) fn of_document(document: &Arc<Document>) -> Value {
    match document.kind(Place::ROOT) {
        Some(_) => of(document, Place::ROOT),
        None => Value::UNDEFINED,
    }
}

fn of(document: &Arc<Document>, place: Place) -> Value {
    let raw = document.raw(place);
    match document.kind(place) {
        None => Value::UNDEFINED,
        Some(Kind::Null) => Value::from(()),
        Some(Kind::Bool) => Value::from(raw == "true"),
        Some(Kind::Number) => number(raw),
        Some(Kind::Text) => Value::from(decode(raw).as_ref()),
        Some(Kind::Array | Kind::Object) => Value::from_object(Node {
            document: Arc::clone(document),
            place,
        }),
    }
}

/// The text of a value that is part of a document.
pub(super) fn raw(value: &Value) -> Option<&str> {
    let node = value.downcast_object_ref::<Node>()?;
    Some(node.document.raw(node.place))
}

thread_local! {
    /// How the numbers were written that were read as doubles since the last [`forget_numbers`].
    static WRITTEN: RefCell<Vec<(u64, String)>> = const { RefCell::new(Vec::new()) };
}

/// So many numbers are remembered; what is beyond is printed as a double is.
const WRITTEN_MAX: usize = 1_024;

/// A whole number is exact; another is a double that remembers how it was written.
fn number(raw: &str) -> Value {
    if raw != "-0"
        && let Ok(whole) = raw.parse::<i128>()
    {
        return Value::from(whole);
    }
    let number: f64 = raw.parse().unwrap_or(f64::NAN);
    WRITTEN.with_borrow_mut(|written| {
        if written.len() < WRITTEN_MAX {
            written.push((number.to_bits(), raw.to_owned()));
        }
    });
    Value::from(number)
}

pub(super) fn forget_numbers() {
    WRITTEN.with_borrow_mut(Vec::clear);
}

/// How the sender wrote this very number, if it comes from a document.
pub(super) fn written(number: f64) -> Option<String> {
    WRITTEN.with_borrow(|written| {
        let found = written.iter().find(|(bits, _)| *bits == number.to_bits());
        found.map(|(_, raw)| raw.clone())
    })
}
