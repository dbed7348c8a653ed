//! How each kind of value is read from what was written, and shown in the reference.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use nexus_auth::{Secret, TokenValue, VaultKey};
use nexus_core::{NameForm, Scope, Scopes, Topic};
use nexus_expr::PayloadPath;

use super::{
    given::{Given, shorten},
    sections::{AgentsAuth, AlertFormat, DatabaseUrl, LogFormat, LogLevel, Stage},
    value::{Address, Namespace, Origin, WebSocketAddress},
};

/// Between what a number must lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bounds {
    /// The type says it all.
    None,
    /// Whole numbers, both included.
    Whole(u64, u64),
    /// Real numbers, both included.
    Real(f64, f64),
}

/// A kind of value.
pub(crate) trait Value: Sized {
    /// Whether what was written must not be shown.
    const IS_SECRET: bool = false;
    /// Reads it; an error says what is wrong, and holds no secret.
    fn read(given: &Given, bounds: Bounds) -> Result<Self, String>;
    /// As the reference shows a default.
    fn show(&self) -> String;
    /// What may be written.
    fn allowed(bounds: Bounds) -> String;
}

fn not(given: &Given, what: &str) -> String {
    format!("{given} is not {what}")
}

impl Value for bool {
    fn read(given: &Given, _: Bounds) -> Result<Self, String> {
        match given {
            Given::Flag(flag) => Ok(*flag),
            Given::Raw(text) => match text.trim() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(not(given, "true or false")),
            },
            _ => Err(not(given, "true or false")),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn allowed(_: Bounds) -> String {
        "true or false".into()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl Value for $number {
            fn read(given: &Given, bounds: Bounds) -> Result<Self, String> {
                let number = whole(given)?;
                let fits = !matches!(bounds, Bounds::Whole(min, max) if !(min..=max).contains(&number));
                match Self::try_from(number) {
                    Ok(number) if fits => Ok(number),
                    _ => Err(format!("{number} is out of bounds")),
                }
            }
            fn show(&self) -> String {
                self.to_string()
            }
            fn allowed(bounds: Bounds) -> String {
                match bounds {
                    Bounds::Whole(min, max) => format!("{min} to {max}"),
                    _ => format!("0 to {}", Self::MAX),
                }
            }
        }
    )+};
}
whole_numbers!(u16, u32, u64, usize);

fn whole(given: &Given) -> Result<u64, String> {
    let refuse = || not(given, "a whole number from 0");
    match given {
        Given::Whole(number) => u64::try_from(*number).map_err(|_| refuse()),
        Given::Raw(text) => text.trim().parse().map_err(|_| refuse()),
        _ => Err(refuse()),
    }
}

