//! Names that requests ask for, resolved once for all workers.
//!
//! A worker that meets a new name adds it; a task on the main thread's runtime resolves it, and
//! again when its time to live is over, until nobody has used it for `host_ttl`.

use super::Resolver;
use crate::model::{DnsCacheSettings, DnsFamily};
use crate::telemetry::stats::Counter;
use crate::worker::millis_since_start;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// Names being resolved at a time, in all caches; more wait. Two queries a name stay below what
/// a `Forwarder` takes.
const CONCURRENT: usize = 128;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// `max_pending` requests wait for names already.
    #[error("too many requests wait for the resolution of names")]
    Pending,
    /// The cache holds `max_hosts` others.
    #[error("the DNS cache is full")]
    Full,
    #[error("{0}")]
    Failed(Arc<str>),
}

/// The means to resolve names: where and with what.
#[derive(Clone)]
pub struct Lookups {
    runtime: Handle,
    resolver: Arc<Resolver>,
    places: Arc<Semaphore>,
}

impl Lookups {
    /// On the current runtime, whose thread is in the host's namespace.
    pub fn new(resolver: Arc<Resolver>) -> Self {
        Self {
            runtime: Handle::current(),
            resolver,
            places: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }
}

/// A named cache, shared by the clusters and filters that name it.
pub struct DnsCache {
    name: Box<str>,
    settings: DnsCacheSettings,
    /// Read without a lock. Who adds or removes a name replaces all of it, which costs a new
    /// name little beside its resolution.
    hosts: ArcSwap<HashMap<Arc<str>, Arc<Host>>>,
    writing: Mutex<()>,
    pending: AtomicU32,
    /// `None` where configuration is compiled only: no name is resolved.
    lookups: Option<Lookups>,
    stats: Stats,
}

/// Envoy's `dns_cache.NAME.*`.
#[derive(Clone, Copy)]
struct Stats {
    attempt: Counter,
    success: Counter,
    failure: Counter,
    timeout: Counter,
    pending_overflow: Counter,
    host_overflow: Counter,
    host_added: Counter,
    host_removed: Counter,
}

/// A name and a port.
struct Host {
    name: Box<str>,
    port: u16,
    /// `None` until the first resolution is over.
    answer: ArcSwapOption<Answer>,
    settled: Notify,
    /// Milliseconds since process start.
    used: AtomicU64,
}

enum Answer {
    /// At least one.
    Addresses(Box<[SocketAddr]>),
    Failed(Arc<str>),
}

/// The key of an authority (`host`, `host:port`, `[v6]:port`) or of a server name: the name in
/// lower case without brackets, and the port, `default_port` where it has none.
pub fn host_key(authority: &str, default_port: u16) -> Box<str> {
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            match port.parse::<u16>() {
                Ok(port) => (name, port),
                Err(_) => (authority, default_port),
            }
        }
        _ => (authority, default_port),
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let mut key = format!("{}:{port}", bare.unwrap_or(name));
    key.make_ascii_lowercase();
    key.into()
}

impl DnsCache {
    pub fn new(name: &str, settings: DnsCacheSettings, lookups: Option<Lookups>) -> Self {
        let lookups = lookups.map(|lookups| match settings.servers.is_empty() {
            true => lookups,
            false => Lookups {
                resolver: Arc::new(Resolver::new(settings.servers.clone())),
                ..lookups
            },
        });
        let counter = |rest: &str| Counter::scoped("dns_cache", name, rest);
        Self {
            name: name.into(),
            settings,
            hosts: ArcSwap::default(),
            writing: Mutex::default(),
            pending: AtomicU32::new(0),
            lookups,
            stats: Stats {
                attempt: counter("dns_query_attempt"),
                success: counter("dns_query_success"),
                failure: counter("dns_query_failure"),
                timeout: counter("dns_query_timeout"),
                pending_overflow: counter("dns_rq_pending_overflow"),
                host_overflow: counter("host_overflow"),
                host_added: counter("host_added"),
                host_removed: counter("host_removed"),
            },
        }
    }

