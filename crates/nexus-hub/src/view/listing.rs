//! A sorted list of what a view has of one kind, with its pages ready to be sent.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use nexus_core::{sha256, write_json_string};

use crate::{
    CatalogueOptions, Error, ServerId,
    catalogue::{
        ServerCatalogue,
        entry::{Entry, ItemKind},
        metadata::Metadata,
    },
    fingerprint::Fingerprint,
    message::in_one_line,
    router::search::Own,
};

/// One thing that a view has, under the name that it has there.
#[derive(Clone)]
pub struct Item {
    pub(crate) name: Arc<str>,
    pub(crate) json: Bytes,
    pub(crate) target: Target,
}

/// Where a name leads.
#[derive(Clone)]
pub(crate) enum Target {
    /// To something that a server offers.
    Server {
        server: Arc<ServerCatalogue>,
        entry: Arc<Entry>,
    },
    /// To a tool of the hub itself.
    Own(Own),
}

impl Item {
    /// Its name in this view; the address of a resource.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is shown, as JSON: what its server said, under its name here.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Whose it is; nothing for a tool of the hub itself.
    #[must_use]
    pub fn server(&self) -> Option<&ServerId> {
        match &self.target {
            Target::Server { server, .. } => Some(&server.server.id),
            Target::Own(_) => None,
        }
    }

    /// The name that its server gives it.
    #[must_use]
    pub fn original(&self) -> &str {
        match &self.target {
            Target::Server { entry, .. } => &entry.original,
            Target::Own(_) => &self.name,
        }
    }

    /// What is known of it beside what its server says to clients.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        match &self.target {
            Target::Server { entry, .. } => entry.metadata.clone(),
            Target::Own(own) => own.metadata(),
        }
    }

    /// What its text is recognised by; nothing for a tool of the hub itself.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.target {
            Target::Server { entry, .. } => Some(entry.fingerprint),
            Target::Own(_) => None,
        }
    }

    pub(crate) fn words(&self) -> &str {
        match &self.target {
            Target::Server { entry, .. } => &entry.words,
            Target::Own(_) => "",
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item").field("name", &self.name).finish()
    }
}

/// A page of a list, ready to be sent.
#[derive(Debug, Clone)]
pub struct Page {
    /// The whole result as JSON: the list and, where more follows, `nextCursor`. It is an object, so that
    /// members can be put in after its first character. It is one line.
    pub result: Bytes,
    /// The same and the brace that ends a message around it.
    pub(crate) ending: Bytes,
    /// Where the next page begins; nothing on the last.
    pub next_cursor: Option<Arc<str>>,
    /// The place of its first item in the list.
    first: usize,
}

/// What a view has of one kind, by name.
#[derive(Debug, Clone)]
pub struct Listing {
    kind: ItemKind,
    items: Vec<Arc<Item>>,
    pages: Vec<Page>,
    digest: u64,
    page_items_max: usize,
    page_bytes_max: usize,
}

impl Listing {
    /// Sorts items by name and writes their pages. Of two of one name the first is taken.
    pub(crate) fn new(kind: ItemKind, items: Vec<Arc<Item>>, options: &CatalogueOptions) -> Self {
        Self {
            kind,
            items: Vec::new(),
            pages: Vec::new(),
            digest: 0,
            page_items_max: options.page_items_max.max(1),
            page_bytes_max: options.page_bytes_max,
        }
        .of(items)
    }

    /// A list of other items with pages of the same size.
    pub(crate) fn of(&self, mut items: Vec<Arc<Item>>) -> Self {
        items.sort_by(|one, other| one.name.cmp(&other.name));
        items.dedup_by(|one, other| one.name == other.name);
        let mut listing = Self {
            items,
            pages: Vec::new(),
            ..*self
        };
        let mut first = 0;
        loop {
            let page = listing.write(first);
            let is_last = page.next_cursor.is_none();
            listing.pages.push(page);
            if is_last {
                break;
            }
            first += listing.fitting(first);
        }
        listing.digest = digest(&listing.pages);
        listing
    }

    /// The items, by name.
    #[must_use]
    pub fn items(&self) -> &[Arc<Item>] {
        &self.items
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The item of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Item>> {
        let place = self.items.binary_search_by(|item| (*item.name).cmp(name));
        place.ok().map(|place| &self.items[place])
    }

    /// What the whole list is recognised by: two that read the same have the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A page: the first without a cursor, else what follows it. A cursor of an older list leads on to the
    /// same place in this one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the cursor was not given by such a list.
    pub fn page(&self, cursor: Option<&str>) -> Result<Page, Error> {
        let Some(cursor) = cursor else {
            return Ok(self
                .pages
                .first()
                .map_or_else(|| self.write(0), Page::clone));
        };
        let after = read_cursor(cursor)?;
        let first = self.items.partition_point(|item| *item.name <= *after);
        let ready = self.pages.iter().find(|page| page.first == first);
        Ok(ready.map_or_else(|| self.write(first), Page::clone))
    }

    /// How many items, from one on, are on a page.
    fn fitting(&self, first: usize) -> usize {
        let mut bytes = 0;
        let items = self.items[first..].iter().take(self.page_items_max);
        let fitting = items
            .take_while(|item| {
                bytes += item.json.len() + 1;
                bytes <= self.page_bytes_max
            })
            .count();
        // One that is larger than a page has one of its own.
        fitting.max(1).min(self.items.len() - first)
    }

    fn write(&self, first: usize) -> Page {
        let end = first + self.fitting(first);
        let items = &self.items[first..end];
        let bytes: usize = items.iter().map(|item| item.json.len() + 1).sum();
        let mut out = Vec::with_capacity(bytes + 128);
        out.extend_from_slice(b"{\"");
        out.extend_from_slice(self.kind.list_member().as_bytes());
        out.extend_from_slice(b"\":[");
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&item.json);
        }
        out.push(b']');
        let last = items.last().filter(|_| end < self.items.len());
        let next_cursor = last.map(|last| write_cursor(&last.name));
        if let Some(cursor) = &next_cursor {
            out.extend_from_slice(b",\"nextCursor\":");
            write_json_string(&mut out, cursor);
        }
        out.extend_from_slice(b"}}");
        in_one_line(&mut out);
        let ending = Bytes::from(out);
        Page {
            result: ending.slice(..ending.len() - 1),
            ending,
            next_cursor,
            first,
        }
    }
}

