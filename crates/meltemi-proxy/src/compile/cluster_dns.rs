//! How DNS clusters resolve their names.

use super::any;
use super::assignment::{Assignment, Host};
use super::basic::{Location, duration_or, location};
use super::presence::harmless;
use super::{At, Error, Result, pb};
use crate::model::{DnsFamily, DnsOptions};
use envoy_types::pb::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
use pb::cluster::cluster::DnsLookupFamily;
use pb::clusters::dns::v3::DnsCluster;
use prost::Name;
use std::net::SocketAddr;
use std::time::Duration;

/// Envoy's `dns_refresh_rate`.
const REFRESH: Duration = Duration::from_secs(5);
const GETADDRINFO: &str =
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig";

pub fn family(value: DnsLookupFamily) -> DnsFamily {
    match value {
        DnsLookupFamily::Auto => DnsFamily::Auto,
        DnsLookupFamily::V4Only => DnsFamily::V4Only,
        DnsLookupFamily::V6Only => DnsFamily::V6Only,
        DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
        DnsLookupFamily::All => DnsFamily::All,
    }
}

/// The options of either form: the cluster's own fields or the DNS cluster extension.
pub struct Settings {
    pub refresh: Option<pb::wkt::Duration>,
    pub respect_ttl: bool,
    pub lookup: DnsFamily,
    pub resolver: Option<pb::core::TypedExtensionConfig>,
}

impl Settings {
    pub fn from_extension(value: DnsCluster) -> Result<Self> {
        use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily as F;
        let lookup = match value.dns_lookup_family() {
            F::Unspecified | F::Auto => DnsFamily::Auto,
            F::V4Only => DnsFamily::V4Only,
            F::V6Only => DnsFamily::V6Only,
            F::V4Preferred => DnsFamily::V4Preferred,
            F::All => DnsFamily::All,
        };
        let DnsCluster {
            dns_refresh_rate,
            dns_failure_refresh_rate,
            respect_dns_ttl,
            dns_jitter,
            typed_dns_resolver_config,
            dns_lookup_family: _,
            all_addresses_in_single_endpoint: _,
            dns_min_refresh_rate,
        } = value;
        // When exactly names are resolved again.
        harmless!(dns_failure_refresh_rate, dns_jitter, dns_min_refresh_rate);
        Ok(Self {
            refresh: dns_refresh_rate,
            respect_ttl: respect_dns_ttl,
            lookup,
            resolver: typed_dns_resolver_config,
        })
    }

    pub fn compile(self, assignment: Option<&Assignment>) -> Result<DnsOptions> {
        let assignment = assignment.ok_or_else(|| Error::missing("load_assignment"))?;
        if let Some(resolver) = self.resolver
            && !servers(resolver)
                .at("typed_dns_resolver_config")?
                .is_empty()
        {
            return Err(Error::unsupported("typed_dns_resolver_config.resolvers"));
        }
        let mut names: Vec<(Box<str>, u16)> = Vec::new();
        for endpoint in assignment.endpoints() {
            if let Host::Name(name, port) = &endpoint.host {
                let name = (name.clone(), *port);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let refresh = duration_or(self.refresh, REFRESH).at("dns_refresh_rate")?;
        if refresh < Duration::from_millis(1) {
            return Err(Error::new("must be at least 1 ms").at_field("dns_refresh_rate"));
        }
        Ok(DnsOptions {
            names,
            refresh,
            respect_ttl: self.respect_ttl,
            lookup: self.lookup,
        })
    }
}

/// The name servers that a resolver's configuration names in place of the host's own.
pub fn servers(value: pb::core::TypedExtensionConfig) -> Result<Vec<SocketAddr>> {
    let typed = any::open(value.typed_config).at("typed_config")?;
    if typed.type_name() == GETADDRINFO {
        return Ok(Vec::new());
    }
    if typed.type_name() != CaresDnsResolverConfig::full_name() {
        return Err(Error::new(format!(
            "{} is not supported",
            typed.type_name()
        )));
    }
    let CaresDnsResolverConfig { resolvers, .. } = typed.decode().at("typed_config")?;
    resolvers
        .into_iter()
        .enumerate()
        .map(|(index, address)| {
            let server = match location(Some(address)) {
                Ok(Location::Socket(server)) => server.socket(),
                Ok(Location::Pipe(_)) => None,
                Err(error) => return Err(error).nth("typed_config.resolvers", index),
            };
            server
                .ok_or_else(|| Error::new("is no IP address"))
                .nth("typed_config.resolvers", index)
        })
        .collect()
}
