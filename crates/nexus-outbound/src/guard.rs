//! The guard: which addresses a call may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::{
    Error, OutboundOptions, Trust,
    addresses::{embedded, is_public},
};

/// Ports at which a request could be taken for something else than HTTP, by mail servers first of all.
/// They are those that browsers do not call (the list is part of the Fetch standard).
#[rustfmt::skip]
const OTHER_PROTOCOLS: [u16; 82] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
    109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
    526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
    3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

pub(crate) const NOT_PUBLIC: &str = "the address is not on the public internet";

/// Decides for one address at a time; cheap to clone for the resolver's tasks.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    allowed: Vec<IpNet>,
    allow_loopback: bool,
}

impl Guard {
    pub(crate) fn new(options: &OutboundOptions) -> Self {
        Self {
            allowed: options.allow_cidrs.clone(),
            allow_loopback: options.allow_loopback,
        }
    }

    /// Whether a call to a foreign address may reach it.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        // `::ffff:127.0.0.1` is 127.0.0.1.
        let address = address.to_canonical();
        if self.allow_loopback && address.is_loopback() {
            return true;
        }
        if self.allowed.iter().any(|range| range.contains(&address)) {
            // Who opens the range of a gateway does not open all that the gateway reaches.
            return embedded(address).is_none_or(|inner| self.permits(inner));
        }
        is_public(address)
    }

    /// Checks what can be seen before a name is resolved.
    pub(crate) fn check_url(&self, url: &Url, trust: Trust) -> Result<(), Error> {
        self.broken_rule(url, trust)
            .map_or(Ok(()), |why| Err(refused(url, why)))
    }

    /// The rule that an address breaks.
    fn broken_rule(&self, url: &Url, trust: Trust) -> Option<&'static str> {
        if !matches!(url.scheme(), "http" | "https") {
            return Some("only http and https are spoken");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Some("an address may not hold a user or password");
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Some("it has no host");
        };
        if port == 0 {
            return Some("there is no port 0");
        }
        if trust == Trust::Configured {
            return None;
        }
        if OTHER_PROTOCOLS.contains(&port) {
            return Some("the port is that of another protocol");
        }
        let is_permitted = match host {
            // Names are checked by the resolver; literals never get there.
            Host::Domain(name) => !is_this_machine(name) || self.permits_loopback(),
            Host::Ipv4(address) => self.permits(IpAddr::V4(address)),
            Host::Ipv6(address) => self.permits(IpAddr::V6(address)),
        };
        (!is_permitted).then_some(NOT_PUBLIC)
    }

    fn permits_loopback(&self) -> bool {
        self.permits(IpAddr::V4(Ipv4Addr::LOCALHOST))
            || self.permits(IpAddr::V6(Ipv6Addr::LOCALHOST))
    }
}

/// Whether a name means this machine whatever a resolver says of it (RFC 6761).
pub(crate) fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name
            .len()
            .checked_sub(".localhost".len())
            .and_then(|start| name.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(".localhost"))
}

fn refused(url: &Url, why: &'static str) -> Error {
    Error::Refused {
        target: target_of(url),
        why,
        is_looked_up: false,
    }
}

/// The lookup of a name led to what is not permitted.
pub(crate) fn led_astray(target: String) -> Error {
    Error::Refused {
        target,
        why: NOT_PUBLIC,
        is_looked_up: true,
    }
}

/// Scheme, host and port: what may be told of an address whose path or query might hold a secret.
pub(crate) fn target_of(url: &Url) -> String {
    let origin = url.origin();
    if origin.is_tuple() {
        origin.ascii_serialization()
    } else {
        format!("{}:", url.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(options: &OutboundOptions) -> impl Fn(&str) -> bool + use<> {
        let guard = Guard::new(options);
        move |address| guard.permits(address.parse().unwrap())
    }

    #[test]
    fn the_operator_opens_ranges_one_by_one() {
        let permits = guard(&OutboundOptions {
            allow_cidrs: vec![
                "10.1.0.0/16".parse().unwrap(),
                "fd00:1::/32".parse().unwrap(),
            ],
            ..OutboundOptions::default()
        });
        assert!(permits("10.1.2.3") && permits("::ffff:10.1.2.3") && permits("fd00:1::5"));
        assert!(!permits("10.2.0.1") && !permits("127.0.0.1") && !permits("fd00:2::5"));

        let permits = guard(&OutboundOptions {
            allow_loopback: true,
            ..OutboundOptions::default()
        });
        assert!(permits("127.0.0.1") && permits("::1") && permits("::ffff:127.0.0.1"));
        assert!(!permits("10.0.0.1") && !permits("169.254.169.254") && !permits("0.0.0.0"));
    }

    #[test]
    fn a_gateway_that_is_opened_reaches_only_what_is_open() {
        let permits = guard(&OutboundOptions {
            allow_cidrs: vec![
                "64:ff9b::/96".parse().unwrap(),
                "10.1.0.0/16".parse().unwrap(),
            ],
            ..OutboundOptions::default()
        });
        assert!(permits("64:ff9b::8.8.8.8") && permits("64:ff9b::10.1.2.3"));
        assert!(!permits("64:ff9b::127.0.0.1") && !permits("64:ff9b::169.254.169.254"));
        // All of IPv6 is not all of IPv4.
        let permits = guard(&OutboundOptions {
            allow_cidrs: vec!["::/0".parse().unwrap()],
            ..OutboundOptions::default()
        });
        assert!(permits("fd00::1") && permits("::1") && permits("2002:808:808::1"));
        assert!(!permits("::ffff:127.0.0.1") && !permits("2002:7f00:1::"));
        assert!(!permits("2001:0:808:808::80ff:fffe") && !permits("::10.0.0.1"));
    }

    #[test]
    fn names_of_this_machine_are_known() {
        for name in [
            "localhost",
            "LocalHost",
            "localhost.",
            "localhost..",
            "a.b.localhost",
            ".localhost.",
        ] {
            assert!(is_this_machine(name), "{name}");
        }
        for name in ["", "localhost.example.org", "notlocalhost", "ölocalhost"] {
            assert!(!is_this_machine(name), "{name}");
        }
    }
}
