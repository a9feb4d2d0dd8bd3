//! Resolution of STRICT_DNS and LOGICAL_DNS clusters.

use super::counters::Updates;
use crate::dns::Resolver;
use crate::model::DnsOptions;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pauses after a failure: the first one and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the resolution of a cluster's names gave.
pub struct Resolved {
    pub cluster: Arc<str>,
    /// Tells answers for a replaced configuration apart.
    pub config_hash: u64,
    /// Names that failed and were never resolved before have no entry.
    pub addresses: HashMap<Box<str>, Vec<IpAddr>>,
}

/// Resolves a cluster's names again and again until it is dropped.
pub struct Watch(tokio::task::JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watch {
    pub fn start(
        resolver: Arc<Resolver>,
        cluster: Arc<str>,
        config_hash: u64,
        options: DnsOptions,
        results: mpsc::Sender<Resolved>,
        updates: Updates,
    ) -> Self {
        Self(tokio::spawn(run(
            resolver,
            cluster,
            config_hash,
            options,
            results,
            updates,
        )))
    }
}

async fn run(
    resolver: Arc<Resolver>,
    cluster: Arc<str>,
    config_hash: u64,
    options: DnsOptions,
    results: mpsc::Sender<Resolved>,
    updates: Updates,
) {
    let mut known: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
    let mut pause = FIRST_PAUSE;
    let mut first = true;
    loop {
        let mut changed = first;
        let mut failed = false;
        let mut shortest: Option<Duration> = None;
        for (name, _) in &options.names {
            match resolver.resolve(name, options.lookup).await {
                Ok((mut addresses, ttl)) => {
                    // The order of an answer is chance: equal sets are no change.
                    addresses.sort_unstable();
                    addresses.dedup();
                    shortest = match (shortest, ttl) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                    changed |= known.get(name) != Some(&addresses);
                    known.insert(name.clone(), addresses);
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(%cluster, %error, "name not resolved, keeping its last addresses");
                }
            }
        }
        if failed {
            updates.failed();
        } else {
            updates.taken();
        }
        if changed {
            let result = Resolved {
                cluster: cluster.clone(),
                config_hash,
                addresses: known.clone(),
            };
            if results.send(result).await.is_err() {
                return;
            }
        }
        first = false;
        let wait = if failed {
            let wait = pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
            wait.min(options.refresh.max(FIRST_PAUSE))
        } else {
            pause = FIRST_PAUSE;
            match shortest.filter(|_| options.respect_ttl) {
                // Envoy too never asks more often than once a second.
                Some(ttl) => ttl.max(Duration::from_secs(1)),
                None => options.refresh,
            }
        };
        tokio::time::sleep(wait).await;
    }
}
