//! Where a cluster's endpoints come from.

use super::basic::fetch_timeout;
use super::context::Cx;
use super::dynamic::{self, DynamicCluster};
use super::presence::refuse;
use super::{At, Error, Result};
use super::{any, pb};
use crate::model::Discovery;
use pb::cluster::cluster as nested;
use pb::clusters::dns::v3::DnsCluster;
use pb::clusters::dynamic_forward_proxy::v3::ClusterConfig;
use prost::Name;
use std::time::Duration;

/// The type of a cluster, with the extension's message where an extension is its type.
pub enum Kind {
    Static,
    Eds,
    StrictDns(Option<DnsCluster>),
    LogicalDns(Option<DnsCluster>),
    OriginalDst,
    Dynamic(DynamicCluster),
}

pub fn kind(value: Option<nested::ClusterDiscoveryType>, cx: &mut Cx<'_>) -> Result<Kind> {
    use nested::DiscoveryType;
    let custom = match value {
        None => return Ok(Kind::Static),
        Some(nested::ClusterDiscoveryType::Type(number)) => {
            return match DiscoveryType::try_from(number) {
                Ok(DiscoveryType::Static) => Ok(Kind::Static),
                Ok(DiscoveryType::Eds) => Ok(Kind::Eds),
                Ok(DiscoveryType::StrictDns) => Ok(Kind::StrictDns(None)),
                Ok(DiscoveryType::LogicalDns) => Ok(Kind::LogicalDns(None)),
                Ok(DiscoveryType::OriginalDst) => Ok(Kind::OriginalDst),
                Err(_) => Err(Error::new(format!("{number} is not known")).at_field("type")),
            };
        }
        Some(nested::ClusterDiscoveryType::ClusterType(custom)) => custom,
    };
    let typed = any::open(custom.typed_config).at("cluster_type.typed_config")?;
    if typed.type_name() == DnsCluster::full_name() {
        let config: DnsCluster = typed.decode().at("cluster_type.typed_config")?;
        return Ok(match config.all_addresses_in_single_endpoint {
            true => Kind::LogicalDns(Some(config)),
            false => Kind::StrictDns(Some(config)),
        });
    }
    if typed.type_name() == ClusterConfig::full_name() {
        let config = typed
            .decode()
            .and_then(|config| dynamic::cluster(config, cx));
        return config.at("cluster_type.typed_config").map(Kind::Dynamic);
    }
    Err(Error::new(format!("{} is not supported", typed.type_name())).at_field("cluster_type"))
}

/// The service to ask for, and how long its first endpoints are waited for (0: for ever).
pub fn eds(value: Option<nested::EdsClusterConfig>, name: &str) -> Result<(Box<str>, Duration)> {
    use pb::core::config_source::ConfigSourceSpecifier;
    let nested::EdsClusterConfig {
        eds_config,
        service_name,
    } = value.ok_or_else(|| Error::new("is required"))?;
    let source = eds_config.ok_or_else(|| Error::missing("eds_config"))?;
    match source.config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => {}
        _ => return Err(Error::new("only `ads` is supported as a source").at_field("eds_config")),
    }
    let timeout = fetch_timeout(source.initial_fetch_timeout).at("eds_config")?;
    let service = if service_name.is_empty() {
        name.into()
    } else {
        service_name.into()
    };
    Ok((service, timeout))
}

pub fn original_dst(value: nested::OriginalDstLbConfig) -> Result<Discovery> {
    let nested::OriginalDstLbConfig {
        use_http_header,
        http_header_name,
        upstream_port_override,
        metadata_key,
    } = value;
    refuse!(metadata_key);
    let header = use_http_header.then(|| {
        if http_header_name.is_empty() {
            "x-envoy-original-dst-host".into()
        } else {
            http_header_name.into()
        }
    });
    let port_override = upstream_port_override
        .map(|port| u16::try_from(port.value))
        .transpose()
        .map_err(|_| Error::new("is above 65535").at_field("upstream_port_override"))?;
    Ok(Discovery::OriginalDst {
        header,
        port_override,
    })
}
