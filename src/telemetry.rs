//! Logs, on stderr: stdout belongs to what a command answers. Nothing that is logged is a
//! secret: the types of secrets have no text form.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

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
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
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
