//! Finds the template (RFC 6570) that an address was made of, as far as routing needs it.

use std::sync::Arc;

use crate::{
    catalogue::ServerCatalogue,
    view::listing::{Item, Target},
};

/// Steps that a comparison may take; templates that need more match nothing.
const STEPS_MAX: u32 = 10_000;
/// Templates of more parts match nothing: each part is a call deeper, and a server chooses how many there are.
const PARTS_MAX: usize = 64;

/// The templates of a view.
#[derive(Default)]
pub(crate) struct Templates(Vec<Template>);

struct Template {
    parts: Vec<Part>,
    server: Arc<ServerCatalogue>,
    /// What stands before the server's own address in this view.
    prefix: Option<Box<str>>,
}

enum Part {
    Literal(Box<str>),
    /// An expression; whether what stands for it may have a slash.
    Hole {
        takes_slash: bool,
    },
}

impl Templates {
    pub(crate) fn new(items: &[Arc<Item>]) -> Self {
        let template = |item: &Arc<Item>| {
            let Target::Server { server, entry } = &item.target else {
                return None;
            };
            let prefix = item.name.strip_suffix(&*entry.original);
            Some(Template {
                parts: parse(&item.name)?,
                server: server.clone(),
                prefix: prefix.filter(|prefix| !prefix.is_empty()).map(Into::into),
            })
        };
        Self(items.iter().filter_map(template).collect())
    }

    /// The one server whose template an address fits, and the address as that server knows it; nothing when
    /// there is none or more than one.
    pub(crate) fn find<'u>(&self, uri: &'u str) -> Option<(&Arc<ServerCatalogue>, &'u str)> {
        let mut found: Option<(&Arc<ServerCatalogue>, &str)> = None;
        for template in self.0.iter().filter(|template| fits(&template.parts, uri)) {
            let prefix = template.prefix.as_deref().unwrap_or_default();
            let own = uri.strip_prefix(prefix).unwrap_or(uri);
            match found {
                Some((server, _)) if server.server.id != template.server.server.id => return None,
                _ => found = Some((&template.server, own)),
            }
        }
        found
    }
}

/// The parts of a template; nothing when there are too many.
fn parse(template: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((expression, next)) = after.split_once('}') else {
            break;
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        let takes_slash = expression.starts_with(['+', '#', '/', '?', '&']);
        parts.push(Part::Hole { takes_slash });
        if parts.len() >= PARTS_MAX {
            return None;
        }
        rest = next;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.into()));
    }
    Some(parts)
}

fn fits(parts: &[Part], uri: &str) -> bool {
    let mut steps = STEPS_MAX;
    fits_from(parts, uri, &mut steps)
}

fn fits_from(parts: &[Part], uri: &str, steps: &mut u32) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return uri.is_empty();
    };
    match first {
        Part::Literal(literal) => uri
            .strip_prefix(&**literal)
            .is_some_and(|uri| fits_from(rest, uri, steps)),
        Part::Hole { takes_slash } => {
            let ends = uri.char_indices().map(|(at, _)| at).chain([uri.len()]);
            for end in ends {
                *steps = steps.saturating_sub(1);
                if *steps == 0 {
                    return false;
                }
                let hole = &uri[..end];
                if !takes_slash && hole.ends_with('/') {
                    return false;
                }
                // What stands for a plain expression is not empty; what begins with a sign may be.
                if (*takes_slash || !hole.is_empty()) && fits_from(rest, &uri[end..], steps) {
                    return true;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_of(template: &str, uri: &str) -> bool {
        parse(template).is_some_and(|parts| fits(&parts, uri))
    }

    #[test]
    fn an_address_fits_the_template_that_it_was_made_of() {
        for (template, uri) in [
            ("demo://a/{id}", "demo://a/7"),
            ("demo://{kind}/{id}/end", "demo://x/7/end"),
            ("file://{+path}", "file:///a/b/c"),
            ("a://b{?q,r}", "a://b?q=1&r=2"),
            ("a://b{?q}", "a://b"),
            ("a://{x}-{y}", "a://1-2-3"),
            ("a://b", "a://b"),
        ] {
            assert!(is_of(template, uri), "{template} {uri}");
        }
        for (template, uri) in [
            ("demo://a/{id}", "demo://a/"),
            ("demo://a/{id}", "demo://a/7/8"),
            ("demo://a/{id}", "demo://b/7"),
            ("a://b", "a://bc"),
            ("a://{x}c", "a://b"),
        ] {
            assert!(!is_of(template, uri), "{template} {uri}");
        }
    }

    #[test]
    fn a_template_that_takes_too_long_fits_nothing() {
        let template = "{+a}".repeat(30) + "x";
        assert!(!is_of(&template, &"y".repeat(2_000)));
    }

    #[test]
    fn a_template_of_very_many_parts_fits_nothing_and_ends_nothing() {
        assert!(is_of(&"{+a}".repeat(PARTS_MAX - 1), "y"));
        assert!(!is_of(&"{+a}".repeat(1_000_000), "y"));
    }

    proptest! {
        #[test]
        fn never_panics(template in "[a{}+?/\u{e9}]{0,20}", uri in "[a/?\u{e9}]{0,20}") {
            let _ = is_of(&template, &uri);
        }
    }
}
