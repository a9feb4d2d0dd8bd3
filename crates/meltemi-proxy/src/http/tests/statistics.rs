//! Envoy's counters of connection managers and clusters.

use crate::http::testkit::*;
use crate::model::*;
use crate::telemetry::stats::{Counter, Gauge};
use std::sync::Arc;
use std::time::Duration;

fn cluster_count(name: &str, rest: &str) -> u64 {
    Counter::scoped("cluster", name, rest).value()
}

/// The counters of one test's own names.
fn assert_counts(scope: &str, name: &str, expected: &[(&str, u64)]) {
    for (rest, count) in expected {
        let value = Counter::scoped(scope, name, rest).value();
        assert_eq!(value, *count, "{scope}.{name}.{rest}");
    }
}

#[test]
fn requests_are_counted_by_prefix_cluster_and_code() {
    run(async {
        let upstream = Upstream::http1(|request| async move {
            let status = request.uri().path()[1..].parse().unwrap();
            text(status, "")
        })
        .await;
        let mut config = cluster_config("c");
        config.alt_stat_name = Some("outbound|80||counted;".into());
        let mut manager = manager(routes(vec![
            route(PathMatch::Exact("/direct".into()), direct(204)),
            route(PathMatch::Exact("/gone".into()), to(9)),
            route(
                PathMatch::Regex(meltemi_re2::partial("^/[0-9]+$").unwrap()),
                to(0),
            ),
        ]));
        manager.stat_prefix = "counted".into();
        let proxy = Proxy::start(manager, vec![cluster(config, &[&upstream])]).await;
        let mut client = proxy.connect().await;
        for path in ["/200", "/200", "/404", "/503", "/direct", "/gone", "/none"] {
            client.get(path).await;
        }
        let active = Gauge::scoped("http", "counted", "downstream_cx_active");
        assert_eq!(active.value(), 1);
        drop(client);
        until(|| proxy.open.get() == 0).await;
        assert_eq!(active.value(), 0);
        let active = Gauge::scoped("http", "counted", "downstream_rq_active");
        assert_eq!(active.value(), 0);
        let downstream = [
            ("downstream_cx_total", 1),
            ("downstream_cx_http1_total", 1),
            ("downstream_rq_total", 7),
            ("downstream_rq_completed", 7),
            ("downstream_rq_2xx", 3),
            ("downstream_rq_4xx", 2),
            ("downstream_rq_5xx", 2),
            ("no_route", 1),
            ("no_cluster", 1),
            ("rq_direct_response", 1),
        ];
        assert_counts("http", "counted", &downstream);
        let upstream = [
            ("upstream_rq_total", 4),
            ("upstream_rq_200", 2),
            ("upstream_rq_2xx", 2),
            ("upstream_rq_404", 1),
            ("upstream_rq_503", 1),
            ("upstream_rq_5xx", 1),
            ("upstream_cx_total", 1),
            ("upstream_cx_http1_total", 1),
        ];
        assert_counts("cluster", "outbound|80||counted;", &upstream);
        let text = crate::telemetry::prometheus();
        let line = "envoy_cluster_upstream_rq_total{cluster_name=\"outbound|80||counted\"} 4";
        assert!(text.contains(line), "{line}");
    });
}

