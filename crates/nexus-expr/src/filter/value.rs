//! The values that a filter computes with.

use std::{cmp::Ordering, rc::Rc};

use nexus_core::parse_iso8601_us;

use super::{
    number::Number,
    tape::{Place, Seen},
    view::View,
};

/// A value while a filter is evaluated; nothing is copied out of the payload.
#[derive(Debug, Clone)]
pub(super) enum Value<'e> {
    /// Missing, `null`, or what cannot be computed.
    Absent,
    Bool(bool),
    Number(Number),
    Text(&'e str),
    /// A text that the filter made.
    Made(Rc<str>),
    /// Microseconds since 1970.
    Time(i64),
    /// An array of the payload.
    Array(Place),
    /// An object of the payload.
    Object(Place),
    /// A list that the filter wrote or made.
    List(Rc<[Value<'e>]>),
}

impl<'e> Value<'e> {
    pub(super) fn of(seen: Seen<'e>) -> Self {
        match seen {
            Seen::Null => Self::Absent,
            Seen::Bool(value) => Self::Bool(value),
            Seen::Number(number) => Self::Number(number),
            Seen::Text(text) => Self::Text(text),
            Seen::Array(place) => Self::Array(place),
            Seen::Object(place) => Self::Object(place),
        }
    }

    pub(super) fn of_text(text: Option<&'e str>) -> Self {
        text.map_or(Self::Absent, Self::Text)
    }

    pub(super) fn made(text: impl Into<Rc<str>>) -> Self {
        Self::Made(text.into())
    }

    pub(super) fn of_number(number: Option<Number>) -> Self {
        number.map_or(Self::Absent, Self::Number)
    }

    /// Only `true` is true: a condition has no third outcome.
    pub(super) fn is_true(&self) -> bool {
        matches!(self, Self::Bool(true))
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    /// The number that it is or, for a text that is a plain decimal, that it stands for.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            _ => self.text().and_then(Number::of_text),
        }
    }

    fn time_us(&self) -> Option<i64> {
        match self {
            Self::Time(time_us) => Some(*time_us),
            _ => self.text().and_then(read_time),
        }
    }

    /// The order of two values that have one: numbers, texts, times; a number meets a text as a decimal,
    /// a time meets one as RFC 3339.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.order(*b),
            (Self::Number(_), _) | (_, Self::Number(_)) => self.number()?.order(other.number()?),
            (Self::Time(_), _) | (_, Self::Time(_)) => Some(self.time_us()?.cmp(&other.time_us()?)),
            _ => Some(self.text()?.cmp(other.text()?)),
        }
    }

    /// What comparing it costs, beyond the one step of the operator.
    pub(super) fn weight(&self) -> u32 {
        self.text().map_or(0, weight)
    }
}

/// What reading a text costs.
pub(super) fn weight(text: &str) -> u32 {
    const BYTES_A_STEP: usize = 16;
    u32::try_from(text.len() / BYTES_A_STEP).unwrap_or(u32::MAX)
}

/// Longer texts are no time; they are not even looked at.
const TIME_BYTES_MAX: usize = 64;

/// Reads an RFC 3339 time into microseconds since 1970.
pub(super) fn read_time(text: &str) -> Option<i64> {
    (text.len() <= TIME_BYTES_MAX)
        .then(|| parse_iso8601_us(text))
        .flatten()
}

/// The items of a list, wherever it is.
pub(super) fn items<'e>(
    view: View<'e>,
    list: &Value<'e>,
) -> Option<impl Iterator<Item = Value<'e>> + use<'e>> {
    // One of three kinds; the others are empty.
    let (array, object, made) = match list {
        Value::Array(place) => (Some(*place), None, None),
        Value::Object(place) => (None, Some(*place), None),
        Value::List(items) => (None, None, Some(Rc::clone(items))),
        _ => return None,
    };
    let tape = view.tape();
    let array = array.into_iter().flat_map(move |place| tape.items(place));
    // As in CEL, the items of an object are its names.
    let object = object
        .into_iter()
        .flat_map(move |place| tape.members(place))
        .map(|(name, _)| name);
    let places = array
        .chain(object)
        .map(move |place| Value::of(view.at(place)));
    let made = made.into_iter().flat_map(|items| {
        let mut next = 0;
        std::iter::from_fn(move || {
            let item = items.get(next).cloned();
            next += 1;
            item
        })
    });
    Some(places.chain(made))
}
