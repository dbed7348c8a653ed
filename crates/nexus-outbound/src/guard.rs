//! The guard: which addresses a call may reach.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::{Error, OutboundOptions, Trust};

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 ranges that are not the public internet (RFC 6890 and its successors).
const DENIED_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 8),       // this host
    v4(10, 0, 0, 8),      // private
    v4(100, 64, 0, 10),   // shared by carriers
    v4(127, 0, 0, 8),     // loopback
    v4(169, 254, 0, 16),  // link-local, and the metadata services of clouds
    v4(172, 16, 0, 12),   // private
    v4(192, 0, 0, 24),    // protocol assignments
    v4(192, 0, 2, 24),    // documentation
    v4(192, 88, 99, 24),  // 6to4 relays
    v4(192, 168, 0, 16),  // private
    v4(198, 18, 0, 15),   // benchmarks
    v4(198, 51, 100, 24), // documentation
    v4(203, 0, 113, 24),  // documentation
    v4(224, 0, 0, 4),     // multicast
    v4(240, 0, 0, 4),     // reserved, and broadcast
];

/// IPv6 ranges that are not the public internet, or that carry an IPv4 address to somewhere else.
const DENIED_V6: [Ipv6Net; 13] = [
    v6(0, 0, 0, 96),          // unspecified, loopback, IPv4-compatible
    v6(0x64, 0xff9b, 0, 96),  // NAT64
    v6(0x64, 0xff9b, 1, 48),  // NAT64, local
    v6(0x100, 0, 0, 64),      // discard
    v6(0x2001, 0, 0, 23),     // protocol assignments, Teredo, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4
    v6(0x3fff, 0, 0, 20),     // documentation
    v6(0x5f00, 0, 0, 16),     // segment routing
    v6(0xfc00, 0, 0, 7),      // unique local
    v6(0xfe80, 0, 0, 10),     // link-local
    v6(0xfec0, 0, 0, 10),     // site-local
    v6(0xff00, 0, 0, 8),      // multicast
];

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
            return true;
        }
        match address {
            IpAddr::V4(address) => !DENIED_V4.iter().any(|range| range.contains(&address)),
            IpAddr::V6(address) => !DENIED_V6.iter().any(|range| range.contains(&address)),
        }
    }

    /// Checks what can be seen before a name is resolved.
    pub(crate) fn check_url(&self, url: &Url, trust: Trust) -> Result<(), Error> {
        let refuse = |why| Error::Refused {
            target: target_of(url),
            why,
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("only http and https are spoken"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("an address may not hold a user or password"));
        }
        // Names are checked by the resolver; literals never get there.
        let literal = match url.host() {
            None => return Err(refuse("it has no host")),
            Some(Host::Domain(_)) => return Ok(()),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
        };
        if trust == Trust::Foreign && !self.permits(literal) {
            return Err(refuse(NOT_PUBLIC));
        }
        Ok(())
    }
}

pub(crate) const NOT_PUBLIC: &str = "the address is not on the public internet";

/// Scheme, host and port: what may be told of an address whose path or query might hold a secret.
pub(crate) fn target_of(url: &Url) -> String {
    let origin = url.origin();
    if origin.is_tuple() {
        origin.ascii_serialization()
    } else {
        format!("{}:", url.scheme())
    }
}

/// Resolves names, and keeps back the addresses that the guard does not permit.
#[derive(Debug, Clone)]
pub(crate) struct GuardedResolver(pub(crate) Guard);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses = keep_permitted(&guard, found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn keep_permitted(
    guard: &Guard,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let (permitted, denied): (Vec<_>, Vec<_>) =
        found.partition(|address| guard.permits(address.ip()));
    match (permitted.is_empty(), denied.is_empty()) {
        (false, _) => Ok(permitted),
        (true, false) => Err(Box::new(NotPermitted)),
        (true, true) => Err(Box::new(io::Error::from(io::ErrorKind::NotFound))),
    }
}

/// All addresses of a name are denied. Found again in the chain of causes of the client's error.
#[derive(Debug)]
pub(crate) struct NotPermitted;

impl fmt::Display for NotPermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NOT_PUBLIC)
    }
}

impl std::error::Error for NotPermitted {}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(options: &OutboundOptions) -> impl Fn(&str) -> bool + use<> {
        let guard = Guard::new(options);
        move |address| guard.permits(address.parse().unwrap())
    }

    #[test]
    fn only_the_public_internet_is_reached() {
        let permits = guard(&OutboundOptions::default());
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "172.32.0.1",
            "2606:4700::1111",
        ] {
            assert!(permits(public), "{public}");
        }
        for denied in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permits(denied), "{denied}");
        }
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
    fn of_several_addresses_only_the_permitted_are_kept() {
        let guard = Guard::new(&OutboundOptions::default());
        let keep = |addresses: &[&str]| {
            let addresses = addresses
                .iter()
                .map(|a| SocketAddr::new(a.parse().unwrap(), 0));
            keep_permitted(&guard, addresses)
        };
        let kept = keep(&["127.0.0.1", "1.1.1.1", "::1"]).unwrap();
        assert_eq!(kept, ["1.1.1.1:0".parse().unwrap()]);
        assert!(keep(&["10.0.0.1"]).unwrap_err().is::<NotPermitted>());
        assert!(!keep(&[]).unwrap_err().is::<NotPermitted>());
    }
}
