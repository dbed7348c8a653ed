//! Gives what was written to serde, and takes what serde finds wrong.

use std::fmt;

use serde::{
    Deserializer,
    de::{
        self, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use crate::config::{
    given::{Entry, Given, shorten},
    load::unknown,
};

/// What serde found wrong. Texts are not shown: they may be secrets.
#[derive(Debug)]
pub(super) enum Fault {
    Unknown {
        field: String,
        known: &'static [&'static str],
    },
    Missing(String),
    Choice {
        written: String,
        choices: &'static [&'static str],
    },
    Other(String),
}

impl Fault {
    /// What is wrong, and what would be right.
    pub(super) fn into_words(self) -> (String, Option<String>) {
        match self {
            Self::Unknown { field, known } => {
                (unknown("setting", &field, known.iter().copied()), None)
            }
            Self::Missing(field) => (format!("`{field}` is missing"), None),
            Self::Choice { written, choices } => (
                format!("{:?} is not one of them", shorten(&written)),
                Some(choices.join(", ")),
            ),
            Self::Other(what) => (what, None),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Other(format!("this is {}, not {expected}", Kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Other(format!("this is {}, not {expected}", Kind(found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::Other(format!("these are {length}, not {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Choice {
            written: variant.to_owned(),
            choices: expected,
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown {
            field: field.to_owned(),
            known: expected,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field.to_owned())
    }
}

/// What kind of value was found, in the words of the file.
struct Kind<'a>(Unexpected<'a>);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(flag) => write!(f, "{flag}"),
            Unexpected::Signed(number) => write!(f, "{number}"),
            Unexpected::Unsigned(number) => write!(f, "{number}"),
            Unexpected::Float(number) => write!(f, "{number}"),
            Unexpected::Str(_) => f.write_str("text"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map | Unexpected::StructVariant => f.write_str("a table"),
            other => write!(f, "{other}"),
        }
    }
}

/// Gives what was written to serde.
pub(super) struct Reader<'g>(pub(super) &'g Given);

impl<'g> Reader<'g> {
    fn members(entries: &'g [Entry]) -> impl Iterator<Item = (&'g str, Self)> {
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), Self(&entry.given)))
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Given::Flag(flag) => visitor.visit_bool(*flag),
            Given::Whole(number) => visitor.visit_i64(*number),
            Given::Real(number) => visitor.visit_f64(*number),
            Given::Time(text) | Given::Text(text) | Given::Raw(text) => {
                visitor.visit_borrowed_str(text)
            }
            Given::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Self))),
            Given::Table(entries) => {
                visitor.visit_map(MapDeserializer::new(Self::members(entries)))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Given::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Given::Table(entries) => {
                let members = MapDeserializer::new(Self::members(entries));
                visitor.visit_enum(MapAccessDeserializer::new(members))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
