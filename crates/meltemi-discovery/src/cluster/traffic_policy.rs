//! Connection pools, circuit breakers, outlier detection and upstream HTTP versions.

use meltemi_api::networking::{H2UpgradePolicy, TrafficPolicy};
use meltemi_registry::{Port, Service};

use super::upstream_http;
use crate::issue::Issues;
use crate::pb::{self, cluster, core};
use crate::proxy::{Proxy, ProxyKind};
use crate::world::destination_rule::Rule;
use crate::world::scope::Scope;

/// Limits that are not meant to limit: Envoy's own defaults (1024) would.
pub fn unlimited() -> cluster::CircuitBreakers {
    breakers(cluster::circuit_breakers::Thresholds::default())
}

fn breakers(thresholds: cluster::circuit_breakers::Thresholds) -> cluster::CircuitBreakers {
    let or_unlimited = |given: Option<pb::UInt32Value>| given.or(pb::u32v(u32::MAX));
    cluster::CircuitBreakers {
        thresholds: vec![cluster::circuit_breakers::Thresholds {
            max_connections: or_unlimited(thresholds.max_connections),
            max_pending_requests: or_unlimited(thresholds.max_pending_requests),
            max_requests: or_unlimited(thresholds.max_requests),
            max_retries: or_unlimited(thresholds.max_retries),
            ..thresholds
        }],
        ..Default::default()
    }
}

/// How the cluster speaks HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
    /// What the client spoke.
    Downstream,
}

/// Upstream HTTP settings, collected until they are written.
#[derive(Debug)]
pub struct Http {
    pub version: Version,
    pub common: core::HttpProtocolOptions,
    pub http2: core::Http2ProtocolOptions,
    pub auto_sni: bool,
    pub auto_san_validation: bool,
}

impl Http {
    /// The version a service's port asks for.
    pub fn of(
        scope: &Scope<'_>,
        proxy: &Proxy,
        service: &Service,
        port: &Port,
        policy: &TrafficPolicy,
    ) -> Self {
        let mut http = Self::inbound(port);
        // Only sidecars see what protocol their client chose for that server.
        if proxy.kind == ProxyKind::Gateway && http.version == Version::Downstream {
            http.version = Version::Http1;
        }
        let settings = policy
            .connection_pool
            .as_ref()
            .and_then(|pool| pool.http.as_ref());
        let upgrade = match settings.map(|settings| settings.h2_upgrade_policy) {
            Some(H2UpgradePolicy::Upgrade) => true,
            Some(H2UpgradePolicy::DoNotUpgrade) => false,
            Some(H2UpgradePolicy::Default) | None => {
                scope.world.mesh.upgrades_to_http2() && !service.external
            }
        };
        if upgrade && port.protocol.is_http() {
            http.version = Version::Http2;
        }
        if settings.is_some_and(|settings| settings.use_client_protocol) {
            http.version = Version::Downstream;
        }
        http
    }

    /// The version a workload's own port speaks.
    pub fn inbound(port: &Port) -> Self {
        Self {
            version: if port.protocol.is_http2() {
                Version::Http2
            } else if port.protocol.is_sniffed() {
                Version::Downstream
            } else {
                Version::Http1
            },
            common: core::HttpProtocolOptions::default(),
            http2: core::Http2ProtocolOptions::default(),
            auto_sni: false,
            auto_san_validation: false,
        }
    }

    /// The options, unless they would say nothing.
    pub fn options(self) -> Option<upstream_http::HttpProtocolOptions> {
        use upstream_http::http_protocol_options::{
            ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig,
            explicit_http_config::ProtocolConfig,
        };
        let plain = self.common == core::HttpProtocolOptions::default();
        if self.version == Version::Http1 && plain && !self.auto_sni && !self.auto_san_validation {
            return None;
        }
        let explicit = |config| {
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(config),
            })
        };
        let upstream = match self.version {
            Version::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(Default::default())),
            Version::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(self.http2)),
            Version::Downstream => {
                UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
                    http_protocol_options: Some(Default::default()),
                    http2_protocol_options: Some(self.http2),
                    ..Default::default()
                })
            }
        };
        Some(upstream_http::HttpProtocolOptions {
            common_http_protocol_options: (!plain).then_some(self.common),
            upstream_http_protocol_options: (self.auto_sni || self.auto_san_validation).then(
                || core::UpstreamHttpProtocolOptions {
                    auto_sni: self.auto_sni,
                    auto_san_validation: self.auto_san_validation,
                    ..Default::default()
                },
            ),
            upstream_protocol_options: Some(upstream),
            ..Default::default()
        })
    }
}