/// A cursor says behind which name to go on, so that it needs no memory of the list that it came from.
fn write_cursor(name: &str) -> Arc<str> {
    BASE64URL_NOPAD.encode(format!("1{name}").as_bytes()).into()
}

fn read_cursor(cursor: &str) -> Result<Box<str>, Error> {
    let name = BASE64URL_NOPAD
        .decode(cursor.as_bytes())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    name.as_deref()
        .and_then(|name| name.strip_prefix('1'))
        .map(Into::into)
        .ok_or(Error::Invalid {
            what: "cursor",
            why: "was not given by this list",
        })
}

fn digest(pages: &[Page]) -> u64 {
    let mut hashes = Vec::with_capacity(pages.len() * 32);
    for page in pages {
        hashes.extend_from_slice(&sha256(&page.result));
    }
    let mut first = [0; 8];
    first.copy_from_slice(&sha256(&hashes)[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn item(name: &str) -> Arc<Item> {
        Arc::new(Item {
            name: name.into(),
            json: format!(r#"{{"name":"{name}"}}"#).into(),
            target: Target::Own(Own::Search),
        })
    }

    fn listing(names: &[String], items_max: usize, bytes_max: usize) -> Listing {
        let options = CatalogueOptions {
            page_items_max: items_max,
            page_bytes_max: bytes_max,
            ..CatalogueOptions::default()
        };
        let items = names.iter().map(|name| item(name)).collect();
        Listing::new(ItemKind::Tool, items, &options)
    }

    fn names(page: &Page) -> Vec<String> {
        let result: Value = serde_json::from_slice(&page.result).unwrap();
        let cursor = result.get("nextCursor").and_then(Value::as_str);
        assert_eq!(cursor, page.next_cursor.as_deref());
        let tools = result["tools"].as_array().unwrap();
        let name = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
        tools.iter().map(name).collect()
    }

    #[test]
    fn an_empty_list_is_a_page() {
        let empty = listing(&[], 10, 1000);
        assert_eq!(&empty.page(None).unwrap().result[..], br#"{"tools":[]}"#);
        assert!(empty.is_empty() && empty.get("a").is_none());
    }

    #[test]
    fn a_page_is_one_line_and_ready_to_end_an_answer() {
        let item = Arc::new(Item {
            json: "{\r\n \"name\": \"a\\n\"\n}".into(),
            ..Item::clone(&item("a"))
        });
        let options = CatalogueOptions::default();
        let page = Listing::new(ItemKind::Tool, vec![item], &options).page(None);
        let page = page.unwrap();
        let line = "{\"tools\":[{   \"name\": \"a\\n\" }]}";
        assert_eq!(page.result, line);
        assert_eq!(page.ending, format!("{line}}}"));
    }

    #[test]
    fn a_cursor_of_another_list_leads_on_and_a_foreign_one_nowhere() {
        let all: Vec<String> = ('a'..='h').map(String::from).collect();
        let before = listing(&all, 3, 1000);
        let cursor = before.page(None).unwrap().next_cursor.unwrap();
        let without: Vec<String> = all.iter().filter(|name| *name != "c").cloned().collect();
        let after = listing(&without, 3, 1000);
        assert_eq!(names(&after.page(Some(&cursor)).unwrap()), ["d", "e", "f"]);
        for foreign in ["", "x", "\u{e9}", "MjA"] {
            assert!(after.page(Some(foreign)).is_err(), "{foreign:?}");
        }
        assert_ne!(before.digest(), after.digest());
        assert_eq!(before.digest(), listing(&all, 3, 1000).digest());
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list(
            all in prop::collection::btree_set("[a-z]{1,6}", 0..60),
            items_max in 1_usize..9, bytes_max in 0_usize..100,
        ) {
            let all: Vec<String> = all.into_iter().collect();
            let listing = listing(&all, items_max, bytes_max);
            let (mut read, mut cursor) = (Vec::new(), None::<Arc<str>>);
            loop {
                let page = listing.page(cursor.as_deref()).unwrap();
                read.extend(names(&page));
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(&read, &all);
            for name in &all {
                prop_assert_eq!(listing.get(name).unwrap().name(), name);
            }
        }
    }
}