impl Value for f64 {
    fn read(given: &Given, bounds: Bounds) -> Result<Self, String> {
        let number = match given {
            Given::Real(number) => Some(*number),
            Given::Whole(number) => number.to_string().parse().ok(),
            Given::Raw(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| not(given, "a number"))?;
        match bounds {
            Bounds::Real(min, max) if !(min..=max).contains(&number) => {
                Err(format!("{number} is out of bounds"))
            }
            _ => Ok(number),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn allowed(bounds: Bounds) -> String {
        match bounds {
            Bounds::Real(min, max) => format!("{min} to {max}"),
            _ => "a number".into(),
        }
    }
}

fn text(given: &Given) -> Result<&str, String> {
    match given {
        Given::Text(text) | Given::Raw(text) if text.is_empty() => Err("it is empty".into()),
        Given::Text(text) | Given::Raw(text) => Ok(text),
        _ => Err(not(given, "text")),
    }
}

/// What a secret is read from; a refusal does not show it.
fn secret_text(given: &Given) -> Result<&str, String> {
    match given {
        Given::Text(_) | Given::Raw(_) => text(given),
        _ => Err("it is not text".into()),
    }
}

/// What is read from one text, without bounds.
macro_rules! text_value {
    ($value:ty, $allowed:literal, $read:expr, $show:expr) => {
        impl Value for $value {
            fn read(given: &Given, _: Bounds) -> Result<Self, String> {
                let read: fn(&str) -> Result<Self, String> = $read;
                read(text(given)?)
            }
            fn show(&self) -> String {
                let show: fn(&Self) -> String = $show;
                show(self)
            }
            fn allowed(_: Bounds) -> String {
                $allowed.into()
            }
        }
    };
}

text_value!(String, "text", |text| Ok(text.to_owned()), Clone::clone);
text_value!(PathBuf, "a path", |text| Ok(text.into()), |path| path
    .display()
    .to_string());
text_value!(
    IpAddr,
    "an IPv4 or IPv6 address",
    |text| text
        .trim()
        .parse()
        .map_err(|_| format!("{:?} is not an IP address", shorten(text))),
    ToString::to_string
);
text_value!(
    IpNet,
    "ranges such as 10.0.0.0/8, or single addresses",
    |text| {
        let text = text.trim();
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| format!("{:?} is not an address range", shorten(text)))
    },
    ToString::to_string
);
text_value!(
    Address,
    "an http or https address",
    |text| Self::parse(text).map_err(str::to_owned),
    |address| address.url().to_string()
);
text_value!(
    WebSocketAddress,
    "a ws or wss address",
    |text| Self::parse(text).map_err(str::to_owned),
    |address| address.url().to_string()
);
text_value!(
    Origin,
    "origins such as https://app.example.org",
    |text| Self::parse(text.trim()).map_err(|why| format!("{:?}: {why}", shorten(text))),
    |origin| origin.as_str().to_owned()
);
text_value!(
    Namespace,
    "sets such as research=brave+fetch",
    |text| Self::parse(text).map_err(|why| format!("{:?}: {why}", shorten(text))),
    ToString::to_string
);
text_value!(
    DatabaseUrl,
    "sqlite:// and the path of a file",
    |text| DatabaseUrl::parse(text).map_err(str::to_owned),
    |database| format!("sqlite://{}", database.path.display())
);
text_value!(
    Topic,
    "two to six segments of a-z, 0-9 and _ with dots between them",
    |text| Topic::parse(text).map_err(|error| error.to_string()),
    ToString::to_string
);
text_value!(
    Scope,
    "read, publish, operate and admin",
    |text| Scope::ALL
        .into_iter()
        .find(|scope| scope.as_str() == text)
        .ok_or_else(|| format!("{:?} is no scope", shorten(text))),
    |scope| scope.as_str().into()
);
/// What is read from a text that is not shown when it is refused.
macro_rules! secret_value {
    ($value:ty, $allowed:literal, $shown:literal, $read:expr) => {
        impl Value for $value {
            const IS_SECRET: bool = true;
            fn read(given: &Given, _: Bounds) -> Result<Self, String> {
                let read: fn(&str) -> Result<Self, String> = $read;
                read(secret_text(given)?)
            }
            fn show(&self) -> String {
                $shown.into()
            }
            fn allowed(_: Bounds) -> String {
                $allowed.into()
            }
        }
    };
}
secret_value!(Secret, "text", "(secret)", |text| Ok(Self::new(text)));
secret_value!(TokenValue, "64 hexadecimal digits", "(digest)", |text| {
    Self::digest(text).map_err(|error| error.to_string())
});
secret_value!(VaultKey, "64 hexadecimal digits", "(secret)", |text| {
    Self::parse(text).map_err(|error| error.to_string())
});

impl DatabaseUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err("Postgres is not supported by this version");
        }
        let path = text
            .strip_prefix("sqlite://")
            .ok_or("this is not the address of an SQLite file")?;
        if path.contains(['?', '#']) {
            return Err("parameters are not taken: Nexus sets what durability needs");
        }
        if path.is_empty() || path == ":memory:" || Path::new(path).file_name().is_none() {
            return Err("it names no file");
        }
        Ok(Self { path: path.into() })
    }
}

