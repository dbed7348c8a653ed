//! The entries of all sessions: whose is whose, under which number, and what the bus makes of them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{
    SessionId,
    files::{card::Card, document::Document, roster::Roster},
};

/// A number has at most so many digits: every reader of JSON counts so far.
const NUMBER_DIGITS_MAX: usize = 15;
/// What is numbered from here on is numbered by a time, and the next free number does not follow it.
const LARGE: u64 = 1_000_000;

/// What became of the entries.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The whole object; nothing if it is as it was found.
    pub(crate) written: Option<String>,
    pub(crate) count: Count,
    /// What the entries say of sessions, their tokens too.
    pub(crate) roster: Roster,
    /// Under which number each card stands.
    pub(crate) numbers: Numbers,
}

/// The numbers of sessions.
pub(crate) type Numbers = HashMap<SessionId, u64>;

/// How many entries there are, and of which status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) registered: u64,
    pub(crate) active: u64,
    pub(crate) idle: u64,
}

/// Puts every card into the entries; `level` is how deep their object stands in its file. Who has a number
/// elsewhere has it here too, if it is free. Nothing if the text is no object.
pub(crate) fn merge(
    found: &str,
    level: usize,
    cards: &[Card],
    elsewhere: &Numbers,
    now_us: i64,
) -> Option<Merged> {
    let mut object = Document::parse(found)?;
    let members = object.members();
    let members: Vec<(usize, String, String)> = members
        .map(|(place, key, value)| (place, key.to_owned(), value.to_owned()))
        .collect();
    let mut entries = Entries::read(&members, elsewhere);
    let mut numbers = Numbers::new();
    for (card, place) in entries.places(cards) {
        let number = entries.number(place, &card.id);
        numbers.insert(card.id.clone(), number);
        let entry = &mut entries.list[place];
        if let Some(document) = &mut entry.document {
            card.put_into(document, number, now_us);
        }
    }
    let (count, roster) = (entries.count(), entries.roster());
    for entry in &entries.list {
        let changed = entry.document.as_ref().filter(|entry| entry.is_changed());
        match (changed.map(|entry| entry.write(level + 1)), entry.member) {
            (Some(written), Some(member)) => object.replace(member, written),
            (Some(written), None) => object.push(&entry.key, written),
            (None, _) => {}
        }
    }
    Some(Merged {
        written: object.is_changed().then(|| object.write(level)),
        count,
        roster,
        numbers,
    })
}

/// One member of the object.
struct Entry<'a> {
    key: String,
    /// Where in the object; nothing if it is new.
    member: Option<usize>,
    /// Nothing when it is no object, and so no entry.
    document: Option<Document<'a>>,
}

struct Entries<'a> {
    list: Vec<Entry<'a>>,
    by_key: HashMap<String, usize>,
    by_session: HashMap<String, usize>,
    /// Numbers that are somebody's.
    taken: HashSet<u64>,
    /// The largest of them that is not numbered by a time.
    largest: u64,
    elsewhere: &'a Numbers,
}

impl<'a> Entries<'a> {
    fn read(members: &'a [(usize, String, String)], elsewhere: &'a Numbers) -> Self {
        let mut entries = Self {
            list: Vec::with_capacity(members.len()),
            by_key: HashMap::new(),
            by_session: HashMap::new(),
            taken: HashSet::new(),
            largest: 0,
            elsewhere,
        };
        for (member, key, value) in members {
            let document = Document::parse(value);
            let place = entries.list.len();
            // Of several with one key only the last counts, for every reader.
            entries.by_key.insert(key.clone(), place);
            let said = document.as_ref();
            let said = said.and_then(|entry| entry.value("number").as_u64());
            for number in number_of_key(key).into_iter().chain(said) {
                entries.take(number);
            }
            entries.list.push(Entry {
                key: key.clone(),
                member: Some(*member),
                document,
            });
        }
        for (key, place) in &entries.by_key {
            let document = entries.list[*place].document.as_ref();
            if let Some(session_id) = document.and_then(|entry| entry.text("session_id")) {
                // Of two entries of one session, the one under the smaller key.
                let known = entries.by_session.entry(session_id).or_insert(*place);
                if *key < entries.list[*known].key {
                    *known = *place;
                }
            }
        }
        entries
    }

