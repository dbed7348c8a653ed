//! Addresses that somebody gives for calls: judged before they are kept, as far as that can be done without calling.

use url::Url;

use crate::{Client, Error, Trust};

impl Client {
    /// Reads the address of calls that are to be made later. Names are looked up, and the addresses behind them
    /// judged, when it is called.
    ///
    /// ```
    /// # use nexus_outbound::{Client, OutboundOptions, Trust};
    /// # fn main() -> Result<(), nexus_outbound::Error> {
    /// let client = Client::new(&OutboundOptions::default())?;
    /// let read = |text| client.read_address(text, 2_048, Trust::Foreign);
    /// assert_eq!(read("https://example.com/hook")?.path(), "/hook");
    /// let refused = read("https://user@example.com/hook").map_err(|error| error.to_string());
    /// assert_eq!(refused, Err("must not hold a user or password: use `headers`".into()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Address`] and [`Error::Refused`].
    pub fn read_address(&self, text: &str, bytes_max: usize, trust: Trust) -> Result<Url, Error> {
        let refuse = |why: &str| Err(Error::Address { why: why.into() });
        if text.len() > bytes_max {
            return refuse(&format!("must have at most {bytes_max} bytes"));
        }
        let Ok(url) = Url::parse(text) else {
            return refuse("must be an address such as `https://example.com/path`");
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return refuse("must begin with `https://` or `http://`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not hold a user or password: use `headers`");
        }
        if url.fragment().is_some() {
            return refuse("must not have a fragment");
        }
        self.check(&url, trust)?;
        Ok(url)
    }
}