    pub fn settings(&self) -> &DnsCacheSettings {
        &self.settings
    }

    /// Waits until a [`host_key`]'s name is resolved for the first time.
    ///
    /// # Errors
    /// When it has no address, or there is no room to wait for it.
    pub async fn resolve(self: &Arc<Self>, key: &str) -> Result<(), CacheError> {
        let known = self.hosts.load().get(key).cloned();
        if let Some(outcome) = known.as_ref().and_then(|host| host.outcome()) {
            return outcome;
        }
        let _waiting = Waiting::new(self)?;
        let host = match known {
            Some(host) => host,
            None => self.add(key)?,
        };
        host.settle().await
    }

    /// The address of a key whose name is resolved.
    pub fn address(&self, key: &str) -> Option<SocketAddr> {
        let hosts = self.hosts.load();
        let host = hosts.get(key)?;
        match &**host.answer.load().as_ref()? {
            Answer::Addresses(all) => {
                host.used.store(millis_since_start(), Ordering::Relaxed);
                all.first().copied()
            }
            Answer::Failed(_) => None,
        }
    }

    fn add(self: &Arc<Self>, key: &str) -> Result<Arc<Host>, CacheError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts = self.hosts.load_full();
        if let Some(host) = hosts.get(key) {
            return Ok(host.clone());
        }
        if hosts.len() >= self.settings.max_hosts {
            self.stats.host_overflow.inc();
            return Err(CacheError::Full);
        }
        let host = Arc::new(Host::new(key));
        let key: Arc<str> = key.into();
        let mut hosts = (*hosts).clone();
        hosts.insert(key.clone(), host.clone());
        self.hosts.store(Arc::new(hosts));
        self.stats.host_added.inc();
        match &self.lookups {
            Some(lookups) => {
                let keeping = keep(Arc::downgrade(self), key, host.clone(), lookups.clone());
                lookups.runtime.spawn(keeping);
            }
            None => host.tell(Err("names_are_not_resolved_here".into())),
        }
        Ok(host)
    }

    fn remove(&self, key: &str) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hosts = (*self.hosts.load_full()).clone();
        if hosts.remove(key).is_some() {
            self.hosts.store(Arc::new(hosts));
            self.stats.host_removed.inc();
        }
    }

    /// One resolution; an error says why in one word, as Envoy's details do.
    async fn look_up(
        &self,
        name: &str,
        lookups: &Lookups,
    ) -> Result<(Vec<IpAddr>, Option<Duration>), Box<str>> {
        let family = self.settings.lookup;
        let work = async {
            if let Ok(ip) = name.parse::<IpAddr>() {
                return match family {
                    DnsFamily::V4Only if ip.is_ipv6() => Err("not_an_IPv4_address".into()),
                    DnsFamily::V6Only if ip.is_ipv4() => Err("not_an_IPv6_address".into()),
                    _ => Ok((vec![ip], None)),
                };
            }
            // Never closed.
            let _place = lookups.places.acquire().await;
            let found = lookups.resolver.resolve(name, family).await;
            found.map_err(|error| error.replace(char::is_whitespace, "_").into())
        };
        self.stats.attempt.inc();
        let result = match self.settings.query_timeout {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                self.stats.timeout.inc();
                Err("resolve_timeout".into())
            }),
        };
        let result = result.and_then(|(mut found, ttl)| {
            if let Some(filter) = &self.settings.filter {
                found.retain(|ip| !filter.matches(*ip));
            }
            match found.is_empty() {
                true => Err("all_addresses_are_filtered".into()),
                false => Ok((found, ttl)),
            }
        });
        match &result {
            Ok(_) => self.stats.success.inc(),
            Err(_) => self.stats.failure.inc(),
        }
        result
    }
}

/// Two that are told apart by nothing: there is one of a name.
impl PartialEq for DnsCache {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.settings == other.settings
    }
}