    /// The entry of each card, made where there is none: those that say whose they are first, then those that
    /// only have the number, then new ones.
    fn places<'c>(&mut self, cards: &'c [Card]) -> Vec<(&'c Card, usize)> {
        let mut places = Vec::with_capacity(cards.len());
        let mut left = Vec::new();
        for card in cards {
            match self.by_session.get(card.id.as_str()) {
                Some(place) => places.push((card, *place)),
                None => left.push(card),
            }
        }
        // `session-5` goes before `worker-5`, and whoever has a number before those who get any.
        left.sort_by_cached_key(|card| {
            let has_one = self.elsewhere.contains_key(&card.id);
            (!has_one, rank(&card.id), card.id.clone())
        });
        let mut given = HashSet::new();
        for card in left {
            let found = self.nameless(&card.id).filter(|place| given.insert(*place));
            match found {
                Some(place) => places.push((card, place)),
                None if card.is_added => {
                    let place = self.add(&card.id);
                    given.insert(place);
                    places.push((card, place));
                }
                None => {}
            }
        }
        places
    }

    /// The entry under the session's number, or its name, if it is not another's.
    fn nameless(&self, id: &SessionId) -> Option<usize> {
        let number = self.own_number(id);
        let by_number = number.and_then(|number| self.by_key.get(&number.to_string()));
        let by_name = || self.by_key.get(id.as_str());
        let place = *by_number.or_else(by_name)?;
        let entry = &self.list[place];
        let session_id = entry.document.as_ref()?.value("session_id");
        // Some write the number there too.
        let is_number = session_id.is_u64() && session_id.as_u64() == number;
        (session_id.is_null() || is_number).then_some(place)
    }

    fn add(&mut self, id: &SessionId) -> usize {
        let number = self.take_number(id);
        let (key, place) = (number.to_string(), self.list.len());
        self.by_key.insert(key.clone(), place);
        self.list.push(Entry {
            key,
            member: None,
            document: Some(Document::default()),
        });
        place
    }

    fn take(&mut self, number: u64) {
        self.taken.insert(number);
        if number < LARGE {
            self.largest = self.largest.max(number);
        }
    }

    fn next_free(&self) -> u64 {
        let mut next = self.largest + 1;
        while self.taken.contains(&next) {
            next += 1;
        }
        next
    }

    /// The number of an entry: what it says, else what its key says, else what its session is called.
    fn number(&mut self, place: usize, id: &SessionId) -> u64 {
        let entry = &self.list[place];
        let said = entry.document.as_ref().map(|entry| entry.value("number"));
        if let Some(number) = said.as_ref().and_then(Value::as_u64) {
            return number;
        }
        if let Some(number) = number_of_key(&entry.key) {
            return number;
        }
        self.take_number(id)
    }

    fn own_number(&self, id: &SessionId) -> Option<u64> {
        self.elsewhere.get(id).copied().or_else(|| number_of(id))
    }

    /// The session's own number if it is free, else the next that is.
    fn take_number(&mut self, id: &SessionId) -> u64 {
        let own = self.own_number(id);
        let own = own.filter(|number| !self.taken.contains(number));
        let number = own.unwrap_or_else(|| self.next_free());
        self.take(number);
        number
    }

    /// The entries that count, in their order.
    fn current(&self) -> impl Iterator<Item = (&str, &Document<'a>)> {
        let entries = self.list.iter().enumerate();
        let current = entries.filter(|(place, entry)| self.by_key.get(&entry.key) == Some(place));
        current.filter_map(|(_, entry)| Some((entry.key.as_str(), entry.document.as_ref()?)))
    }

    fn count(&self) -> Count {
        let mut count = Count::default();
        for (_, entry) in self.current() {
            count.registered += 1;
            match entry.text("status").as_deref() {
                Some("active" | "working") => count.active += 1,
                Some("idle") => count.idle += 1,
                _ => {}
            }
        }
        count
    }

    fn roster(&self) -> Roster {
        let mut roster = Roster::default();
        for (key, entry) in self.current() {
            let id = match entry.value("session_id") {
                Value::String(id) => SessionId::parse(&id),
                _ if number_of_key(key).is_some() => SessionId::parse(&format!("session-{key}")),
                _ => SessionId::parse(key),
            };
            if let Ok(id) = id {
                roster.add(id, entry);
            }
        }
        roster
    }
}

/// The number that a key is; nothing if it is none, or not written as numbers are.
fn number_of_key(key: &str) -> Option<u64> {
    let number: u64 = key.parse().ok()?;
    (key.len() <= NUMBER_DIGITS_MAX && number.to_string() == key).then_some(number)
}

/// The number with which a name ends.
fn number_of(id: &SessionId) -> Option<u64> {
    let id = id.as_str();
    let digits = id.len() - id.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if digits > NUMBER_DIGITS_MAX {
        return None;
    }
    id[id.len() - digits..].parse().ok()
}

fn rank(id: &SessionId) -> u8 {
    match number_of(id) {
        Some(number) if id.as_str() == format!("session-{number}") => 0,
        Some(_) => 1,
        None => 2,
    }
}

#[cfg(test)]
mod tests;
