//! The settings of a proxy in MeshConfig and in the annotation `proxy.istio.io/config`.

use super::super::destination_rule::client_tls;
use super::super::names::host_and_port;
use super::super::report::Report;
use crate::FieldPath;
use crate::mesh::{
    AuthenticationPolicy, ConnectionSettings, KeyProviderSettings, PrivateKeyProvider, ProxyConfig,
    Tracing,
};

/// Smallest window of HTTP/2 (RFC 9113, section 6.9.2).
const MIN_WINDOW: i32 = 65_535;

pub(super) fn validate(config: &ProxyConfig, at: &FieldPath, report: &mut Report) {
    if let Some(duration) = config.drain_duration {
        let at = at.field("drainDuration");
        report.duration(&at, Some(duration));
        if duration.get().subsec_nanos() != 0 {
            report.error(&at, "has parts of a second", "round it to seconds");
        }
    }
    report.duration_or_zero(
        &at.field("terminationDrainDuration"),
        config.termination_drain_duration,
    );
    signed_port(config.proxy_admin_port, &at.field("proxyAdminPort"), report);
    signed_port(config.status_port, &at.field("statusPort"), report);
    if let Some(threads) = config.concurrency {
        report.not_negative(&at.field("concurrency"), threads);
    }
    if config.service_cluster.as_deref() == Some("") {
        report.error(&at.field("serviceCluster"), "is empty", "leave it out");
    }
    if config.service_cluster.is_some() && config.tracing_service_name.is_some() {
        let message = "has both serviceCluster and tracingServiceName";
        report.error(at, message, "keep one of them");
    }
    if config.control_plane_auth_policy == Some(AuthenticationPolicy::Inherit) {
        report.error(
            &at.field("controlPlaneAuthPolicy"),
            "there is nothing to inherit from",
            "use MUTUAL_TLS or NONE",
        );
    }
    addresses(config, at, report);
    if let Some(settings) = &config.tracing {
        tracing(settings, &at.field("tracing"), report);
    }
    if let Some(provider) = &config.private_key_provider {
        private_keys(provider, &at.field("privateKeyProvider"), report);
    }
    if let Some(settings) = &config.connection_settings {
        connections(settings, &at.field("connectionSettings"), report);
    }
}

fn addresses(config: &ProxyConfig, at: &FieldPath, report: &mut Report) {
    let of = |service: &Option<crate::mesh::RemoteService>| -> String {
        service
            .as_ref()
            .map_or_else(String::new, |s| s.address.clone())
    };
    let at_address = |name: &str| at.field(name).field("address");
    for (at, address) in [
        (
            at.field("discoveryAddress"),
            config.discovery_address.clone(),
        ),
        (
            at.field("statsdUdpAddress"),
            config.statsd_udp_address.clone(),
        ),
        (
            at.field("envoyMetricsServiceAddress"),
            config.envoy_metrics_service_address.clone(),
        ),
        (
            at_address("envoyMetricsService"),
            of(&config.envoy_metrics_service),
        ),
        (
            at_address("envoyAccessLogService"),
            of(&config.envoy_access_log_service),
        ),
    ] {
        if !address.is_empty() {
            report.check(&at, host_and_port(&address));
        }
    }
}

fn tracing(tracing: &Tracing, at: &FieldPath, report: &mut Report) {
    let tracers = [
        tracing.zipkin.is_some(),
        tracing.lightstep.is_some(),
        tracing.datadog.is_some(),
        tracing.stackdriver.is_some(),
        tracing.open_census_agent.is_some(),
    ];
    if tracers.iter().filter(|set| **set).count() > 1 {
        report.error(at, "has more than one tracer", "keep one of them");
    }
    if let Some(lightstep) = &tracing.lightstep {
        let at = at.field("lightstep");
        report.check(&at.field("address"), host_and_port(&lightstep.address));
        let token = &lightstep.access_token;
        report.required(&at.field("accessToken"), token, "write the token");
    }
    for (name, tracer) in [("zipkin", &tracing.zipkin), ("datadog", &tracing.datadog)] {
        if let Some(tracer) = tracer {
            // Istio's proxies put the address of their node there.
            let address = tracer.address.replacen("$(HOST_IP)", "127.0.0.1", 1);
            report.check(&at.field(name).field("address"), host_and_port(&address));
        }
    }
    for (name, tag) in &tracing.custom_tags {
        let sources = [
            tag.literal.is_some(),
            tag.environment.is_some(),
            tag.header.is_some(),
        ];
        if sources.iter().filter(|set| **set).count() != 1 {
            let at = at.field("customTags").field(name);
            let message = "needs one of literal, environment and header";
            report.error(&at, message, "keep one of them");
        }
    }
    if let Some(percent) = tracing.sampling {
        report.percent(&at.field("sampling"), percent);
    }
    if let Some(tls) = &tracing.tls_settings {
        client_tls(tls, &at.field("tlsSettings"), report);
    }
}

fn private_keys(provider: &PrivateKeyProvider, at: &FieldPath, report: &mut Report) {
    match (&provider.cryptomb, &provider.qat) {
        (None, None) => report.error(at, "has neither cryptomb nor qat", "add one of them"),
        (Some(_), Some(_)) => report.error(at, "has both cryptomb and qat", "keep one of them"),
        (Some(settings), None) => poll_delay(settings, &at.field("cryptomb"), report),
        (None, Some(settings)) => poll_delay(settings, &at.field("qat"), report),
    }
}

fn poll_delay(settings: &KeyProviderSettings, at: &FieldPath, report: &mut Report) {
    let at = at.field("pollDelay");
    match settings.poll_delay {
        None => report.error(&at, "is required", "write for example 2ms"),
        Some(delay) if delay.get().is_zero() => {
            report.error(&at, "must be more than 0", "write for example 2ms");
        }
        Some(_) => {}
    }
}

fn connections(settings: &ConnectionSettings, at: &FieldPath, report: &mut Report) {
    for (name, value) in [
        (
            "listenerPerConnectionBufferLimitBytes",
            settings.listener_per_connection_buffer_limit_bytes,
        ),
        (
            "clusterPerConnectionBufferLimitBytes",
            settings.cluster_per_connection_buffer_limit_bytes,
        ),
    ] {
        report.not_negative(&at.field(name), value.unwrap_or_default());
    }
    for (name, value) in [
        (
            "httpMaxConcurrentStreams",
            settings.http_max_concurrent_streams,
        ),
        (
            "globalDownstreamMaxConnections",
            settings.global_downstream_max_connections,
        ),
    ] {
        if value.is_some_and(|value| value <= 0) {
            report.error(&at.field(name), "must be 1 or more", "leave it out");
        }
    }
    for (name, value) in [
        (
            "http2InitialStreamWindowSize",
            settings.http2_initial_stream_window_size,
        ),
        (
            "http2InitialConnectionWindowSize",
            settings.http2_initial_connection_window_size,
        ),
    ] {
        if value.is_some_and(|value| value < MIN_WINDOW) {
            let message = format!("must be {MIN_WINDOW} or more");
            report.error(&at.field(name), message, "leave it out");
        }
    }
}

pub(super) fn signed_port(port: Option<i32>, at: &FieldPath, report: &mut Report) {
    if let Some(port) = port {
        report.port(at, u32::try_from(port).unwrap_or_default());
    }
}
