//! Where the address of a resource leads.

use std::sync::Arc;

use crate::{
    Error, View,
    catalogue::{ServerCatalogue, entry::ItemKind},
    view::{Target, unknown},
};

/// The server that has a resource, and the address as that server knows it.
#[derive(Debug)]
pub(crate) struct Place<'v> {
    pub(crate) server: &'v Arc<ServerCatalogue>,
    pub(crate) original: Box<str>,
}

/// Finds the server of an address: by the list, by the templates, by the alias before it, and last by its scheme,
/// where all that is listed of that scheme is one server's.
///
/// # Errors
/// [`Error::UnknownName`].
pub(crate) fn find<'v>(view: &'v View, uri: &str) -> Result<Place<'v>, Error> {
    let place = |server, original: &str| Place {
        server,
        original: original.into(),
    };
    let listed = view
        .resources()
        .get(uri)
        .or_else(|| view.templates().get(uri));
    if let Some(item) = listed
        && let Target::Server { server, entry } = &item.target
    {
        return Ok(place(server, &entry.original));
    }
    if view.is_single {
        let server = view.servers.first();
        return server
            .map(|server| place(server, uri))
            .ok_or_else(|| unknown(ItemKind::Resource, uri));
    }
    view.matcher
        .find(uri)
        .or_else(|| by_alias(view, uri))
        .or_else(|| by_scheme(view, uri).map(|server| (server, uri)))
        .map(|(server, original)| place(server, original))
        .ok_or_else(|| unknown(ItemKind::Resource, uri))
}

fn by_alias<'v, 'u>(view: &'v View, uri: &'u str) -> Option<(&'v Arc<ServerCatalogue>, &'u str)> {
    let (alias, original) = uri.split_once('+')?;
    let mut servers = view.servers.iter();
    let server = servers.find(|server| server.server.alias.as_str() == alias)?;
    server.features.resources.then_some((server, original))
}

fn by_scheme<'v>(view: &'v View, uri: &str) -> Option<&'v Arc<ServerCatalogue>> {
    let (scheme, _) = uri.split_once(':')?;
    let is_of = |address: &str| {
        address
            .split_once(':')
            .is_some_and(|(of, _)| of.eq_ignore_ascii_case(scheme))
    };
    let listed = view
        .resources()
        .items()
        .iter()
        .chain(view.templates().items());
    let mut owner: Option<&Arc<ServerCatalogue>> = None;
    for item in listed {
        let Target::Server { server, entry } = &item.target else {
            continue;
        };
        if is_of(&entry.original) {
            match owner {
                Some(other) if other.server.id != server.server.id => return None,
                _ => owner = Some(server),
            }
        }
    }
    // The one of the view, which lives as long as it.
    let id = &owner?.server.id;
    view.server(id)
}
