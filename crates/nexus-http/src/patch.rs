//! Changes to a resource: what is absent stays, what is `null` becomes what it is by default.

use serde::{Deserialize, Deserializer};

/// Tells `null` from what is not there: for members of a change, which are `Option<Option<…>>`.
///
/// ```
/// # use serde::Deserialize;
/// #[derive(Default, Deserialize)]
/// #[serde(default)]
/// struct Patch {
///     #[serde(deserialize_with = "nexus_http::given")]
///     rate: Option<Option<f64>>,
///     #[serde(deserialize_with = "nexus_http::given")]
///     name: Option<Option<String>>,
/// }
/// # #[derive(Default)]
/// struct Settings {
///     rate: Option<f64>,
///     name: Option<String>,
/// }
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let patch: Patch = serde_json::from_str(r#"{"rate":null}"#)?;
/// let mut settings = Settings { rate: Some(2.0), name: Some("shop".into()) };
/// let changed = nexus_http::apply_given!(patch => settings, [rate, name]);
/// assert_eq!(changed, ["rate"]);
/// assert_eq!((settings.rate, settings.name.as_deref()), (None, Some("shop")));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What the reader says of the value.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(reader).map(Some)
}

/// Makes a change: moves the members that are given to where they belong, and names them. See [`given`].
#[macro_export]
macro_rules! apply_given {
    ($change:expr => $to:expr, [$($member:ident),+ $(,)?]) => {{
        let mut changed: Vec<&'static str> = Vec::new();
        $(
            if let Some(value) = $change.$member {
                $to.$member = value;
                changed.push(stringify!($member));
            }
        )+
        changed
    }};
}
