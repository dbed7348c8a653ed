//! That the time of a verification tells nothing: a measurement, for a machine that does nothing else.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use nexus_auth::SignedRequest;

use crate::support::{auth, headers, hex, with_flowpay};

/// The best of many rounds, so that other work on the machine does not count.
fn best(rounds: u32, calls: u32, mut call: impl FnMut()) -> Duration {
    let round = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed() / calls
    };
    (0..rounds).map(round).min().unwrap()
}

/// Without the work that is done for nobody, a node that does not exist would be refused at once.
#[test]
#[ignore = "a measurement: run it alone, on a machine that does nothing else"]
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