text_value!(
    PayloadPath,
    "`payload.` and one to eight names with dots between them",
    |text| PayloadPath::parse(text).map_err(|error| error.to_string()),
    |path| format!("payload.{}", path.names().join("."))
);

/// A moment, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) i64);

impl Value for Moment {
    fn read(given: &Given, _: Bounds) -> Result<Self, String> {
        let written = match given {
            Given::Time(text) => text,
            _ => text(given)?,
        };
        nexus_core::parse_iso8601_us(written)
            .map(Self)
            .ok_or_else(|| not(given, "a date with a time and a zone"))
    }
    fn show(&self) -> String {
        nexus_core::iso8601(self.0)
    }
    fn allowed(_: Bounds) -> String {
        "a moment such as 2027-01-01T00:00:00Z".into()
    }
}

/// A closed list of words.
macro_rules! choices {
    ($choice:ty { $($word:literal => $variant:ident),+ }) => {
        impl Value for $choice {
            fn read(given: &Given, _: Bounds) -> Result<Self, String> {
                match text(given)?.trim() {
                    $($word => Ok(Self::$variant),)+
                    other => Err(format!("{:?} is not one of them", shorten(other))),
                }
            }
            #[allow(unreachable_patterns, reason = "a choice may offer fewer words than the type has")]
            fn show(&self) -> String {
                match self {
                    $(Self::$variant => $word.into(),)+
                    _ => "unset".into(),
                }
            }
            fn allowed(_: Bounds) -> String {
                [$($word),+].join(", ")
            }
        }
    };
}
choices!(Stage { "development" => Development, "test" => Test, "production" => Production });
choices!(LogLevel { "error" => Error, "warn" => Warn, "info" => Info, "debug" => Debug, "trace" => Trace });
choices!(LogFormat { "json" => Json, "human" => Human });
choices!(AgentsAuth { "open" => Open, "token" => Token });
choices!(AlertFormat { "auto" => Auto, "discord" => Discord, "slack" => Slack, "json" => Json });
choices!(NameForm { "short" => Name, "qualified" => Qualified });

impl<V: Value> Value for Option<V> {
    const IS_SECRET: bool = V::IS_SECRET;

    fn read(given: &Given, bounds: Bounds) -> Result<Self, String> {
        V::read(given, bounds).map(Some)
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "unset".into(), V::show)
    }
    fn allowed(bounds: Bounds) -> String {
        V::allowed(bounds)
    }
}

impl<V: Value> Value for Vec<V> {
    const IS_SECRET: bool = V::IS_SECRET;

    /// A list; in a variable, what stands between commas.
    fn read(given: &Given, bounds: Bounds) -> Result<Self, String> {
        let items = match given {
            Given::List(items) => items.clone(),
            Given::Raw(text) => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Given::Raw(item.into()))
                .collect(),
            _ if V::IS_SECRET => return Err("it is not a list".into()),
            _ => return Err(not(given, "a list")),
        };
        let (mut values, mut wrong) = (Vec::new(), Vec::new());
        for item in &items {
            match V::read(item, bounds) {
                Ok(value) => values.push(value),
                Err(what) => wrong.push(what),
            }
        }
        if wrong.is_empty() {
            Ok(values)
        } else {
            Err(wrong.join(", and "))
        }
    }
    fn show(&self) -> String {
        if self.is_empty() {
            return "none".into();
        }
        self.iter().map(V::show).collect::<Vec<_>>().join(", ")
    }
    fn allowed(bounds: Bounds) -> String {
        format!("a list of {}", V::allowed(bounds))
    }
}

impl Value for Scopes {
    fn read(given: &Given, bounds: Bounds) -> Result<Self, String> {
        Vec::<Scope>::read(given, bounds).map(|scopes| scopes.into_iter().collect())
    }
    fn show(&self) -> String {
        let held = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        held.collect::<Vec<_>>().show()
    }
    fn allowed(bounds: Bounds) -> String {
        Vec::<Scope>::allowed(bounds)
    }
}

#[cfg(test)]
mod tests;
