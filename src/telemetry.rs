//! Logs and traces. Logs go to stderr: stdout belongs to what a command answers. Nothing that is logged is a
//! secret: the types of secrets have no text form.

mod otlp;

use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, filter::filter_fn};

use crate::domain::RequestId;
use crate::trace;

pub use otlp::{Exporter, Secret, TraceError, TraceTarget};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "the log level {0:?} is none: say error, warn, info, debug or trace, or `info,closeby::cluster=debug`"
    )]
    Filter(String),
    /// Something else logs already.
    #[error("logs are set up already")]
    Twice,
}

/// Sets up logs for the whole process, once. `filter` is a level, or a level for each part.
///
/// # Errors
/// When the filter cannot be read, or logs are set up already.
pub fn init(filter: &str, format: Format) -> Result<(), TelemetryError> {
    let filter = parse(filter)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        Format::Text => {
            let is_terminal = io::stderr().is_terminal();
            let text = WithRequest { usual: format::format().with_ansi(is_terminal), tell: as_text };
            lines.with_ansi(is_terminal).event_format(text).with_filter(filter_fn(is_sayable)).boxed()
        }
        Format::Json => lines
            .json()
            .event_format(WithRequest { usual: format::format().json().flatten_event(true), tell: as_json })
            .with_filter(filter_fn(is_sayable))
            .boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|_| TelemetryError::Twice)
}

/// What others' code says in detail is not ours to answer for: HTTP libraries write whole addresses and
/// headers, with tickets in them.
fn is_sayable(what: &Metadata<'_>) -> bool {
    let target = what.target();
    *what.level() <= Level::INFO || target == "closeby" || target.starts_with("closeby::")
}

/// A line as usual, with the request that it belongs to at its end.
struct WithRequest<F> {
    usual: F,
    tell: fn(&str, RequestId) -> String,
}

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(id) = trace::request_id() else { return self.usual.format_event(context, writer, event) };
        let mut line = String::new();
        self.usual.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", (self.tell)(line.trim_end_matches('\n'), id))
    }
}

fn as_text(line: &str, id: RequestId) -> String {
    format!("{line} request_id={id}")
}

/// As the last member of the object.
fn as_json(line: &str, id: RequestId) -> String {
    line.strip_suffix('}')
        .map_or_else(|| line.to_owned(), |object| format!("{object},\"request_id\":\"{id}\"}}"))
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = || TelemetryError::Filter(filter.to_owned());
    // A bare word would be taken as a part's name, and everything else be silent.
    let first = filter.split(',').next().unwrap_or_default().trim();
    let is_level = first.parse::<tracing::level_filters::LevelFilter>().is_ok();
    if first.is_empty() || !is_level && !first.contains('=') {
        return Err(wrong());
    }
    EnvFilter::try_new(filter).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_other_words_refused() {
        for filter in ["info", "WARN", "off", "info,closeby::cluster=debug", "closeby=trace"] {
            assert!(parse(filter).is_ok(), "{filter}");
        }
        for filter in ["", "loud", "info,closeby=loud"] {
            assert!(parse(filter).is_err(), "{filter}");
        }
    }
}
