//! Finds the template (RFC 6570) that an address was made of, as far as routing needs it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    catalogue::ServerCatalogue,
    view::listing::{Item, Target},
};

/// Steps that a comparison may take; templates that need more match nothing.
const STEPS_MAX: u32 = 10_000;
/// Steps that all comparisons with one server's templates may take for one address; those that come later match
/// nothing. Each server has its own, so that the many templates of one cost no other its resources.
const STEPS_PER_SERVER_MAX: u32 = 50_000;
/// So many bytes are compared in about the time of a step.
const BYTES_PER_STEP: usize = 64;
/// Longer addresses are of no template.
const ADDRESS_BYTES_MAX: usize = 8 * 1024;
/// Templates of more parts match nothing: each part is a call deeper, and a server chooses how many there are.
const PARTS_MAX: usize = 64;

/// The templates of a view.
#[derive(Default)]
pub(crate) struct Templates {
    templates: Vec<Template>,
    servers: Vec<Arc<ServerCatalogue>>,
}

struct Template {
    parts: Vec<Part>,
    /// The place of its server.
    server: usize,
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
        let mut all = Self::default();
        let mut places = HashMap::new();
        for item in items {
            let Target::Server { server, entry } = &item.target else {
                continue;
            };
            let Some(parts) = parse(&item.name) else {
                continue;
            };
            let place = *places.entry(&server.server.id).or_insert_with(|| {
                all.servers.push(server.clone());
                all.servers.len() - 1
            });
            let prefix = item.name.strip_suffix(&*entry.original);
            all.templates.push(Template {
                parts,
                server: place,
                prefix: prefix.filter(|prefix| !prefix.is_empty()).map(Into::into),
            });
        }
        all
    }

    /// The one server whose template an address fits, and the address as that server knows it; nothing when
    /// there is none or more than one.
    pub(crate) fn find<'u>(&self, uri: &'u str) -> Option<(&Arc<ServerCatalogue>, &'u str)> {
        let mut steps = vec![STEPS_PER_SERVER_MAX; self.servers.len()];
        self.find_within(uri, &mut steps)
    }

    /// The same, in so many steps for each server's templates.
    fn find_within<'u>(
        &self,
        uri: &'u str,
        steps: &mut [u32],
    ) -> Option<(&Arc<ServerCatalogue>, &'u str)> {
        if uri.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let mut found: Option<(usize, &str)> = None;
        for template in &self.templates {
            let left = &mut steps[template.server];
            if *left == 0 || !fits(&template.parts, uri, left) {
                continue;
            }
            let prefix = template.prefix.as_deref().unwrap_or_default();
            let own = uri.strip_prefix(prefix).unwrap_or(uri);
            match found {
                Some((server, _)) if server != template.server => return None,
                _ => found = Some((template.server, own)),
            }
        }
        found.map(|(server, own)| (&self.servers[server], own))
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

/// Whether an address fits, as far as it can be told in the steps that are left.
fn fits(parts: &[Part], uri: &str, left: &mut u32) -> bool {
    let allowed = STEPS_MAX.min(*left);
    let mut steps = allowed;
    let is_of = fits_from(parts, uri, &mut steps);
    *left -= allowed - steps;
    is_of
}

fn fits_from(parts: &[Part], uri: &str, steps: &mut u32) -> bool {
    let Some((first, rest)) = parts.split_first() else {
        return uri.is_empty();
    };
    match first {
        Part::Literal(literal) => {
            let cost = 1 + literal.len() / BYTES_PER_STEP;
            *steps = steps.saturating_sub(u32::try_from(cost).unwrap_or(u32::MAX));
            *steps > 0
                && uri
                    .strip_prefix(&**literal)
                    .is_some_and(|uri| fits_from(rest, uri, steps))
        }
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
    use nexus_core::Random;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        CatalogueOptions,
        catalogue::{running::Running, testing},
    };

    fn is_of(template: &str, uri: &str) -> bool {
        parse(template).is_some_and(|parts| fits(&parts, uri, &mut STEPS_MAX.clone()))
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

    #[test]
    fn many_templates_of_one_server_take_bounded_steps_and_nothing_from_another() {
        let server = |id: &str, alias: &str| {
            let running = Running::new(
                testing::config(id),
                &CatalogueOptions::default(),
                Random::seeded(1),
            );
            Arc::new(ServerCatalogue::new(
                testing::server(id, alias),
                Arc::new(running),
            ))
        };
        let template = |server: usize, text: &str| Template {
            parts: parse(text).unwrap(),
            server,
            prefix: None,
        };
        let slow = "{+a}".repeat(30) + "x";
        let mut templates: Vec<_> = (0..5_000).map(|_| template(0, &slow)).collect();
        templates.push(template(1, "demo://a/{id}"));
        let all = Templates {
            templates,
            servers: vec![server("bad", "bad"), server("good", "good")],
        };
        let uri = format!("demo://a/{}", "y".repeat(2_000));
        let mut steps = [STEPS_PER_SERVER_MAX; 2];
        let (found, own) = all.find_within(&uri, &mut steps).unwrap();
        assert_eq!((found.server.id.as_str(), own), ("good", uri.as_str()));
        assert_eq!(steps[0], 0, "no more is looked at");
        assert!(all.find(&"demo://a/7".repeat(ADDRESS_BYTES_MAX)).is_none());
    }

    proptest! {
        #[test]
        fn never_panics(template in "[a{}+?/\u{e9}]{0,20}", uri in "[a/?\u{e9}]{0,20}") {
            let _ = is_of(&template, &uri);
        }
    }
}
