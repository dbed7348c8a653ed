//! What the routes of face v1 read from a query in the same way: names that are known, and times.

use nexus_core::{Kind, parse_iso8601_us};

use crate::{Call, Problem};

impl Call {
    /// Refuses a query that names what the route does not know: a filter that was misspelt and passed over
    /// would give what nobody asked for.
    ///
    /// # Errors
    /// `invalid-request`, with the names that are known.
    pub fn refuse_unknown_query(&self, known: &[&str]) -> Result<(), Problem> {
        let query = self.uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            if !known.contains(&name) {
                return Err(Problem::invalid_request(if known.is_empty() {
                    "this path takes no query".to_owned()
                } else {
                    format!("the query may have: {}", known.join(", "))
                }));
            }
        }
        Ok(())
    }

    /// A time of the query as RFC 3339 writes it, in microseconds since 1970.
    ///
    /// # Errors
    /// `invalid-request` when it is no time.
    pub fn query_time_us(&self, name: &str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        // An offset's `+` that nobody escaped arrives as a space.
        let time = parse_iso8601_us(&text).or_else(|| parse_iso8601_us(&text.replace(' ', "+")));
        time.map(Some).ok_or_else(|| {
            Problem::invalid_request(format!("`{name}` must be a time as RFC 3339 writes it"))
        })
    }
}

impl Problem {
    /// The request is wrong, as the detail says.
    #[must_use]
    pub fn invalid_request(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, "invalid-request", detail)
    }
}
