//! A payload laid out flat: one cell for each value, read once and then walked without parsing.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::number::Number;

/// Cells that are kept for the next payload; what a large one needed beyond is given back.
const CELLS_KEPT: usize = 4 * 1024;

/// One value. An object's members are a name and a value each; what a list or an object holds follows it.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Double(f64),
    /// A text without escapes, as it lies in the payload.
    Text {
        start: u32,
        bytes: u32,
    },
    /// A text that had escapes, in the tape's own buffer.
    Unescaped {
        start: u32,
        bytes: u32,
    },
    Array {
        items: u32,
        end: u32,
    },
    Object {
        members: u32,
        end: u32,
    },
}

/// A payload's values in the order of their text.
#[derive(Debug, Default)]
pub(super) struct Tape {
    cells: Vec<Cell>,
    unescaped: String,
}

/// A value of the payload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'p> {
    Null,
    Bool(bool),
    Number(Number),
    Text(&'p str),
    Array(Place),
    Object(Place),
}

/// Where on the tape a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    /// The payload itself.
    pub(super) const ROOT: Self = Self(0);
}

impl Tape {
    /// Reads a payload. A text that is no JSON, which no payload is, gives an empty tape.
    pub(super) fn read(&mut self, payload: &[u8]) {
        self.cells.clear();
        self.cells.shrink_to(CELLS_KEPT);
        self.unescaped.clear();
        self.unescaped.shrink_to(CELLS_KEPT);
        let mut deserializer = serde_json::Deserializer::from_slice(payload);
        let reader = Reader {
            tape: self,
            base: payload.as_ptr().addr(),
        };
        let read = reader
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end());
        if read.is_err() {
            self.cells.clear();
        }
    }

    /// The value at a place of this payload's tape.
    pub(super) fn at<'p>(&'p self, payload: &'p [u8], place: Place) -> Seen<'p> {
        let Some(cell) = self.cells.get(place.0 as usize) else {
            return Seen::Null;
        };
        match *cell {
            Cell::Null => Seen::Null,
            Cell::Bool(value) => Seen::Bool(value),
            Cell::Signed(number) => Seen::Number(Number::Int(number.into())),
            Cell::Unsigned(number) => Seen::Number(Number::Int(number.into())),
            Cell::Double(number) => Seen::Number(Number::Double(number)),
            Cell::Text { .. } | Cell::Unescaped { .. } => {
                std::str::from_utf8(self.bytes(payload, *cell)).map_or(Seen::Null, Seen::Text)
            }
            Cell::Array { .. } => Seen::Array(place),
            Cell::Object { .. } => Seen::Object(place),
        }
    }

    /// The value of an object's member, and how many members were looked at.
    pub(super) fn member(&self, payload: &[u8], object: Place, name: &str) -> (Option<Place>, u32) {
        let mut looked_at = 0;
        for (name_at, value_at) in self.members(object) {
            looked_at += 1;
            let cell = self.cells.get(name_at.0 as usize);
            if cell.is_some_and(|cell| self.bytes(payload, *cell) == name.as_bytes()) {
                return (Some(value_at), looked_at);
            }
        }
        (None, looked_at)
    }

    /// How many items an array, or members an object, has.
    pub(super) fn size(&self, place: Place) -> u32 {
        match self.cells.get(place.0 as usize) {
            Some(Cell::Array { items, .. }) => *items,
            Some(Cell::Object { members, .. }) => *members,
            _ => 0,
        }
    }

    /// The items of an array.
    pub(super) fn items(&self, array: Place) -> impl Iterator<Item = Place> + use<'_> {
        let end = match self.cells.get(array.0 as usize) {
            Some(Cell::Array { end, .. }) => *end,
            _ => 0,
        };
        let mut next = array.0.saturating_add(1);
        std::iter::from_fn(move || {
            let place = Place(next);
            (next < end).then(|| {
                next = self.after(place);
                place
            })
        })
    }

    /// The names and values of an object.
    pub(super) fn members(&self, object: Place) -> impl Iterator<Item = (Place, Place)> + use<'_> {
        let end = match self.cells.get(object.0 as usize) {
            Some(Cell::Object { end, .. }) => *end,
            _ => 0,
        };
        let mut next = object.0.saturating_add(1);
        std::iter::from_fn(move || {
            let (name, value) = (Place(next), Place(next.saturating_add(1)));
            (next < end).then(|| {
                next = self.after(value);
                (name, value)
            })
        })
    }

    fn after(&self, place: Place) -> u32 {
        match self.cells.get(place.0 as usize) {
            Some(Cell::Array { end, .. } | Cell::Object { end, .. }) => *end,
            _ => place.0.saturating_add(1),
        }
    }

    fn bytes<'p>(&'p self, payload: &'p [u8], cell: Cell) -> &'p [u8] {
        let (from, start, bytes) = match cell {
            Cell::Text { start, bytes } => (payload, start, bytes),
            Cell::Unescaped { start, bytes } => (self.unescaped.as_bytes(), start, bytes),
            _ => return &[],
        };
        let start = start as usize;
        from.get(start..start + bytes as usize).unwrap_or(&[])
    }
}

/// Puts one value on the tape. A payload is far below 4 GiB, so that places fit 32 bits.
struct Reader<'t> {
    tape: &'t mut Tape,
    base: usize,
}

impl Reader<'_> {
    fn again(&mut self) -> Reader<'_> {
        Reader {
            tape: self.tape,
            base: self.base,
        }
    }

    fn put(&mut self, cell: Cell) {
        self.tape.cells.push(cell);
    }

    fn put_unescaped(&mut self, text: &str) {
        let start = small(self.tape.unescaped.len());
        self.tape.unescaped.push_str(text);
        self.put(Cell::Unescaped {
            start,
            bytes: small(text.len()),
        });
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.put(Cell::Null);
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.put(Cell::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.put(Cell::Signed(value));
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.put(Cell::Unsigned(value));
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.put(Cell::Double(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, text: &'de str) -> Result<(), E> {
        let start = small(text.as_ptr().addr().wrapping_sub(self.base));
        self.put(Cell::Text {
            start,
            bytes: small(text.len()),
        });
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.put_unescaped(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let place = self.tape.cells.len();
        self.put(Cell::Null);
        let mut items = 0;
        while list.next_element_seed(self.again())?.is_some() {
            items += 1;
        }
        let end = small(self.tape.cells.len());
        self.tape.cells[place] = Cell::Array { items, end };
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let place = self.tape.cells.len();
        self.put(Cell::Null);
        let mut members = 0;
        while object.next_key_seed(self.again())?.is_some() {
            object.next_value_seed(self.again())?;
            members += 1;
        }
        let end = small(self.tape.cells.len());
        self.tape.cells[place] = Cell::Object { members, end };
        Ok(())
    }
}
