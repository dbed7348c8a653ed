//! The address of a server: judged before it is kept, as far as that can be done without calling it.

use std::net::{Ipv4Addr, Ipv6Addr};

use nexus_http::Fault;
use nexus_outbound::{Client, Trust};
use url::{Host, Url};

use super::options::URL_BYTES_MAX;

/// Judges an address that somebody gave. Names are looked up, and the addresses behind them judged, when the
/// server is called.
pub(super) fn check(text: Option<&str>, client: &Client, faults: &mut Vec<Fault>) -> Option<Url> {
    let mut refuse = |why: String| {
        faults.push(Fault::new("/url", why));
        None
    };
    let Some(text) = text else {
        return refuse("is required".into());
    };
    match client.read_address(text, URL_BYTES_MAX, Trust::Foreign) {
        Ok(url) if url.scheme() == "http" && !is_near(&url) => {
            refuse("must begin with `https://`: credentials are sent there".into())
        }
        Ok(url) => Some(url),
        Err(error) => refuse(error.to_string()),
    }
}

/// Whether an address leads no further than a private network, so that it may be without TLS where the guard
/// lets it be reached at all.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => is_near_v4(address),
        Some(Host::Ipv6(address)) => is_near_v6(address),
        None => false,
    }
}

fn is_near_v4(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_private() || address.is_link_local()
}

fn is_near_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(address) => is_near_v4(address),
        None => address.is_loopback() || address.is_unique_local(),
    }
}

/// What may be told of an address: not its path and query, which may hold a key.
pub(super) fn target(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use nexus_outbound::OutboundOptions;

    use super::*;

    fn faults(url: &str, options: &OutboundOptions) -> Vec<Fault> {
        let client = Client::new(options).unwrap();
        let mut faults = Vec::new();
        let checked = check(Some(url), &client, &mut faults);
        assert_eq!(checked.is_none(), !faults.is_empty(), "{url}");
        faults
    }

    #[test]
    fn addresses_that_only_nexus_can_reach_are_refused() {
        for url in [
            "https://127.0.0.1/mcp",
            "https://127.1/mcp",
            "https://2130706433/mcp",
            "https://0x7f000001/mcp",
            "https://0177.0.0.1/mcp",
            "https://localhost/mcp",
            "https://LOCALHOST./mcp",
            "https://a.localhost/mcp",
            "https://[::1]/mcp",
            "https://[::ffff:127.0.0.1]/mcp",
            "https://[::ffff:7f00:1]/mcp",
            "https://[64:ff9b::7f00:1]/mcp",
            "https://[2002:7f00:1::]/mcp",
            "https://0.0.0.0/mcp",
            "https://[::]/mcp",
            "https://10.0.0.1/mcp",
            "https://172.16.0.1/mcp",
            "https://192.168.1.1/mcp",
            "https://100.64.0.1/mcp",
            "https://169.254.169.254/latest/meta-data/",
            "http://169.254.169.254/latest/meta-data/",
            "https://[fe80::1]/mcp",
            "https://[fd00::1]/mcp",
            "https://[fd00:ec2::254]/mcp",
            "https://224.0.0.1/mcp",
            "https://255.255.255.255/mcp",
            "https://192.0.2.1/mcp",
            "https://198.18.0.1/mcp",
            "https://example.com:22/mcp",
            "https://example.com:25/mcp",
            "https://example.com:6667/mcp",
            "https://example.com:0/mcp",
        ] {
            let faults = faults(url, &OutboundOptions::default());
            assert_eq!(faults.len(), 1, "{url}");
            assert_eq!(faults[0].pointer, "/url", "{url}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for url in [
            "",
            "example.com",
            "/mcp",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "javascript:alert(1)",
            "data:text/plain,x",
            "unix:///var/run/docker.sock",
            "https://user@example.com/mcp",
            "https://user:hunter2@example.com/mcp",
            "https://example.com/mcp#x",
            "http://example.com/mcp",
            "http://93.184.215.14/mcp",
            "https://",
        ] {
            let faults = faults(url, &OutboundOptions::default());
            assert_eq!(faults.len(), 1, "{url:?}");
            assert!(!faults[0].detail.contains("hunter2"));
        }
        let long = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(faults(&long, &OutboundOptions::default()).len(), 1);
    }

    #[test]
    fn public_addresses_are_taken_and_private_ones_that_are_open() {
        let closed = OutboundOptions::default();
        for url in [
            "https://example.com/mcp?key=x",
            "https://mcp.example.com:8443/",
        ] {
            assert_eq!(faults(url, &closed), [], "{url}");
        }
        let open = OutboundOptions {
            allow_loopback: true,
            allow_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
            ..OutboundOptions::default()
        };
        for url in [
            "http://127.0.0.1:3921/mcp",
            "http://localhost:3921/mcp",
            "http://[::1]:3921/mcp",
            "http://10.1.2.3/mcp",
        ] {
            assert_eq!(faults(url, &open), [], "{url}");
        }
        assert_eq!(faults("http://10.2.0.1/mcp", &open).len(), 1);
    }

    #[test]
    fn a_key_in_an_address_is_not_told() {
        let url = Url::parse("https://mcp.example.com/s/hunter2/mcp?key=hunter2").unwrap();
        assert_eq!(target(&url), "https://mcp.example.com");
    }
}
