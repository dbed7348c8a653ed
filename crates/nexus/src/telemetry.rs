//! The log of the process: JSON lines for machines, or lines for people.
//!
//! A line carries the fields of its event and of the spans around it. Nothing here sees secrets: they do not
//! print.

use std::io::{self, IsTerminal};

use nexus_core::Clock;
use tracing_subscriber::{
    EnvFilter, Registry,
    fmt::{self, MakeWriter, format::Writer, time::FormatTime},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogLevel, Telemetry};

/// Crates that say much at `debug` and `trace` that is not about Nexus.
const QUIET: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
    "sqlx",
    "tungstenite",
    "want",
];

/// Why the log of the process could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else in this process has set one up already.
    #[error("this process has a log already")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of the process, on standard error.
///
/// # Errors
/// [`Error::AlreadySet`] when the process has one.
pub fn init(options: &Telemetry) -> Result<(), Error> {
    let colours = io::stderr().is_terminal();
    subscriber(options, Clock::System, colours, io::stderr)
        .try_init()
        .map_err(Error::AlreadySet)
}

type Boxed = Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>;

fn subscriber<W>(
    options: &Telemetry,
    clock: Clock,
    colours: bool,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let time = Time {
        clock,
        format: options.format,
    };
    let layer = fmt::layer().with_writer(writer).with_timer(time);
    // Two layers of two types: only one exists, so it is boxed.
    let layer: Boxed = match options.format {
        LogFormat::Json => Box::new(
            layer
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(true),
        ),
        LogFormat::Human => Box::new(layer.with_ansi(colours).with_target(false)),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(filter(options.level))
}

/// Everything of Nexus from the level on; of the crates beneath, what is worth a look.
fn filter(level: LogLevel) -> EnvFilter {
    let word = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let beneath = if level == LogLevel::Error {
        "error"
    } else {
        "warn"
    };
    let quiet = QUIET.map(|name| format!("{name}={beneath}")).join(",");
    EnvFilter::new(format!("{word},{quiet}"))
}

/// When a line was written: in full for machines, the time of day for people.
struct Time {
    clock: Clock,
    format: LogFormat,
}

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        let now = nexus_core::iso8601_ms(self.clock.now_us());
        let shown = match self.format {
            LogFormat::Json => now.as_str(),
            LogFormat::Human => now
                .split_once('T')
                .map_or(now.as_str(), |(_, time)| time.trim_end_matches('Z')),
        };
        writer.write_str(shown)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use nexus_auth::Secret;
    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(level: LogLevel, format: LogFormat, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let to = lines.clone();
        let options = Telemetry { level, format };
        let clock = Clock::manual(1_763_704_800_123_000);
        with_default(subscriber(&options, clock, false, move || to.clone()), say);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_the_fields_of_its_spans_and_no_secret() {
        let text = written(LogLevel::Info, LogFormat::Json, || {
            let _span = tracing::info_span!("request", request_id = "r-1").entered();
            let secret = Secret::new("hunter2-hunter2");
            tracing::info!(?secret, count = 3, "taken");
            tracing::debug!("not at this level");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["timestamp"], "2025-11-21T06:00:00.123Z");
        assert_eq!(line["level"], "INFO");
        assert_eq!(
            (&line["message"], &line["count"]),
            (&"taken".into(), &3.into())
        );
        assert_eq!(line["spans"][0]["request_id"], "r-1");
        assert!(!text.contains("hunter2"));
    }

    #[test]
    fn a_human_line_is_short() {
        let text = written(LogLevel::Info, LogFormat::Human, || {
            tracing::warn!(node = "flowpay", "slow");
        });
        assert_eq!(text, "06:00:00.123  WARN slow node=\"flowpay\"\n");
    }

    #[test]
    fn levels_hold_and_the_crates_beneath_are_quiet() {
        let say = || {
            tracing::trace!("of nexus");
            tracing::debug!(target: "hyper::proto", "of hyper");
            tracing::warn!(target: "hyper::proto", "hyper worries");
            tracing::error!("wrong");
        };
        let all = written(LogLevel::Trace, LogFormat::Human, say);
        assert!(
            all.contains("of nexus") && all.contains("hyper worries"),
            "{all}"
        );
        assert!(!all.contains("of hyper"), "{all}");
        let few = written(LogLevel::Error, LogFormat::Human, say);
        assert_eq!(few.lines().count(), 1, "{few}");
    }

    #[test]
    fn a_second_set_up_is_refused_and_does_not_panic() {
        let options = Telemetry {
            level: LogLevel::Error,
            format: LogFormat::Json,
        };
        let first = init(&options);
        let second = init(&options);
        assert!(first.is_err() || second.is_err());
        assert!(matches!(second, Err(Error::AlreadySet(_))));
    }
}
