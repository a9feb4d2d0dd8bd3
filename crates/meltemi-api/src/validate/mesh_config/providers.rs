//! Extension providers of MeshConfig.

use std::collections::BTreeSet;

use super::super::names::provider_service;
use super::super::report::Report;
use crate::FieldPath;
use crate::mesh::ExtensionProvider;

pub(super) fn validate(providers: &[ExtensionProvider], at: &FieldPath, report: &mut Report) {
    let mut names = BTreeSet::new();
    for (index, provider) in providers.iter().enumerate() {
        let at = at.index(index);
        report.required(&at.field("name"), &provider.name, "name the provider");
        if !provider.name.is_empty() && !names.insert(&provider.name) {
            let message = format!("{:?} is there for a second time", provider.name);
            report.error(&at.field("name"), message, "rename it");
        }
        one(provider, &at, report);
    }
}

fn one(provider: &ExtensionProvider, at: &FieldPath, report: &mut Report) {
    let services = services(provider);
    let without_service = [
        provider.stackdriver.is_some(),
        provider.prometheus.is_some(),
        provider.envoy_file_access_log.is_some(),
    ];
    let count = services.len() + without_service.iter().filter(|set| **set).count();
    if count != 1 {
        let message = format!("has {count} kinds of provider");
        report.error(at, message, "give it a name and one kind, such as zipkin");
    }
    for (name, service, port) in services {
        let at = at.field(name);
        if service.is_empty() {
            report.error(&at.field("service"), "is required", "name the service");
        } else {
            report.check(&at.field("service"), provider_service(service));
        }
        report.port(&at.field("port"), port);
    }
    if let Some(lightstep) = &provider.lightstep {
        let at = at.field("lightstep").field("accessToken");
        report.required(&at, &lightstep.access_token, "write the token");
    }
    if let Some(otel) = &provider.opentelemetry
        && otel.http.is_some()
        && otel.grpc.is_some()
    {
        let at = at.field("opentelemetry");
        report.error(&at, "has both http and grpc", "keep one of them");
    }
    if let Some(http) = &provider.envoy_ext_authz_http {
        let at = at.field("envoyExtAuthzHttp");
        status_on_error(&http.status_on_error, &at, report);
        if !http.path_prefix.is_empty() && !http.path_prefix.starts_with('/') {
            let message = format!("{:?} does not begin with /", http.path_prefix);
            report.error(&at.field("pathPrefix"), message, "write /PREFIX");
        }
    }
    if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        let at = at.field("envoyExtAuthzGrpc");
        status_on_error(&grpc.status_on_error, &at, report);
    }
}

/// The services that a provider calls: its field, service and port.
fn services(provider: &ExtensionProvider) -> Vec<(&'static str, &str, u32)> {
    let mut out = Vec::new();
    macro_rules! calls {
        ($($field:ident: $name:literal),* $(,)?) => { $(
            if let Some(one) = &provider.$field {
                out.push(($name, one.service.as_str(), one.port));
            }
        )* };
    }
    calls! {
        envoy_ext_authz_http: "envoyExtAuthzHttp",
        envoy_ext_authz_grpc: "envoyExtAuthzGrpc",
        zipkin: "zipkin",
        lightstep: "lightstep",
        datadog: "datadog",
        opencensus: "opencensus",
        skywalking: "skywalking",
        opentelemetry: "opentelemetry",
        envoy_http_als: "envoyHttpAls",
        envoy_tcp_als: "envoyTcpAls",
        envoy_otel_als: "envoyOtelAls",
        sds: "sds",
    }
    out
}

fn status_on_error(status: &str, at: &FieldPath, report: &mut Report) {
    if status.is_empty() {
        return;
    }
    let known = status.parse::<u16>().is_ok_and(is_envoy_status);
    if !known {
        report.error(
            &at.field("statusOnError"),
            format!("{status:?} is not a status that Envoy answers with"),
            "write for example \"503\"",
        );
    }
}

/// Envoy's `type.v3.StatusCode`.
fn is_envoy_status(code: u16) -> bool {
    matches!(
        code,
        0 | 100
            | 200..=208
            | 226
            | 300..=305
            | 307..=308
            | 400..=417
            | 421..=424
            | 426
            | 428..=429
            | 431
            | 500..=508
            | 510..=511
    )
}