impl fmt::Debug for DnsCache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "DnsCache({:?}, {:?})", self.name, self.settings)
    }
}

impl Host {
    fn new(key: &str) -> Self {
        let (name, port) = key.rsplit_once(':').unwrap_or((key, ""));
        Self {
            name: name.into(),
            port: port.parse().unwrap_or_default(),
            answer: ArcSwapOption::empty(),
            settled: Notify::new(),
            used: AtomicU64::new(millis_since_start()),
        }
    }

    fn outcome(&self) -> Option<Result<(), CacheError>> {
        match &**self.answer.load().as_ref()? {
            Answer::Addresses(_) => Some(Ok(())),
            Answer::Failed(reason) => Some(Err(CacheError::Failed(reason.clone()))),
        }
    }

    async fn settle(&self) -> Result<(), CacheError> {
        loop {
            let told = self.settled.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            told.await;
        }
    }

    /// Takes a resolution's result in. Addresses outlive failures, and an answer with the same
    /// ones in another order is no change, as in Envoy.
    fn tell(&self, result: Result<Vec<IpAddr>, Box<str>>) {
        let known = self.answer.load_full();
        let known = match known.as_deref() {
            Some(Answer::Addresses(known)) => Some(known),
            _ => None,
        };
        let answer = match (result, known) {
            (Err(_), Some(_)) => return,
            (Err(reason), None) => Answer::Failed(reason.into()),
            (Ok(found), known) => {
                let found: Box<[SocketAddr]> =
                    found.iter().map(|ip| (*ip, self.port).into()).collect();
                let same = |known: &[SocketAddr]| {
                    known.len() == found.len() && found.iter().all(|one| known.contains(one))
                };
                if known.is_some_and(|known| same(known)) {
                    return;
                }
                Answer::Addresses(found)
            }
        };
        self.answer.store(Some(Arc::new(answer)));
        self.settled.notify_waiters();
    }

    fn is_unused(&self, lifetime: Duration) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        u128::from(millis_since_start().saturating_sub(used)) >= lifetime.as_millis()
    }
}

/// A request's place among those that wait.
struct Waiting<'a>(&'a DnsCache);

impl<'a> Waiting<'a> {
    fn new(cache: &'a DnsCache) -> Result<Self, CacheError> {
        if cache.pending.fetch_add(1, Ordering::Relaxed) >= cache.settings.max_pending {
            cache.pending.fetch_sub(1, Ordering::Relaxed);
            cache.stats.pending_overflow.inc();
            return Err(CacheError::Pending);
        }
        Ok(Self(cache))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Resolves a name again and again until it is unused, or the cache is gone.
async fn keep(weak: Weak<DnsCache>, key: Arc<str>, host: Arc<Host>, lookups: Lookups) {
    let mut pause = None;
    loop {
        let Some(cache) = weak.upgrade() else { return };
        let result = cache.look_up(&host.name, &lookups).await;
        let settings = &cache.settings;
        let wait = match &result {
            Ok((_, ttl)) => {
                pause = None;
                ttl.map_or(settings.refresh, |ttl| ttl.max(settings.min_refresh))
            }
            Err(_) => {
                let (first, longest) = settings.failure_refresh;
                let wait = pause.unwrap_or(first);
                pause = Some((wait * 2).min(longest));
                wait
            }
        };
        let failed = result.is_err();
        host.tell(result.map(|(found, _)| found));
        if failed && settings.forget_failures {
            cache.remove(&key);
            return;
        }
        let lifetime = settings.host_ttl;
        drop(cache);
        let due = Instant::now() + wait;
        // A long time to live must not keep what nobody uses.
        while Instant::now() < due {
            tokio::time::sleep_until(due.min(Instant::now() + lifetime)).await;
            let Some(cache) = weak.upgrade() else { return };
            if host.is_unused(lifetime) {
                cache.remove(&key);
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
