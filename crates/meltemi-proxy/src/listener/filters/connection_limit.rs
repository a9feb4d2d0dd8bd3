//! A limit on connections that are open at once (`envoy.filters.network.connection_limit`).

use super::{Admitted, Closed, Filter};
use crate::compile::any::Typed;
use crate::compile::basic::{duration_or, runtime_flag};
use crate::compile::pb::filters::network::connection_limit::v3::ConnectionLimit as Proto;
use crate::compile::{At, Cx, Error, Result as Compiled};
use crate::telemetry::ConnectionInfo;
use crate::telemetry::stats::{Counter, Gauge};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub struct ConnectionLimit {
    maximum: u64,
    /// Those who are beyond the limit are held for so long.
    delay: Duration,
    enabled: bool,
    /// All workers' together.
    open: Arc<AtomicU64>,
    active: Gauge,
    limited: Counter,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    open: Arc<AtomicU64>,
    active: Gauge,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        self.active.dec();
    }
}

impl Filter for ConnectionLimit {
    const CONFIG: &'static str =
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit";

    fn compile(typed: Typed, _cx: &mut Cx<'_>) -> Compiled<Self> {
        let Proto {
            stat_prefix,
            max_connections,
            delay,
            runtime_enabled,
        } = typed.decode()?;
        if stat_prefix.is_empty() {
            return Err(Error::missing("stat_prefix"));
        }
        let maximum = max_connections.map_or(0, |value| value.value);
        if maximum == 0 {
            return Err(Error::new("must be at least 1").at_field("max_connections"));
        }
        Ok(Self {
            maximum,
            delay: duration_or(delay, Duration::ZERO).at("delay")?,
            enabled: runtime_flag(runtime_enabled),
            open: Arc::default(),
            active: Gauge::scoped("connection_limit", &stat_prefix, "active_connections"),
            limited: Counter::scoped("connection_limit", &stat_prefix, "limited_connections"),
        })
    }

    fn admit(&self, _connection: &ConnectionInfo) -> Result<Admitted, Closed> {
        if !self.enabled {
            return Ok(None);
        }
        // As in Envoy, one that is held before it is closed counts, too.
        let before = self.open.fetch_add(1, Relaxed);
        self.active.inc();
        let counted = Some(Counted {
            open: self.open.clone(),
            active: self.active,
        });
        if before < self.maximum {
            return Ok(counted);
        }
        self.limited.inc();
        Err(Closed {
            details: "".into(),
            delay: self.delay,
            counted,
        })
    }
}