/// Connection pool and circuit breakers.
pub fn connection(
    cluster: &mut cluster::Cluster,
    http: &mut Http,
    scope: &Scope<'_>,
    policy: &TrafficPolicy,
) {
    let positive = |value: i32| {
        u32::try_from(value)
            .ok()
            .filter(|v| *v > 0)
            .and_then(pb::u32v)
    };
    let mut thresholds = cluster::circuit_breakers::Thresholds::default();
    let mut keepalive = scope.world.mesh.keepalive();
    let pool = policy.connection_pool.as_ref();
    if let Some(tcp) = pool.and_then(|pool| pool.tcp.as_ref()) {
        thresholds.max_connections = positive(tcp.max_connections);
        if let Some(timeout) = tcp.connect_timeout {
            cluster.connect_timeout = Some(pb::duration(timeout.get()));
        }
        if tcp.tcp_keepalive.is_some() {
            keepalive = tcp.tcp_keepalive.as_ref();
        }
        http.common.max_connection_duration =
            tcp.max_connection_duration.map(|d| pb::duration(d.get()));
    }
    if let Some(settings) = pool.and_then(|pool| pool.http.as_ref()) {
        thresholds.max_pending_requests = positive(settings.http1_max_pending_requests);
        thresholds.max_requests = positive(settings.http2_max_requests);
        thresholds.max_retries = positive(settings.max_retries);
        http.common.idle_timeout = settings.idle_timeout.map(|d| pb::duration(d.get()));
        http.common.max_requests_per_connection = positive(settings.max_requests_per_connection);
        http.http2.max_concurrent_streams = positive(settings.max_concurrent_streams);
        if let Some(keepalive) = &settings.http2_keep_alive {
            http.http2.connection_keepalive = Some(core::KeepaliveSettings {
                interval: keepalive.interval.map(|d| pb::duration(d.get())),
                timeout: keepalive.timeout.map(|d| pb::duration(d.get())),
                ..Default::default()
            });
        }
    }
    if let Some(budget) = &policy.retry_budget {
        thresholds.retry_budget = Some(cluster::circuit_breakers::thresholds::RetryBudget {
            budget_percent: pb::percent(budget.percent.unwrap_or(20.0)),
            budget_interval: budget.budget_interval.map(|d| pb::duration(d.get())),
            min_retry_concurrency: (budget.min_retry_concurrency > 0)
                .then_some(())
                .and_then(|()| pb::u32v(budget.min_retry_concurrency)),
        });
    }
    cluster.circuit_breakers = Some(breakers(thresholds));
    if let Some(keepalive) = keepalive {
        let seconds = |d: Option<meltemi_api::Duration>| {
            d.and_then(|d| u32::try_from(d.get().as_secs()).ok())
                .and_then(pb::u32v)
        };
        cluster.upstream_connection_options = Some(cluster::UpstreamConnectionOptions {
            tcp_keepalive: Some(core::TcpKeepalive {
                keepalive_probes: (keepalive.probes > 0)
                    .then_some(())
                    .and_then(|()| pb::u32v(keepalive.probes)),
                keepalive_time: seconds(keepalive.time),
                keepalive_interval: seconds(keepalive.interval),
            }),
            ..Default::default()
        });
    }
}

/// Ejection of endpoints that fail.
pub fn outliers(cluster: &mut cluster::Cluster, policy: &TrafficPolicy) {
    let Some(settings) = &policy.outlier_detection else {
        return;
    };
    // Success-rate ejection, which Envoy does by default, is not part of Istio's API: off.
    let mut outlier = cluster::OutlierDetection {
        enforcing_success_rate: pb::u32v(0),
        interval: settings.interval.map(|d| pb::duration(d.get())),
        base_ejection_time: settings.base_ejection_time.map(|d| pb::duration(d.get())),
        ..Default::default()
    };
    let errors_in_a_row = settings.consecutive_5xx_errors.or_else(|| {
        u32::try_from(settings.consecutive_errors)
            .ok()
            .filter(|errors| *errors > 0)
    });
    if let Some(errors) = errors_in_a_row {
        outlier.consecutive_5xx = pb::u32v(errors);
        outlier.enforcing_consecutive_5xx = pb::u32v(if errors > 0 { 100 } else { 0 });
    }
    if let Some(errors) = settings.consecutive_gateway_errors {
        outlier.consecutive_gateway_failure = pb::u32v(errors);
        outlier.enforcing_consecutive_gateway_failure = pb::u32v(if errors > 0 { 100 } else { 0 });
    }
    if settings.max_ejection_percent > 0 {
        outlier.max_ejection_percent = u32::try_from(settings.max_ejection_percent)
            .ok()
            .and_then(pb::u32v);
    }
    if settings.split_external_local_origin_errors {
        outlier.split_external_local_origin_errors = true;
        outlier.enforcing_local_origin_success_rate = pb::u32v(0);
        if let Some(failures) = settings.consecutive_local_origin_failures {
            outlier.consecutive_local_origin_failure = pb::u32v(failures);
            outlier.enforcing_consecutive_local_origin_failure =
                pb::u32v(if failures > 0 { 100 } else { 0 });
        }
    }
    cluster.outlier_detection = Some(outlier);
    let lb = cluster.common_lb_config.get_or_insert_default();
    // Below this share of healthy endpoints Envoy sends to all; Istio's default is never.
    lb.healthy_panic_threshold = pb::percent(f64::from(settings.min_health_percent.max(0)));
}

/// Names what of a policy is not translated.
pub fn report(policy: &TrafficPolicy, rule: &Rule, field: &str, issues: &mut Issues) {
    if let Some(outlier) = &policy.outlier_detection
        && !outlier.outlier_detection_http_error_codes.is_empty()
    {
        issues.add(
            &rule.key,
            format!("{field}.outlierDetection.outlierDetectionHttpErrorCodes"),
            "not supported; 5xx and gateway errors are counted. Remove the list",
        );
    }
}
