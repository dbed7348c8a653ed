//! The client's address, behind proxies that are trusted.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The rightmost address that is not a trusted proxy's.
///
/// A proxy writes one of the two headers and passes the other on as the client sent it; so when both are
/// there and disagree, neither is believed.
pub(crate) fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let x_forwarded_for = hops(headers, &X_FORWARDED_FOR)
        .map(|hops| rightmost_untrusted(peer, hops.map(parse_address), trusted));
    let forwarded = hops(headers, &header::FORWARDED)
        .map(|hops| rightmost_untrusted(peer, hops.map(parse_forwarded), trusted));
    match (x_forwarded_for, forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) | (None, Some(address)) => address,
        (None, None) => peer,
    }
}

/// Whether the client came by https, as the nearest proxy says, if it is trusted.
pub(crate) fn is_https(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let nearest = |name| hops(headers, name).and_then(|mut hops| hops.next());
    let forwarded = nearest(&header::FORWARDED).and_then(|element| parameter(element, "proto"));
    let is_https = |scheme: &str| scheme.eq_ignore_ascii_case("https");
    is_trusted(peer, trusted)
        && (nearest(&X_FORWARDED_PROTO).is_some_and(is_https) || forwarded.is_some_and(is_https))
}

/// Whether an address is a trusted proxy's.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// What limits count: an address, or a /64 of IPv6, because one customer has all of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
    }
}

/// The elements of all lines of a header, the last one first; `None` when there is no such header.
fn hops<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Option<impl Iterator<Item = &'a str> + use<'a>> {
    let lines = headers.get_all(name);
    lines.iter().next()?;
    Some(
        lines
            .iter()
            .rev()
            // A line that is not text ends the walk, as any other element that is no address does.
            .flat_map(|line| line.to_str().unwrap_or("?").rsplit(',').map(str::trim)),
    )
}

/// Walks from the nearest hop outwards; what cannot be read ends the walk at the last hop that could.
fn rightmost_untrusted(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> IpAddr {
    let mut last = peer;
    for hop in hops {
        let Some(address) = hop else { break };
        last = address;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    last
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text)
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address| address.to_canonical())
}

/// The address of a `for=` parameter of one `Forwarded` element.
fn parse_forwarded(element: &str) -> Option<IpAddr> {
    parse_address(parameter(element, "for")?)
}

/// The value of a parameter of one `Forwarded` element.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    element.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        is_wanted.then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_count_only_from_trusted_proxies() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8:ffff::/48"]
            .map(|network| network.parse().unwrap())
            .into();
        // (peer, X-Forwarded-For lines, Forwarded lines, the client)
        let cases: &[(&str, &[&str], &[&str], &str)] = &[
            ("10.0.0.1", &[], &[], "10.0.0.1"),
            ("192.0.2.9", &["198.51.100.1"], &[], "192.0.2.9"),
            ("192.0.2.9", &[], &["for=198.51.100.1"], "192.0.2.9"),
            ("10.0.0.1", &["198.51.100.1"], &[], "198.51.100.1"),
            (
                "10.0.0.1",
                &["203.0.113.7, 198.51.100.1"],
                &[],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &["203.0.113.7, 198.51.100.1, 10.2.3.4"],
                &[],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &["203.0.113.7", "198.51.100.1"],
                &[],
                "198.51.100.1",
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &[], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1:4711"], &[], "198.51.100.1"),
            ("10.0.0.1", &["2001:db8::1"], &[], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:443"], &[], "2001:db8::1"),
            ("10.0.0.1", &["::ffff:198.51.100.1"], &[], "198.51.100.1"),
            ("10.0.0.1", &["203.0.113.7, unknown"], &[], "10.0.0.1"),
            (
                "10.0.0.1",
                &["203.0.113.7, rubbish, 10.9.9.9"],
                &[],
                "10.9.9.9",
            ),
            ("10.0.0.1", &[""], &[], "10.0.0.1"),
            (
                "10.0.0.1",
                &[],
                &["for=198.51.100.1;proto=https"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[],
                &["For=\"[2001:db8::1]:47011\""],
                "2001:db8::1",
            ),
            (
                "10.0.0.1",
                &[],
                &["for=203.0.113.7, for=198.51.100.1"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &[],
                &["for=203.0.113.7, for=_hidden"],
                "10.0.0.1",
            ),
            ("10.0.0.1", &[], &["proto=https"], "10.0.0.1"),
            (
                "10.0.0.1",
                &["198.51.100.1"],
                &["for=198.51.100.1"],
                "198.51.100.1",
            ),
            (
                "10.0.0.1",
                &["198.51.100.1"],
                &["for=203.0.113.7"],
                "10.0.0.1",
            ),
            ("2001:db8:ffff::1", &["198.51.100.1"], &[], "198.51.100.1"),
        ];
        for (peer, x_forwarded_for, forwarded, client) in cases {
            let mut headers = HeaderMap::new();
            for line in *x_forwarded_for {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
            }
            for line in *forwarded {
                headers.append(header::FORWARDED, HeaderValue::from_str(line).unwrap());
            }
            let found = resolve(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(
                found.to_string(),
                *client,
                "{peer} {x_forwarded_for:?} {forwarded:?}"
            );
        }
    }

    #[test]
    fn https_counts_only_from_trusted_proxies() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let cases = [
            ("10.0.0.1", "x-forwarded-proto", "https", true),
            ("10.0.0.1", "x-forwarded-proto", "http", false),
            ("10.0.0.1", "x-forwarded-proto", "https, http", false),
            ("10.0.0.1", "forwarded", "for=192.0.2.1;proto=https", true),
            ("10.0.0.1", "forwarded", "for=192.0.2.1", false),
            ("192.0.2.9", "x-forwarded-proto", "https", false),
        ];
        for (peer, name, value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
            let found = is_https(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected, "{peer} {name} {value}");
        }
        assert!(!is_https(
            "10.0.0.1".parse().unwrap(),
            &HeaderMap::new(),
            &trusted
        ));
    }
}
