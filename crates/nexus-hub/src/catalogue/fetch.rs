//! Reads a list of a server to its end, page after page, and no further than it should.

use std::collections::HashSet;

use nexus_core::{RawObject, write_json_string};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    CallError, CatalogueOptions, METHOD_NOT_FOUND, Raw, Upstream,
    catalogue::{
        entry::{ItemKind, Offered},
        running::Running,
    },
};

/// A list as a server gave it.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(crate) offered: Vec<Offered>,
    /// Entries that are none: without a name, too large, or named as one before.
    pub(crate) left_out: usize,
    /// Whether there is more than is read: what is missing may be there.
    pub(crate) is_cut: bool,
}

/// Reads a list.
///
/// # Errors
/// How the server failed; then nothing is known of the list, also not of the pages that came.
pub(crate) async fn fetch(
    running: &Running,
    upstream: &dyn Upstream,
    kind: ItemKind,
    options: &CatalogueOptions,
    now_us: impl Fn() -> i64 + Copy,
) -> Result<Fetched, CallError> {
    let mut list = Fetched::default();
    let mut names = HashSet::new();
    let mut bytes = 0;
    let mut cursor: Option<String> = None;
    for page in 0..options.pages_max {
        let params = cursor.as_deref().map(with_cursor);
        let deadline = Instant::now() + options.list_timeout;
        let method = kind.list_method();
        let answer = match running
            .ask(upstream, method, params, deadline, now_us)
            .await
        {
            // Many servers with resources have no templates and say so in this way.
            Err(CallError::Rpc(error)) if error.code == METHOD_NOT_FOUND && page == 0 => {
                return Ok(list);
            }
            other => other?,
        };
        let (items, next) = read_page(kind, &answer)?;
        for item in items {
            let offered = Offered::read(kind, item.get());
            match offered.filter(|offered| names.insert(offered.original.clone())) {
                Some(offered) => {
                    bytes += offered.text.len();
                    if list.offered.len() >= options.items_max || bytes > options.list_bytes_max {
                        list.is_cut = true;
                        return Ok(list);
                    }
                    list.offered.push(offered);
                }
                None => list.left_out += 1,
            }
        }
        // An empty cursor is a cursor.
        match next {
            None => return Ok(list),
            Some(next) if cursor.as_ref() == Some(&next) => {
                return Err(CallError::Garbage {
                    why: "a page of a list leads to itself",
                });
            }
            next => cursor = next,
        }
    }
    list.is_cut = true;
    Ok(list)
}

fn with_cursor(cursor: &str) -> Raw {
    let mut text = b"{\"cursor\":".to_vec();
    write_json_string(&mut text, cursor);
    text.push(b'}');
    // Put together of JSON.
    serde_json::from_slice(&text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn read_page(
    kind: ItemKind,
    answer: &RawValue,
) -> Result<(Vec<&RawValue>, Option<String>), CallError> {
    let garbage = |why| CallError::Garbage { why };
    let page = RawObject::parse(answer.get().as_bytes())
        .ok()
        .flatten()
        .ok_or(garbage("a page of a list is no object"))?;
    let items = page
        .get(kind.list_member())
        .and_then(|items| serde_json::from_str(items).ok())
        .ok_or(garbage("a page of a list has no list"))?;
    let next = match page.get("nextCursor") {
        None => None,
        Some(next) => Some(
            serde_json::from_str(next).map_err(|_| garbage("the cursor of a list is no text"))?,
        ),
    };
    Ok((items, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Result<(usize, Option<String>), CallError> {
        let answer = RawValue::from_string(text.to_owned()).unwrap();
        read_page(ItemKind::Tool, &answer).map(|(items, next)| (items.len(), next))
    }

    #[test]
    fn an_empty_cursor_is_a_cursor_and_none_is_the_end() {
        assert_eq!(page(r#"{"tools":[1,{}]}"#).unwrap(), (2, None));
        assert_eq!(
            page(r#"{"tools":[],"nextCursor":null}"#).unwrap(),
            (0, None)
        );
        let (_, next) = page(r#"{"tools":[],"nextCursor":""}"#).unwrap();
        assert_eq!(next.as_deref(), Some(""));
        assert_eq!(with_cursor("a\"b").get(), r#"{"cursor":"a\"b"}"#);
    }

    #[test]
    fn what_is_no_page_is_not_taken_for_an_empty_one() {
        for text in [
            "[]",
            "{}",
            r#"{"tools":{}}"#,
            r#"{"tools":[],"nextCursor":1}"#,
        ] {
            assert!(
                matches!(page(text), Err(CallError::Garbage { .. })),
                "{text}"
            );
        }
    }
}
