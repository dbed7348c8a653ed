//! The proxy that the operator configured, and what goes past it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::guard::is_this_machine;

/// Which calls go past the proxy.
#[derive(Debug, Clone)]
pub(crate) struct PastProxy {
    ranges: Vec<IpNet>,
    /// In lower case, without dots around them.
    names: Vec<String>,
}

impl PastProxy {
    /// Reads addresses, ranges, and names that stand for themselves and all below them.
    pub(crate) fn new(entries: &[String]) -> Self {
        let (mut ranges, mut names) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.trim();
            match (entry.parse::<IpNet>(), entry.parse::<IpAddr>()) {
                (Ok(range), _) => ranges.push(range),
                (_, Ok(address)) => ranges.push(address.into()),
                _ => names.push(bare(entry)),
            }
        }
        names.retain(|name| !name.is_empty());
        Self { ranges, names }
    }

    /// Whether a call to this address goes past the proxy. Calls to this machine always do: the proxy's
    /// idea of it is another.
    pub(crate) fn has(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Domain(name)) => is_this_machine(name) || self.has_name(&bare(name)),
            Some(Host::Ipv4(address)) => self.has_address(address.into()),
            Some(Host::Ipv6(address)) => self.has_address(IpAddr::V6(address).to_canonical()),
            None => true,
        }
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let local = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        address.is_loopback()
            || local.contains(&address)
            || self.ranges.iter().any(|range| range.contains(&address))
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|entry| {
            name.strip_suffix(entry.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }
}

/// A name without what may stand around it: `.Example.org.` is `example.org`.
fn bare(name: &str) -> String {
    name.trim_start_matches('*')
        .trim_matches('.')
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_past_the_proxy_is_this_machine_and_what_is_listed() {
        let entries = [
            "10.0.0.0/8",
            "1.2.3.4",
            "fd00::/8",
            ".Example.org",
            "*.corp",
            " ",
        ];
        let past = PastProxy::new(&entries.map(String::from));
        let has = |url: &str| past.has(&url.parse().unwrap());
        for url in [
            "http://localhost:8000/",
            "http://a.localhost/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
            "http://10.1.2.3/",
            "http://1.2.3.4/",
            "http://[fd00::1]/",
            "http://example.org/",
            "http://A.EXAMPLE.org./",
            "http://mint.corp/",
        ] {
            assert!(has(url), "{url}");
        }
        for url in [
            "http://1.2.3.5/",
            "http://11.0.0.1/",
            "http://notexample.org/",
            "http://example.org.evil.example/",
            "http://[fe80::1]/",
        ] {
            assert!(!has(url), "{url}");
        }
        assert!(!PastProxy::new(&[]).has(&"http://example.org/".parse().unwrap()));
    }
}
