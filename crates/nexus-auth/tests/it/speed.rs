//! What a verification costs.

use std::time::{Duration, Instant};

use nexus_auth::SignedRequest;

use crate::support::{DEFAULT, auth, headers, hex, smallest};

/// The best of many rounds, so that other work on the machine does not count.
#[test]
fn a_small_request_is_verified_in_two_microseconds() {
    const ROUNDS: u32 = 200;
    const REQUESTS: u32 = 100;
    let auth = auth(&smallest());
    let body = [b'x'; 200];
    let headers = headers(&[("x-nexus-signature", &hex(DEFAULT, &body))]);
    let request = SignedRequest {
        headers: &headers,
        body: &body,
        path_node: None,
    };
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..REQUESTS {
                assert!(auth.verify(std::hint::black_box(&request)).is_ok());
            }
            start.elapsed() / REQUESTS
        })
        .min()
        .unwrap();
    println!("verifying 200 bytes: {best:?}");
    // Without optimisation the figure says nothing.
    if !cfg!(debug_assertions) {
        assert!(best < Duration::from_micros(2), "{best:?}");
    }
}
