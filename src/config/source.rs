//! The sources: the file and the environment.

use std::fs;
use std::path::{Path, PathBuf};

use etcetera::base_strategy::{BaseStrategy as _, Xdg};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ConfigError;
use super::raw::Layer;
use crate::domain::Token;

/// What the names of our variables begin with.
const PREFIX: &str = "CLOSEBY_";

/// Holds the client's token.
const TOKEN: &str = "CLOSEBY_TOKEN";

/// Variables that are not configuration: the client's and the logs'.
const OTHERS: [&str; 4] = ["CLOSEBY_SERVER", TOKEN, "CLOSEBY_LOG", "CLOSEBY_LOG_FORMAT"];

/// The folder in which the client keeps what it remembers between runs: `closeby` in
/// `$XDG_STATE_HOME`, else in `~/.local/state`; none where this person has no home.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    Some(Xdg::new().ok()?.state_dir()?.join("closeby"))
}

/// The token that a client shows: in this file, else in `CLOSEBY_TOKEN`. There is no flag that holds it, as
/// everybody on a machine can list flags.
///
/// # Errors
/// When the file cannot be read, or what is given is no token.
pub fn client_token(file: Option<&Path>) -> Result<Option<Token>, ConfigError> {
    if let Some(path) = file {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let token = text.parse().map_err(|error| ConfigError::File {
            path: path.to_owned(),
            line: 1,
            message: format!("{error}"),
        })?;
        return Ok(Some(token));
    }
    match std::env::var_os(TOKEN) {
        // An empty variable says as much as none.
        Some(value) if !value.is_empty() => {
            let wrong = |error| ConfigError::Variable { name: TOKEN.to_owned(), message: format!("{error}") };
            Ok(Some(value.to_str().unwrap_or_default().parse().map_err(wrong)?))
        }
        _ => Ok(None),
    }
}

/// The `CLOSEBY_…` variables of this process.
///
/// # Errors
/// When one is no Unicode.
pub fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let value = value.into_string().map_err(|_| ConfigError::Variable {
            name: name.to_owned(),
            message: "is no Unicode text".to_owned(),
        })?;
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

/// The environment laid over the file.
pub(super) fn read<R: DeserializeOwned + Default + Layer>(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<R, ConfigError> {
    let below = file.map(read_file).transpose()?.unwrap_or_default();
    Ok(read_variables::<R>(variables)?.over(below))
}

fn read_file<R: DeserializeOwned>(path: &Path) -> Result<R, ConfigError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| {
        // Not the error's own text, which quotes the line: it could hold a secret.
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        ConfigError::File { path: path.to_owned(), line, message: plain(error.message()) }
    })
}

fn read_variables<R: DeserializeOwned + Default + Layer>(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<R, ConfigError> {
    let mut ours: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str()))
        .collect();
    // A table's own variable before those of its keys, which go over it.
    ours.sort();
    ours.into_iter().try_fold(R::default(), |below, (name, value)| {
        let layer: R = read_variable(&name, &value)
            .map_err(|message| ConfigError::Variable { name: name.clone(), message })?;
        Ok(layer.over(below))
    })
}

/// One variable as a layer of its own, so that what is wrong with it names it.
fn read_variable<R: DeserializeOwned>(name: &str, value: &str) -> Result<R, String> {
    let key = name.strip_prefix(PREFIX).unwrap_or_default().to_ascii_lowercase();
    // A variable has no type: it is what its key wants.
    let mut candidates = vec![Value::String(value.to_owned())];
    candidates.extend(value.trim().parse().ok().map(Value::Integer));
    candidates.extend(value.trim().parse().ok().map(Value::Float));
    candidates.extend(value.trim().parse().ok().map(Value::Boolean));
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    candidates.push(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()));

    let mut first_error = None;
    for candidate in candidates {
        let nested = key
            .rsplit("__")
            .fold(candidate, |inner, part| Value::Table(Table::from_iter([(part.to_owned(), inner)])));
        match nested.try_into() {
            Ok(layer) => return Ok(layer),
            Err(error) => first_error = first_error.or(Some(plain(error.message()))),
        }
    }
    Err(first_error.unwrap_or_default())
}

/// A message in words for people, and without the value, which could be a secret.
fn plain(message: &str) -> String {
    let message = message.trim();
    if message.starts_with("invalid type") || message.starts_with("invalid value") {
        let expected = message.rsplit_once("expected ").map_or("another value", |(_, what)| what);
        let expected = match expected {
            "u64" | "usize" => "a whole number, 0 or more",
            "f64" => "a number",
            "a boolean" => "true or false",
            "path string" => "a path",
            "a sequence" => "a list",
            other => other,
        };
        return format!("the value is not {expected}");
    }
    message.replace("unknown field", "unknown key").replace('\n', ", ")
}
