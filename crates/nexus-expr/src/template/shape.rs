//! JSON whose texts are templates, as somebody wrote it: members keep their order.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};

/// Objects and lists stand at most this deep in each other.
pub const SHAPE_DEPTH_MAX: usize = 32;

/// JSON (or TOML) whose texts are templates.
///
/// Members are in the order in which the reader gives them.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// `null`, `true`, `false`, or a number: its JSON text.
    Fixed(String),
    /// A text, which is a template.
    Text(String),
    /// A list.
    List(Vec<Shape>),
    /// An object. The member named `$` is an object whose members stand in its place.
    Object(Vec<(String, Shape)>),
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(text) => serde_json::from_str::<serde_json::Value>(text)
                .unwrap_or_default()
                .serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Fixed("null".to_owned()))
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Fixed("null".to_owned()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Fixed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Fixed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Fixed(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        serde_json::Number::from_f64(value)
            .map(|number| Shape::Fixed(number.to_string()))
            .ok_or_else(|| E::custom("a number in JSON is neither infinite nor NaN"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Shape, E> {
        Ok(Shape::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut members: Vec<(String, Shape)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Shape>()? {
            if members.iter().any(|(other, _)| *other == name) {
                return Err(de::Error::custom("two members have the same name"));
            }
            members.push((name, value));
        }
        Ok(Shape::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back_in_its_order() {
        let text = r#"{"z":"{{ payload.x }}","a":[1,2.5,null,true,{"$":"b"}],"m":-7}"#;
        let shape: Shape = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&shape).unwrap(), text);
        assert!(serde_json::from_str::<Shape>(r#"{"a":1,"a":2}"#).is_err());
    }
}
