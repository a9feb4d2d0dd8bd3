//! What Istio's agent serves beside the proxy: merged metrics, its own end, readiness.

use super::reply::Reply;
use super::server::Incoming;
use super::{Admin, merge, probe, scrape};
use crate::config::OWN_CERTIFICATE;
use crate::options::ApplicationMetrics;
use crate::telemetry;
use http::{Method, StatusCode};
use std::os::fd::OwnedFd;

/// 15020.
pub(super) async fn answer(admin: &Admin, request: &Incoming, local: bool) -> Reply {
    let method = request.method();
    match request.uri().path() {
        "/stats/prometheus" | "/metrics" if method == Method::GET => merged(admin).await,
        "/healthz/ready" if method == Method::GET => probe::ready(admin),
        "/quitquitquit" if !local => Reply::text(
            StatusCode::FORBIDDEN,
            "only requests from localhost are allowed\n",
        ),
        "/quitquitquit" if method == Method::POST => {
            admin.control.quit();
            Reply::ok("OK")
        }
        "/quitquitquit" => Reply::method_not_allowed(method, "POST"),
        _ => Reply::text(
            StatusCode::NOT_FOUND,
            "known here: /stats/prometheus, /healthz/ready, POST /quitquitquit\n",
        ),
    }
}

/// 15090.
pub(super) fn own_metrics(request: &Incoming) -> Reply {
    match request.uri().path() {
        "/stats/prometheus" if request.method() == Method::GET => {
            Reply::prometheus(telemetry::prometheus())
        }
        _ => Reply::text(StatusCode::NOT_FOUND, "known here: /stats/prometheus\n"),
    }
}

/// The proxy's metrics and the application's, where there is one.
async fn merged(admin: &Admin) -> Reply {
    let mut own = telemetry::prometheus();
    own.push_str(&expiry(admin.config.own_certificate_left()));
    let target = admin.application_metrics.as_ref();
    Reply::prometheus(with_application(own, target, admin.namespace.as_ref()).await)
}

/// What Istio's agent tells of the workload's certificate, by the seconds left of it.
pub(crate) fn expiry(left: Option<i64>) -> String {
    let Some(left) = left else {
        return String::new();
    };
    format!(
        "# TYPE istio_agent_cert_expiry_seconds gauge\n\
         istio_agent_cert_expiry_seconds{{resource_name=\"{OWN_CERTIFICATE}\"}} {left}\n"
    )
}

/// A proxy's metrics and those of the application at `target`, which is asked in `namespace`.
/// An application that does not answer costs its part only, and says so in a counter.
pub(crate) async fn with_application(
    own: String,
    target: Option<&ApplicationMetrics>,
    namespace: Option<&OwnedFd>,
) -> String {
    let Some(target) = target else {
        return own;
    };
    match scrape::application(target, namespace).await {
        Ok(metrics) => merge::append(&own, &metrics),
        Err(error) => {
            telemetry::stats::Counter::new(
                "istio_agent_scrape_failures_total{type=\"application\"}",
            )
            .inc();
            tracing::warn!(port = target.port, path = %target.path, %error, "the application's metrics cannot be read");
            own
        }
    }
}
