//! How grave a message of a log is, as MCP orders them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// How grave a message of a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

#[derive(Deserialize)]
struct Logged<'a> {
    #[serde(borrow)]
    level: Cow<'a, str>,
}

impl Level {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "notice" => Self::Notice,
            "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "alert" => Self::Alert,
            "emergency" => Self::Emergency,
            _ => return None,
        })
    }

    /// The level that parameters name as `level`.
    pub(crate) fn of(params: Option<&RawValue>) -> Option<Self> {
        let logged = serde_json::from_str::<Logged<'_>>(params?.get()).ok()?;
        Self::parse(&logged.level)
    }
}
