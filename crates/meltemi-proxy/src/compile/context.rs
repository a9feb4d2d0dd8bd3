//! What a compilation needs besides the message, and what it yields besides the model.

use super::secret::SecretSource;
use super::{Error, Notice, Result};
use crate::dns::{DnsCache, Lookups};
use crate::model::{ClientTls, ClusterId, DnsCacheSettings, FilterId, RouteTableId, ServerTls};
use crate::token_bucket::{TokenBucket, TokenRate};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Names of clusters, route tables and HTTP filters, numbered for the life of the process, and of DNS caches and
/// token buckets that are shared by name.
#[derive(Default)]
pub struct Names {
    clusters: HashMap<Arc<str>, u32>,
    routes: HashMap<Arc<str>, u32>,
    filters: HashMap<Arc<str>, u32>,
    caches: HashMap<Box<str>, Weak<DnsCache>>,
    buckets: HashMap<Box<str>, Vec<Weak<TokenBucket>>>,
    lookups: Option<Lookups>,
}

impl Names {
    /// For a configuration that serves traffic: its DNS caches resolve.
    pub fn resolving(lookups: Lookups) -> Self {
        Self {
            lookups: Some(lookups),
            ..Self::default()
        }
    }

    /// The DNS cache of a name, which all who name it share.
    ///
    /// # Errors
    /// When it is in use with other settings, as in Envoy.
    pub fn dns_cache(&mut self, name: &str, settings: DnsCacheSettings) -> Result<Arc<DnsCache>> {
        if let Some(cache) = self.caches.get(name).and_then(Weak::upgrade) {
            return match *cache.settings() == settings {
                true => Ok(cache),
                false => Err(Error::new(format!(
                    "DNS cache {name:?} is in use with other settings: give it the same ones \
                     wherever it is named, or another name"
                ))),
            };
        }
        self.caches.retain(|_, cache| cache.strong_count() > 0);
        let cache = Arc::new(DnsCache::new(name, settings, self.lookups.clone()));
        self.caches.insert(name.into(), Arc::downgrade(&cache));
        Ok(cache)
    }

    /// The token bucket of that key and rate, which all who name both share.
    pub fn token_bucket(&mut self, key: &str, rate: TokenRate) -> Arc<TokenBucket> {
        self.buckets.retain(|_, buckets| {
            buckets.retain(|bucket| bucket.strong_count() > 0);
            !buckets.is_empty()
        });
        let buckets = self.buckets.entry(key.into()).or_default();
        let mut known = buckets.iter().filter_map(Weak::upgrade);
        known.find(|bucket| bucket.rate == rate).unwrap_or_else(|| {
            let bucket = Arc::new(TokenBucket::new(rate));
            buckets.push(Arc::downgrade(&bucket));
            bucket
        })
    }

    pub fn cluster(&mut self, name: &str) -> ClusterId {
        ClusterId(number(&mut self.clusters, name))
    }

    pub fn route_table(&mut self, name: &str) -> RouteTableId {
        RouteTableId(number(&mut self.routes, name))
    }

    /// An HTTP filter's name in its chain, by which routes speak to it.
    pub fn filter(&mut self, name: &str) -> FilterId {
        FilterId(number(&mut self.filters, name))
    }

    /// One more than the largest [`ClusterId`].
    pub fn cluster_count(&self) -> usize {
        self.clusters.len()
    }

    /// All names of clusters, in the order of their ids.
    pub fn cluster_names(&self) -> Vec<Box<str>> {
        let mut names = vec![Box::default(); self.clusters.len()];
        for (name, id) in &self.clusters {
            names[*id as usize] = (&**name).into();
        }
        names
    }

    /// One more than the largest [`RouteTableId`].
    pub fn route_table_count(&self) -> usize {
        self.routes.len()
    }
}

fn number(map: &mut HashMap<Arc<str>, u32>, name: &str) -> u32 {
    if let Some(&number) = map.get(name) {
        return number;
    }
    let number = map.len() as u32;
    map.insert(name.into(), number);
    number
}

/// A route table that a listener wants from RDS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteReference {
    pub name: Box<str>,
    /// 0: wait for ever.
    pub fetch_timeout: Duration,
}

/// A secret that a TLS context wants.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretReference {
    /// The name in `CommonTls`; unique in the process.
    pub name: Box<str>,
    pub source: SecretSource,
    /// 0: wait for ever.
    pub fetch_timeout: Duration,
}

/// What a resource refers to.
#[derive(Default)]
pub struct References {
    pub routes: Vec<RouteReference>,
    pub secrets: Vec<SecretReference>,
    pub server_tls: Vec<Arc<ServerTls>>,
    pub client_tls: Vec<Arc<ClientTls>>,
}

/// One compilation.
pub struct Cx<'a> {
    pub names: &'a mut Names,
    pub references: References,
    notices: Vec<Notice>,
}

impl<'a> Cx<'a> {
    pub fn new(names: &'a mut Names) -> Self {
        Self {
            names,
            references: References::default(),
            notices: Vec::new(),
        }
    }

    pub fn notice(&mut self, field: &'static str, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        let notice = Notice { field, reason };
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// The references and notices collected so far.
    pub fn finish(self) -> (References, Vec<Notice>) {
        (self.references, self.notices)
    }
}
