//! Where traces go, from the variables that OpenTelemetry's programs share
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use percent_encoding::percent_decode_str;
use url::Url;

use super::ConfigError;

/// What a service is called when nobody says.
const SERVICE: &str = "closeby";

/// Where traces go. Its `Debug` is left out: headers can be secret.
#[derive(Clone)]
pub struct TraceSettings {
    /// The address that takes spans.
    pub endpoint: Url,
    /// Sent along.
    pub headers: Vec<(String, String)>,
    /// What this service is called.
    pub service: String,
    /// Which part of the requests is recorded, from 0 to 1.
    pub ratio: f64,
}

/// Reads the `OTEL_…` variables of this process; none when they name no collector.
///
/// # Errors
/// When one cannot be right.
pub fn traces() -> Result<Option<TraceSettings>, ConfigError> {
    read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<TraceSettings>, ConfigError> {
    // An empty variable says as much as none.
    let said =
        |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let either = |what: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_TRACES_{what}");
        let shared = format!("OTEL_EXPORTER_OTLP_{what}");
        said(&own).map(|value| (own, value)).or_else(|| said(&shared).map(|value| (shared, value)))
    };
    let is_off = |name, off: &str| said(name).is_some_and(|value| value.eq_ignore_ascii_case(off));
    if is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    let Some((name, address)) = either("ENDPOINT") else { return Ok(None) };
    let is_base = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
    let endpoint = if is_base { format!("{}/v1/traces", address.trim_end_matches('/')) } else { address };
    let endpoint: Url = endpoint.parse().map_err(|_| wrong(&name, "is no address"))?;
    if !matches!(endpoint.scheme(), "http" | "https") {
        return Err(wrong(&name, "must begin with http:// or https://"));
    }
    if let Some((name, value)) = either("PROTOCOL").filter(|(_, value)| value != "http/protobuf") {
        let message = format!(
            "is `{value}`; closeby sends protobuf over HTTP (`http/protobuf`): name a collector's HTTP address \
             (port 4318)"
        );
        return Err(wrong(&name, &message));
    }
    let headers = match either("HEADERS") {
        None => Vec::new(),
        Some((name, pairs)) => pairs
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(|pair| {
                header(pair).ok_or_else(|| wrong(&name, "must be name=value, with commas between them"))
            })
            .collect::<Result<_, _>>()?,
    };
    let ratio = match said("OTEL_TRACES_SAMPLER").as_deref() {
        None | Some("always_on" | "parentbased_always_on") => 1.0,
        Some("always_off" | "parentbased_always_off") => 0.0,
        Some("traceidratio" | "parentbased_traceidratio") => ratio(said("OTEL_TRACES_SAMPLER_ARG"))?,
        Some(_) => {
            return Err(wrong("OTEL_TRACES_SAMPLER", "is none of always_on, always_off, traceidratio"));
        }
    };
    let service = said("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE.to_owned());
    Ok(Some(TraceSettings { endpoint, headers, service, ratio }))
}

fn wrong(name: &str, message: &str) -> ConfigError {
    ConfigError::Variable { name: name.to_owned(), message: message.to_owned() }
}

fn header(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
    let name = name.trim();
    let is_fine = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    // Others are no header's (RFC 9110, §5.5): they would be left out without a word.
    let is_sendable = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    (is_fine && is_sendable).then(|| (name.to_owned(), value.into_owned()))
}

fn ratio(text: Option<String>) -> Result<f64, ConfigError> {
    let Some(text) = text else { return Ok(1.0) };
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| wrong("OTEL_TRACES_SAMPLER_ARG", "must be a number from 0 to 1"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<TraceSettings>, ConfigError> {
        read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn no_collector_means_no_traces() {
        let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(of(&[]).unwrap().is_none());
        assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_SERVICE_NAME", "x")]).unwrap().is_none());
        assert!(of(&[at, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        assert!(of(&[at, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
    }

    #[test]
    fn the_shared_address_gets_the_usual_path_and_the_own_one_none() {
        let base = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")]).unwrap().unwrap();
        assert_eq!(base.endpoint.as_str(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!((base.service.as_str(), base.headers.len()), ("closeby", 0));
        assert!((base.ratio - 1.0).abs() < f64::EPSILON);
        let own = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.example/spans"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, tenant=a"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_SERVICE_NAME", "files"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        let own = own.unwrap().unwrap();
        assert_eq!(own.endpoint.as_str(), "https://collector.example/spans");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(own.headers, [pair("authorization", "Bearer x"), pair("tenant", "a")]);
        assert_eq!(own.service, "files");
        assert!((own.ratio - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn what_cannot_be_right_is_named() {
        let at = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        for wrong in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ac"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=%C3%A4"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let error = of(&[at, wrong]).err().map(|error| error.to_string());
            assert!(error.as_ref().is_some_and(|error| error.contains(wrong.0)), "{wrong:?}: {error:?}");
        }
        let ratio = of(&[at, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]);
        assert!(ratio.err().unwrap().to_string().contains("OTEL_TRACES_SAMPLER_ARG"));
    }
}
