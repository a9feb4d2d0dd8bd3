//! Limits.

use super::super::report::Report;
use crate::FieldPath;
use crate::networking::{ConnectionPoolSettings, H2UpgradePolicy, HttpSettings, TcpSettings};

pub(crate) fn pool(limits: &ConnectionPoolSettings, at: &FieldPath, report: &mut Report) {
    if limits.tcp.is_none() && limits.http.is_none() {
        report.error(at, "is empty", "add tcp or http, or remove it");
    }
    if let Some(http) = &limits.http {
        http_limits(http, &at.field("http"), report);
    }
    if let Some(tcp) = &limits.tcp {
        tcp_limits(tcp, &at.field("tcp"), report);
    }
}

fn http_limits(http: &HttpSettings, at: &FieldPath, report: &mut Report) {
    if *http == HttpSettings::default() {
        report.error(at, "is empty", "add a limit, or remove it");
    }
    for (name, value) in [
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ] {
        report.not_negative(&at.field(name), value);
    }
    report.duration_or_zero(&at.field("idleTimeout"), http.idle_timeout);
    if http.use_client_protocol && http.h2_upgrade_policy == H2UpgradePolicy::Upgrade {
        let message = "excludes h2UpgradePolicy: UPGRADE";
        report.error(&at.field("useClientProtocol"), message, "keep one of them");
    }
    if let Some(ping) = &http.http2_keep_alive {
        let at = at.field("http2KeepAlive");
        if ping.interval.is_none() {
            report.error(&at, "has no interval", "set interval");
        }
        report.duration(&at.field("interval"), ping.interval);
        report.duration(&at.field("timeout"), ping.timeout);
    }
}

fn tcp_limits(tcp: &TcpSettings, at: &FieldPath, report: &mut Report) {
    if *tcp == TcpSettings::default() {
        report.error(at, "is empty", "add a limit, or remove it");
    }
    report.not_negative(&at.field("maxConnections"), tcp.max_connections);
    report.duration(&at.field("connectTimeout"), tcp.connect_timeout);
    report.duration(
        &at.field("maxConnectionDuration"),
        tcp.max_connection_duration,
    );
    report.duration_or_zero(&at.field("idleTimeout"), tcp.idle_timeout);
    if let Some(probes) = &tcp.tcp_keepalive {
        let at = at.field("tcpKeepalive");
        report.duration(&at.field("time"), probes.time);
        report.duration(&at.field("interval"), probes.interval);
    }
}
