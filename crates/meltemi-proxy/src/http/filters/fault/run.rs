//! What is injected into a request.

use super::{AbortKind, Fault};
use crate::http::head::Head;
use crate::http::reply::Reply;
use crate::http::{matching, names};
use http::{HeaderMap, HeaderName, StatusCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Requests of the process that wait in a delay.
static ACTIVE: AtomicU32 = AtomicU32::new(0);

/// What is injected into one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub delay: Option<Duration>,
    pub abort: Option<Abort>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Abort {
    status: StatusCode,
    grpc: Option<u32>,
}

impl Abort {
    pub fn reply(&self) -> Reply {
        Reply::fault_abort(self.status, self.grpc)
    }
}

/// Decides by percentage, headers and upstream cluster. The bound on active faults holds
/// for the process; workers may pass it by one each at the same instant.
pub(crate) fn plan(fault: &Fault, head: &Head, cluster: Option<&str>) -> Plan {
    let wrong_cluster = fault
        .upstream_cluster
        .as_deref()
        .is_some_and(|wanted| cluster != Some(wanted));
    let wrong_node = !fault.downstream_nodes.is_empty()
        && !head
            .headers
            .get(&names::X_ENVOY_SERVICE_NODE)
            .is_some_and(|node| {
                fault
                    .downstream_nodes
                    .iter()
                    .any(|wanted| node.as_bytes() == wanted.as_bytes())
            });
    if wrong_cluster
        || wrong_node
        || !fault.headers.iter().all(|m| matching::header(m, head))
        || fault
            .max_active_faults
            .is_some_and(|limit| ACTIVE.load(Ordering::Relaxed) >= limit)
    {
        return Plan::default();
    }
    let delay = fault.delay.as_ref().and_then(|delay| {
        let time = match delay.fixed {
            Some(time) => time,
            None => Duration::from_millis(number(&head.headers, &names::X_ENVOY_FAULT_DELAY)?),
        };
        let fraction = match delay.fixed {
            Some(_) => delay.fraction,
            None => percentage(head, &names::X_ENVOY_FAULT_DELAY_PERCENT, delay.fraction),
        };
        matching::chance(fraction).then_some(time)
    });
    let abort = fault.abort.as_ref().and_then(|abort| {
        let planned = match abort.kind {
            AbortKind::Http(status) => http(status)?,
            AbortKind::Grpc(status) => of_grpc(status),
            AbortKind::Header => match number(&head.headers, &names::X_ENVOY_FAULT_ABORT) {
                Some(status) => http(u16::try_from(status).ok()?)?,
                None => of_grpc(number(&head.headers, &names::X_ENVOY_FAULT_ABORT_GRPC)? as u32),
            },
        };
        let fraction = match abort.kind {
            AbortKind::Header => {
                percentage(head, &names::X_ENVOY_FAULT_ABORT_PERCENT, abort.fraction)
            }
            _ => abort.fraction,
        };
        matching::chance(fraction).then_some(planned)
    });
    Plan { delay, abort }
}

fn http(status: u16) -> Option<Abort> {
    Some(Abort {
        status: StatusCode::from_u16(status).ok()?,
        grpc: None,
    })
}

/// A client that speaks no gRPC sees a 200, as with any answer of a gRPC service.
fn of_grpc(status: u32) -> Abort {
    Abort {
        status: StatusCode::OK,
        grpc: Some(status),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// A header may lower the configured fraction, never raise it.
fn percentage(head: &Head, name: &HeaderName, configured: (u32, u32)) -> (u32, u32) {
    match number(&head.headers, name) {
        Some(wanted) => (
            u32::try_from(wanted).unwrap_or(u32::MAX).min(configured.0),
            configured.1,
        ),
        None => configured,
    }
}

/// Waits as one of the active faults.
pub(crate) async fn delay(time: Duration) {
    struct Active;
    impl Drop for Active {
        fn drop(&mut self) {
            ACTIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
    ACTIVE.fetch_add(1, Ordering::Relaxed);
    let _active = Active;
    tokio::time::sleep(time).await;
}
