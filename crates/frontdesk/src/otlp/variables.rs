//! What OpenTelemetry's own variables say (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>): what is exported, where to, as whom.

use std::time::Duration;

use anyhow::{Context as _, bail};
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// What OpenTelemetry prescribes for a request to a collector where no variable says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// What `OTEL_TRACES_SAMPLER` can be.
const SAMPLERS: [&str; 6] =
    ["always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"];

/// Something that is exported.
pub(super) struct Signal {
    /// As it stands in variables.
    name: &'static str,
    /// As it stands in URLs and sentences.
    path: &'static str,
}

pub(super) const TRACES: Signal = Signal { name: "TRACES", path: "traces" };
#[cfg(feature = "host")]
pub(super) const METRICS: Signal = Signal { name: "METRICS", path: "metrics" };

/// Where a signal goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// The whole URL.
    pub(super) url: String,
    /// How long one request may take.
    pub(super) timeout: Duration,
}

/// A variable of this process, if it says something.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Where `signal` goes as the variables say; `None` when it is not to be exported.
pub(super) fn destination(signal: &Signal, variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Destination>> {
    let Signal { name, path } = signal;
    let url = match variable(&format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT")) {
        Some(url) => url,
        None => match variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
            Some(endpoint) => format!("{}/v1/{path}", endpoint.trim_end_matches('/')),
            None => return Ok(None),
        },
    };
    let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    match variable(&format!("OTEL_{name}_EXPORTER")).as_deref() {
        _ if is_disabled => return Ok(None),
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(other) => bail!("OTEL_{name}_EXPORTER is `{other}`; {path} can be exported by `otlp`, or not at all by `none`"),
    }
    match of_signal(signal, "PROTOCOL", variable).as_ref().map(|(name, value)| (name, value.as_str())) {
        None | Some((_, "http/protobuf")) => {}
        Some((name, other)) => bail!(
            "{name} is `{other}`; {path} are exported by `http/protobuf` alone: set that, and an endpoint that speaks it (as a rule port 4318, not 4317)"
        ),
    }
    let timeout = match of_signal(signal, "TIMEOUT", variable) {
        Some((name, _)) => milliseconds(&name, variable)?,
        None => None,
    };
    Ok(Some(Destination { url, timeout: timeout.unwrap_or(DEFAULT_TIMEOUT) }))
}

/// The exporter's variable of one signal, else that of all: its name and its value.
pub(super) fn of_signal(signal: &Signal, what: &str, variable: &impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name), format!("OTEL_EXPORTER_OTLP_{what}")];
    names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
}

/// A variable that holds a time.
pub(super) fn milliseconds(name: &str, variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Duration>> {
    let Some(value) = variable(name) else { return Ok(None) };
    let milliseconds = value.trim().parse::<u64>().with_context(|| format!("{name} is `{value}`; it must be a number of milliseconds"))?;
    Ok(Some(Duration::from_millis(milliseconds)))
}

/// A sampler's name that is misspelt would otherwise be taken for the default.
pub(super) fn check_sampler(variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    let Some(sampler) = variable("OTEL_TRACES_SAMPLER") else { return Ok(()) };
    if !SAMPLERS.contains(&sampler.as_str()) {
        bail!("OTEL_TRACES_SAMPLER is `{sampler}`, which is none of {}", SAMPLERS.join(", "));
    }
    match variable("OTEL_TRACES_SAMPLER_ARG") {
        Some(share) if sampler.ends_with("traceidratio") && !share.parse().is_ok_and(|share: f64| (0.0..=1.0).contains(&share)) => {
            bail!("OTEL_TRACES_SAMPLER_ARG is `{share}`; it must be a number between 0 and 1")
        }
        _ => Ok(()),
    }
}

/// Who exports: what the variables say of this program, and `service_name` where they name no service.
pub(super) fn resource(variable: &impl Fn(&str) -> Option<String>, service_name: &'static str) -> Resource {
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let names_a_service = attributes.split(',').any(|attribute| attribute.trim().starts_with("service.name="));
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = names_a_service || variable("OTEL_SERVICE_NAME").is_some();
    let resource = if is_named { resource } else { resource.with_service_name(service_name) };
    resource.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expected: Result<Option<&str>, &str>) {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let found = check_sampler(&variable).and_then(|()| destination(&TRACES, &variable)).map_err(|error| error.to_string());
        match (found, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{variables:?}: {error}"),
            (found, expected) => {
                let found = found.map(|destination| destination.map(|destination| destination.url));
                assert_eq!(found, expected.map(|url| url.map(str::to_owned)).map_err(str::to_owned), "{variables:?}");
            }
        }
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    const URL: &str = "http://collector:4318/v1/traces";

    #[test]
    fn only_a_named_endpoint_is_exported_to() {
        check(&[], Ok(None));
        check(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_EXPORTER", "otlp")], Ok(None));
        check(&[ENDPOINT], Ok(Some(URL)));
        check(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other/here")], Ok(Some("http://other/here")));
        check(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], Ok(None));
        check(&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")], Ok(Some(URL)));
        check(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://other/here")], Ok(None));
        check(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], Ok(None));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named() {
        check(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], Ok(Some(URL)));
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        check(&[ENDPOINT, grpc], Err("OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`; traces are exported by `http/protobuf`"));
        let json = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json");
        check(&[ENDPOINT, json], Err("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is `http/json`"));
        check(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")], Err("OTEL_TRACES_EXPORTER is `zipkin`"));
        check(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], Err("OTEL_EXPORTER_OTLP_TIMEOUT is `10s`"));
        check(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "allways_on")], Err("OTEL_TRACES_SAMPLER is `allways_on`"));
        let share = ("OTEL_TRACES_SAMPLER_ARG", "ten percent");
        check(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), share], Err("OTEL_TRACES_SAMPLER_ARG is `ten percent`"));
        check(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "always_off"), share], Ok(Some(URL)));
    }
}