#[test]
fn tags_of_istios_metrics_are_changed_removed_and_added() {
    run(async {
        let upstream = Upstream::http1(|_| async { text(200, "") }).await;
        let made = |tag: &str, text: &str| TagChange {
            standard: crate::telemetry::is_standard_tag(tag),
            tag: tag.into(),
            value: TagOverride::Of(Box::new(
                meltemi_cel::Program::compile(text, meltemi_cel::Options::default()).unwrap(),
            )),
        };
        let removed = |tag: &str| TagChange {
            standard: crate::telemetry::is_standard_tag(tag),
            tag: tag.into(),
            value: TagOverride::Removed,
        };
        let changes = vec![
            made("gone", "request.headers['x-gone']"),
            made("operation", "request.headers['x-operation']"),
            removed("destination_principal"),
            made("response_code", "request.method"),
            removed("source_principal"),
        ];
        let metrics = StandardMetrics {
            groups: [MetricGroup {
                metrics: Metric::Requests.bit(),
                changes: changes.into(),
            }]
            .into(),
            reads_head: true,
            reads_headers: true,
            reads_trailers: false,
        };
        let mut manager = manager(routes(vec![any(to(0))]));
        manager.istio_stats = Some(Arc::new(metrics));
        let config = cluster_config("tagged");
        let proxy = Proxy::start(manager, vec![cluster(config, &[&upstream])]).await;
        let mut client = proxy.connect().await;
        let long = "n".repeat(500);
        for value in ["buy\"it", long.as_str()] {
            let asked = request("GET", "/").header("x-operation", value);
            client.send(asked.body(full("")).unwrap()).await;
        }
        let text = crate::telemetry::prometheus();
        let lines = text.lines().filter(|line| line.contains("operation=\""));
        let mut lines: Vec<&str> = lines.collect();
        lines.sort_unstable();
        let [bought, cut] = lines[..] else {
            panic!("{lines:?}")
        };
        assert!(bought.starts_with("istio_requests_total{") && bought.ends_with("} 1"));
        for part in [
            "operation=\"buy\\\"it\"",
            "response_code=\"GET\"",
            "gone=\"unknown\"",
        ] {
            assert!(bought.contains(part), "{part}: {bought}");
        }
        assert!(!bought.contains("_principal"), "{bought}");
        assert!(
            cut.contains(&format!("operation=\"{}\"", &long[..256])),
            "{cut}"
        );
    });
}

fn direct(status: u16) -> Action {
    Action::Direct(DirectResponse {
        status: http::StatusCode::from_u16(status).unwrap(),
        body: bytes::Bytes::new(),
    })
}

#[test]
fn retries_and_failures_are_counted() {
    run(async {
        let failing = Upstream::http1(|_| async { text(503, "") }).await;
        let mut forward = forward();
        forward.retry = Some(Arc::new(retry(RetryOn::FIVE_XX)));
        let config = cluster_config("retried");
        let manager1 = manager(routes(vec![any(Action::Forward(Box::new(forward)))]));
        let proxy = Proxy::start(manager1, vec![cluster(config, &[&failing])]).await;
        assert_eq!(proxy.get("/").await.status, 503);
        let expected = [
            ("upstream_rq_total", 3),
            ("upstream_rq_retry", 2),
            ("upstream_rq_retry_success", 0),
            ("upstream_rq_retry_limit_exceeded", 1),
            ("upstream_rq_503", 1),
        ];
        assert_counts("cluster", "retried", &expected);

        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        drop(closed);
        let target = |name: &str| {
            Arc::new(Cluster {
                endpoints: Arc::new(endpoints(vec![endpoint(address)])),
                ..Arc::into_inner(cluster(cluster_config(name), &[])).unwrap()
            })
        };
        let manager2 = manager(routes(vec![any(to(0))]));
        let proxy = Proxy::start(manager2, vec![target("refusing")]).await;
        assert_eq!(proxy.get("/").await.status, 503);
        let expected = [
            ("upstream_cx_total", 1),
            ("upstream_cx_connect_fail", 1),
            ("upstream_rq_total", 0),
            ("upstream_rq_5xx", 1),
        ];
        assert_counts("cluster", "refusing", &expected);

        let slow = Upstream::http1(|_| std::future::pending()).await;
        let mut forward = super::super::testkit::forward();
        forward.timeout = Some(Duration::from_millis(30));
        let manager3 = manager(routes(vec![any(Action::Forward(Box::new(forward)))]));
        let config = cluster_config("slow");
        let proxy = Proxy::start(manager3, vec![cluster(config, &[&slow])]).await;
        assert_eq!(proxy.get("/").await.status, 504);
        assert_eq!(cluster_count("slow", "upstream_rq_timeout"), 1);
        assert_eq!(cluster_count("slow", "upstream_rq_504"), 1);

        let nobody = vec![cluster(cluster_config("nobody"), &[])];
        let manager4 = manager(routes(vec![any(to(0))]));
        let proxy = Proxy::start(manager4, nobody).await;
        assert_eq!(proxy.get("/").await.status, 503);
        assert_eq!(cluster_count("nobody", "upstream_cx_none_healthy"), 1);
        assert_eq!(cluster_count("nobody", "upstream_rq_503"), 1);
    });
}
