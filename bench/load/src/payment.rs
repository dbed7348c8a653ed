//! Payments that differ in every request and are all of one length, so that only some bytes are written anew.

const ID_DIGITS: usize = 16;
const COUNTER_DIGITS: usize = 10;

/// An endless row of payment bodies, none of which any other connection or run makes.
#[derive(Debug)]
pub(crate) struct Payments {
    body: Vec<u8>,
    counter_at: usize,
    counter: u64,
}

impl Payments {
    /// `run` differs for each run, `connection` for each connection of it.
    pub(crate) fn new(run: u64, connection: usize) -> Self {
        let before = format!(
            r#"{{"event":"PAYMENT_RECEIVED","payload":{{"transactionId":"tx-{run:0ID_DIGITS$x}-{connection:04x}-"#
        );
        let counter_at = before.len();
        let counter = "0".repeat(COUNTER_DIGITS);
        let body = format!("{before}{counter}\",\"amount\":1250,\"payerId\":\"payer-7\"}}}}");
        Self {
            body: body.into_bytes(),
            counter_at,
            counter: 0,
        }
    }

    /// The length of every body, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The next body.
    pub(crate) fn next_body(&mut self) -> &[u8] {
        self.counter += 1;
        let mut rest = self.counter;
        let digits = &mut self.body[self.counter_at..self.counter_at + COUNTER_DIGITS];
        for digit in digits.iter_mut().rev() {
            // A remainder of ten is one decimal digit.
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_valid_of_one_length_and_never_the_same() {
        let mut first = Payments::new(7, 0);
        let mut second = Payments::new(7, 1);
        let length = first.body_bytes();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            for payments in [&mut first, &mut second] {
                let body = payments.next_body();
                assert_eq!(body.len(), length);
                let json: serde_json::Value = serde_json::from_slice(body).unwrap();
                assert_eq!(json["event"], "PAYMENT_RECEIVED");
                let transaction = json["payload"]["transactionId"].as_str().unwrap();
                assert!(seen.insert(transaction.to_owned()), "{transaction} twice");
            }
        }
    }
}
