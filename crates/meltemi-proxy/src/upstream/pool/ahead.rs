//! Connections that are made before a request waits for them
//! (`per_upstream_preconnect_ratio`).

use super::lease::Open;
use super::{Pool, connect};
use crate::model::{CheckResult, Cluster, Endpoint};
use crate::net::Connector;
use crate::overload::Levels;
use crate::upstream::breakers::ConnectionGuard;
use crate::upstream::outlier::{self, Outcome};
use crate::worker::millis_since_start;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Connections begun at a time, as in Envoy.
const AT_ONCE: u32 = 3;

impl Pool {
    /// Makes connections until there is one for each stream times the cluster's ratio, within
    /// the circuit breaker's limits. `coming`: streams that are about to make connections of
    /// their own. Endpoints that fail get none.
    pub(in crate::upstream) fn connect_ahead(
        self: &Rc<Self>,
        connector: &Connector,
        overload: &Levels,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        coming: u32,
    ) {
        let state = &endpoint.state;
        let ejected = state.ejected_until.load(Ordering::Relaxed) > millis_since_start();
        if ejected || state.checked() == CheckResult::Failed {
            return;
        }
        for _ in 0..AT_ONCE {
            if self.closed.get() || !self.needs_more(coming) || overload.refuses_upstream() {
                return;
            }
            let Some(guard) = ConnectionGuard::new(cluster, endpoint, false) else {
                self.stats.cx_overflow.inc();
                return;
            };
            let open = Open::new(self.clone(), guard);
            let ahead = Ahead::new(self);
            let (connector, cluster, endpoint) =
                (connector.clone(), cluster.clone(), endpoint.clone());
            tokio::task::spawn_local(async move {
                let pool = &ahead.0;
                let way = pool.way();
                match connect::connect(&connector, &pool.stats, &pool.config, &endpoint, way).await
                {
                    Ok(connected) => pool.keep(connected, open),
                    // Who needs a connection now makes one, and learns of it.
                    Err(_) => outlier::report(&cluster, &endpoint, Outcome::LocalFailure),
                }
            });
        }
    }

    fn needs_more(&self, coming: u32) -> bool {
        let ratio = self.config.preconnect_ratio;
        let (streams, room) = match self.speaks_http2.get() {
            // It is not known how many streams a connection will carry.
            None => return false,
            Some(false) => {
                let idle = self.idle.borrow().len() as u32;
                let open = self.open.get();
                let busy = open.saturating_sub(idle + self.ahead.get());
                (busy + self.waiters.get() + coming, open + coming)
            }
            // The first one that is under way carries them all.
            Some(true) if self.connecting.get() > 0 || coming > 0 => return false,
            Some(true) => {
                let shared = self.shared.borrow();
                let limit = self.config.http2.max_concurrent_streams;
                let room = shared.iter().fold(0u32, |room, connection| {
                    room.saturating_add(connection.client.max_streams().min(limit))
                });
                let streams = shared.iter().map(|shared| shared.active.get()).sum::<u32>();
                let ahead = self.ahead.get().saturating_mul(limit);
                (streams + self.waiters.get(), room.saturating_add(ahead))
            }
        };
        streams as f32 * ratio > room as f32
    }
}

/// Counts a connection that is being made ahead.
struct Ahead(Rc<Pool>);

impl Ahead {
    fn new(pool: &Rc<Pool>) -> Self {
        pool.ahead.set(pool.ahead.get() + 1);
        Self(pool.clone())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.ahead.set(self.0.ahead.get() - 1);
    }
}
