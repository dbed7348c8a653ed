//! What a verification costs, and that its time tells nothing.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use nexus_auth::SignedRequest;

use crate::support::{DEFAULT, auth, headers, hex, smallest, with_flowpay};

/// The best of many rounds, so that other work on the machine does not count.
fn best(rounds: u32, calls: u32, mut call: impl FnMut()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed() / calls
    };
    (0..rounds).map(round).min().unwrap()
}

#[test]
fn a_small_request_is_verified_in_two_microseconds() {
    let auth = auth(&smallest());
    let body = [b'x'; 200];
    let headers = headers(&[("x-nexus-signature", &hex(DEFAULT, &body))]);
    let request = SignedRequest {
        headers: &headers,
        body: &body,
        path_node: None,
    };
    let best = best(200, 100, || {
        assert!(auth.verify(black_box(&request)).is_ok());
    });
    println!("verifying 200 bytes: {best:?}");
    // Without optimisation the figure says nothing.
    if !cfg!(debug_assertions) {
        assert!(best < Duration::from_micros(2), "{best:?}");
    }
}

/// Without the work that is done for nobody, a node that does not exist would be refused at once.
#[test]
fn a_node_that_does_not_exist_takes_as_long_as_one_that_does() {
    let auth = auth(&with_flowpay());
    let body = vec![b'x'; 64 * 1024];
    let signature = hex("wrong", &body);
    let time = |named: Option<&str>, path_node: Option<&str>| {
        let mut pairs = vec![("x-nexus-signature", signature.as_str())];
        pairs.extend(named.map(|id| ("x-nexus-node", id)));
        let headers = headers(&pairs);
        let request = SignedRequest {
            headers: &headers,
            body: &body,
            path_node,
        };
        best(60, 4, || assert!(auth.verify(black_box(&request)).is_err())).as_secs_f64()
    };
    for (what, known, unknown) in [
        (
            "named",
            time(Some("flowpay"), None),
            time(Some("nobody"), None),
        ),
        (
            "path",
            time(None, Some("flowpay")),
            time(None, Some("nobody")),
        ),
    ] {
        let ratio = unknown / known;
        assert!(
            (0.7..1.4).contains(&ratio),
            "{what}: {known} s and {unknown} s"
        );
    }
}
