//! Which addresses are the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// IPv4 ranges that are not the public internet (RFC 6890 and its successors).
const DENIED_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),        // this host
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // shared by carriers; one cloud's metadata service
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // one cloud's host agent: public by its number only
    v4(169, 254, 0, 0, 16),   // link-local, and the metadata services of clouds
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments; one cloud's metadata service
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, and broadcast
];

/// All that is given out of IPv6 so far. What lies outside is loopback, translated, local or multicast.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Ranges within [`GLOBAL_V6`] that are not the public internet, or that carry an IPv4 address to
/// somewhere else.
const DENIED_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments, Teredo, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation
    TO_V4_6TO4,
    v6(0x3fff, 0, 0, 20), // documentation
];

const TO_V4_6TO4: Ipv6Net = v6(0x2002, 0, 0, 16);
const TO_V4_NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
const TO_V4_TEREDO: Ipv6Net = v6(0x2001, 0, 0, 32);
/// `::a.b.c.d`, long out of use.
const TO_V4_COMPATIBLE: Ipv6Net = v6(0, 0, 0, 96);
/// `::ffff:0:a.b.c.d`.
const TO_V4_TRANSLATED: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96);

/// Whether an address is on the public internet. It is canonical: a mapped IPv4 address is an IPv4 address.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !DENIED_V4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !DENIED_V6.iter().any(|range| range.contains(&address))
        }
    }
}

/// The IPv4 address that a gateway would send on to, for an IPv6 address that holds one.
pub(crate) fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    // A real one of these is small; `::` and `::1` are no IPv4 addresses.
    if address.is_unspecified() || address.is_loopback() {
        return None;
    }
    let [.., a, b] = address.segments();
    let last = u32::from(a) << 16 | u32::from(b);
    let bits = if TO_V4_6TO4.contains(&address) {
        let [_, a, b, ..] = address.segments();
        u32::from(a) << 16 | u32::from(b)
    } else if TO_V4_TEREDO.contains(&address) {
        // It is written with each bit turned, so that no translator on the way touches it.
        !last
    } else if [TO_V4_NAT64, TO_V4_COMPATIBLE, TO_V4_TRANSLATED]
        .iter()
        .any(|range| range.contains(&address))
    {
        last
    } else {
        return None;
    };
    Some(IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        let is_public = |text: &str| is_public(text.parse::<IpAddr>().unwrap().to_canonical());
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2a00::1",
        ] {
            assert!(is_public(public), "{public}");
        }
        for denied in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.0.192",
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
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "1000::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(denied), "{denied}");
        }
    }

    #[test]
    fn an_ipv4_address_is_found_wherever_ipv6_hides_it() {
        let embedded = |text: &str| embedded(text.parse().unwrap()).map(|found| found.to_string());
        for (address, expected) in [
            ("64:ff9b::10.0.0.1", Some("10.0.0.1")),
            ("2002:7f00:1::5", Some("127.0.0.1")),
            // The server's address comes first in a Teredo address; the one that counts is the last.
            ("2001:0:808:808::80ff:fffe", Some("127.0.0.1")),
            ("::127.0.0.1", Some("127.0.0.1")),
            ("::ffff:0:127.0.0.1", Some("127.0.0.1")),
            ("::", None),
            ("::1", None),
            ("2606:4700::1111", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(embedded(address).as_deref(), expected, "{address}");
        }
    }
}
