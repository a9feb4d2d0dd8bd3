//! Load balancing policies, by enum or by extension.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::any::{self, Typed};
use super::basic::{bool_or, duration_or, percent, u32_or};
use super::context::Cx;
use super::pb::wkt;
use super::presence::{harmless, refuse};
use super::{At, Error, Result, pb};
use crate::model::{Balancer, Hashing, RingFunction, SlowStart};
use pb::balancing::common::v3 as shared;
use pb::balancing::{least_request, maglev, random, ring_hash, round_robin, wrr_locality};
use pb::cluster::LoadBalancingPolicy;
use pb::cluster::cluster as nested;
use prost::Name;
use std::time::Duration;

/// Envoy's sizes.
const MINIMUM_RING: u64 = 1024;
const MAXIMUM_RING: u64 = 8 * 1024 * 1024;
const MAGLEV_TABLE: u64 = 65_537;
/// Envoy's bound on a Maglev table.
const MAGLEV_LARGEST: u64 = 5_000_011;
/// Envoy's `healthy_panic_threshold`.
const PANIC_THRESHOLD: u32 = 50;

/// What `common_lb_config` says.
pub struct Common {
    pub panic_threshold: u32,
    pub locality_weighted: bool,
    pub hashing: Hashing,
}

pub fn common(value: nested::CommonLbConfig, cx: &mut Cx<'_>) -> Result<Common> {
    use nested::common_lb_config::{ConsistentHashingLbConfig, LocalityConfigSpecifier};
    let nested::CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        consistent_hashing_lb_config,
        override_host_status,
        locality_config_specifier,
    } = value;
    refuse!(close_connections_on_host_set_change);
    // How updates are merged in time; health checks and host overrides are refused anyway.
    harmless!(
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        override_host_status
    );
    let locality_weighted = match locality_config_specifier {
        None => false,
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => true,
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(_)) => {
            cx.notice("CommonLbConfig.zone_aware_lb_config", ZONE_AWARE);
            false
        }
    };
    let hashing = match consistent_hashing_lb_config {
        None => Hashing::default(),
        Some(ConsistentHashingLbConfig {
            use_hostname_for_hashing,
            hash_balance_factor,
        }) => Hashing {
            use_hostname: use_hostname_for_hashing,
            balance_factor: balance_factor(hash_balance_factor)
                .at("consistent_hashing_lb_config")?,
        },
    };
    Ok(Common {
        panic_threshold: healthy_panic_threshold.map_or(PANIC_THRESHOLD, percent),
        locality_weighted,
        hashing,
    })
}

const ZONE_AWARE: &str = "endpoints of all zones are used by their weights";

/// The balancer, and whether its policy weights localities.
pub fn balancer(
    policy: nested::LbPolicy,
    config: Option<nested::LbConfig>,
    extension: Option<LoadBalancingPolicy>,
    common: &Common,
    cx: &mut Cx<'_>,
) -> Result<(Balancer, bool)> {
    // The extension wins over the enum, as in Envoy.
    if let Some(extension) = extension {
        return first_known(extension, cx).at("load_balancing_policy");
    }
    let balancer = match policy {
        nested::LbPolicy::RoundRobin => {
            let slow = match config {
                Some(nested::LbConfig::RoundRobinLbConfig(config)) => config.slow_start_config,
                _ => None,
            };
            Balancer::RoundRobin {
                slow_start: slow
                    .map(Slow::from)
                    .map(slow_start)
                    .transpose()
                    .at("slow_start_config")?,
            }
        }
        nested::LbPolicy::LeastRequest => {
            let nested::LeastRequestLbConfig {
                choice_count,
                active_request_bias,
                slow_start_config,
            } = match config {
                Some(nested::LbConfig::LeastRequestLbConfig(config)) => config,
                _ => Default::default(),
            };
            let slow = slow_start_config.map(Slow::from);
            Balancer::LeastRequest {
                choices: Some(u32_or(choice_count, 2).max(2)),
                bias: bias(active_request_bias).at("least_request_lb_config")?,
                slow_start: slow.map(slow_start).transpose().at("slow_start_config")?,
            }
        }
        nested::LbPolicy::Random => Balancer::Random,
        nested::LbPolicy::RingHash => {
            let mut sizes = (MINIMUM_RING, MAXIMUM_RING);
            let mut function = RingFunction::XxHash;
            if let Some(nested::LbConfig::RingHashLbConfig(config)) = config {
                use nested::ring_hash_lb_config::HashFunction;
                if config.hash_function() == HashFunction::MurmurHash2 {
                    function = RingFunction::MurmurHash2;
                }
                let nested::RingHashLbConfig {
                    minimum_ring_size,
                    hash_function: _,
                    maximum_ring_size,
                } = config;
                sizes = (
                    minimum_ring_size.map_or(MINIMUM_RING, |value| value.value),
                    maximum_ring_size.map_or(MAXIMUM_RING, |value| value.value),
                );
            }
            ring(sizes, function, common.hashing).at("ring_hash_lb_config")?
        }
        nested::LbPolicy::Maglev => {
            let size = match config {
                Some(nested::LbConfig::MaglevLbConfig(config)) => {
                    config.table_size.map_or(MAGLEV_TABLE, |value| value.value)
                }
                _ => MAGLEV_TABLE,
            };
            maglev_table(size, common.hashing).at("maglev_lb_config")?
        }
        nested::LbPolicy::ClusterProvided => Balancer::ClusterProvided,
        nested::LbPolicy::LoadBalancingPolicyConfig => {
            return Err(Error::missing("load_balancing_policy"));
        }
    };
    Ok((balancer, false))
}

fn first_known(value: LoadBalancingPolicy, cx: &mut Cx<'_>) -> Result<(Balancer, bool)> {
    let mut unknown = Vec::new();
    for policy in value.policies {
        let config = policy.typed_extension_config.unwrap_or_default();
        let typed = any::open(config.typed_config).at("policies")?;
        let name = typed.type_name().to_owned();
        match extension(typed, cx).at("policies")? {
            Some(found) => return Ok(found),
            None => unknown.push(name),
        }
    }
    Err(Error::new(format!("none of {unknown:?} is supported")))
}

/// `None` for an extension that is not known: the list's next one counts then.
fn extension(typed: Typed, cx: &mut Cx<'_>) -> Result<Option<(Balancer, bool)>> {
    let name = typed.type_name();
    Ok(Some(if name == round_robin::v3::RoundRobin::full_name() {
        let round_robin::v3::RoundRobin {
            slow_start_config,
            locality_lb_config,
        } = typed.decode()?;
        let slow = slow_start_config.map(Slow::from);
        (
            Balancer::RoundRobin {
                slow_start: slow.map(slow_start).transpose().at("slow_start_config")?,
            },
            locality(locality_lb_config, cx),
        )
    } else if name == least_request::v3::LeastRequest::full_name() {
        let value: least_request::v3::LeastRequest = typed.decode()?;
        let full =
            value.selection_method() == least_request::v3::least_request::SelectionMethod::FullScan;
        let least_request::v3::LeastRequest {
            choice_count,
            active_request_bias,
            slow_start_config,
            locality_lb_config,
            enable_full_scan,
            selection_method: _,
        } = value;
        let full = full || bool_or(enable_full_scan, false);
        let slow = slow_start_config.map(Slow::from);
        (
            Balancer::LeastRequest {
                choices: (!full).then(|| u32_or(choice_count, 2).max(2)),
                bias: bias(active_request_bias)?,
                slow_start: slow.map(slow_start).transpose().at("slow_start_config")?,
            },
            locality(locality_lb_config, cx),
        )
    } else if name == random::v3::Random::full_name() {
        let random::v3::Random { locality_lb_config } = typed.decode()?;
        (Balancer::Random, locality(locality_lb_config, cx))
    } else if name == ring_hash::v3::RingHash::full_name() {
        use ring_hash::v3::ring_hash::HashFunction;
        let value: ring_hash::v3::RingHash = typed.decode()?;
        let function = match value.hash_function() {
            HashFunction::MurmurHash2 => RingFunction::MurmurHash2,
            HashFunction::DefaultHash | HashFunction::XxHash => RingFunction::XxHash,
        };
        let ring_hash::v3::RingHash {
            hash_function: _,
            minimum_ring_size,
            maximum_ring_size,
            use_hostname_for_hashing,
            hash_balance_factor,
            consistent_hashing_lb_config,
            locality_weighted_lb_config,
        } = value;
        // The message's own fields are deprecated, and count without the newer one only.
        let hashing = match consistent_hashing_lb_config {
            Some(value) => consistent(value).at("consistent_hashing_lb_config")?,
            None => Hashing {
                use_hostname: use_hostname_for_hashing,
                balance_factor: balance_factor(hash_balance_factor)?,
            },
        };
        let sizes = (
            minimum_ring_size.map_or(MINIMUM_RING, |value| value.value),
            maximum_ring_size.map_or(MAXIMUM_RING, |value| value.value),
        );
        (
            ring(sizes, function, hashing)?,
            locality_weighted_lb_config.is_some(),
        )
    } else if name == maglev::v3::Maglev::full_name() {
        let maglev::v3::Maglev {
            table_size,
            consistent_hashing_lb_config,
            locality_weighted_lb_config,
        } = typed.decode()?;
        let hashing = consistent_hashing_lb_config.map(consistent).transpose();
        let hashing = hashing.at("consistent_hashing_lb_config")?;
        let size = table_size.map_or(MAGLEV_TABLE, |value| value.value);
        (
            maglev_table(size, hashing.unwrap_or_default())?,
            locality_weighted_lb_config.is_some(),
        )
    } else if name == wrr_locality::v3::WrrLocality::full_name() {
        let wrr_locality::v3::WrrLocality {
            endpoint_picking_policy,
        } = typed.decode()?;
        let inner =
            endpoint_picking_policy.ok_or_else(|| Error::missing("endpoint_picking_policy"))?;
        let (balancer, _) = first_known(inner, cx).at("endpoint_picking_policy")?;
        (balancer, true)
    } else {
        return Ok(None);
    }))
}

fn locality(value: Option<shared::LocalityLbConfig>, cx: &mut Cx<'_>) -> bool {
    use shared::locality_lb_config::LocalityConfigSpecifier;
    match value.and_then(|value| value.locality_config_specifier) {
        None => false,
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => true,
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(_)) => {
            cx.notice("LocalityLbConfig.zone_aware_lb_config", ZONE_AWARE);
            false
        }
    }
}

fn consistent(value: shared::ConsistentHashingLbConfig) -> Result<Hashing> {
    let shared::ConsistentHashingLbConfig {
        use_hostname_for_hashing,
        hash_balance_factor,
        hash_policy,
    } = value;
    refuse!(hash_policy);
    Ok(Hashing {
        use_hostname: use_hostname_for_hashing,
        balance_factor: balance_factor(hash_balance_factor)?,
    })
}

/// 0 is none, as unset.
fn balance_factor(value: Option<wkt::UInt32Value>) -> Result<Option<u32>> {
    match u32_or(value, 0) {
        0 => Ok(None),
        1..=99 => Err(Error::new("must be at least 100").at_field("hash_balance_factor")),
        factor => Ok(Some(factor)),
    }
}

/// Both messages that say it: the cluster's own and that of extensions.
struct Slow {
    window: Option<wkt::Duration>,
    aggression: Option<pb::core::RuntimeDouble>,
    minimum: Option<pb::types::Percent>,
}

impl From<nested::SlowStartConfig> for Slow {
    fn from(value: nested::SlowStartConfig) -> Self {
        Self {
            window: value.slow_start_window,
            aggression: value.aggression,
            minimum: value.min_weight_percent,
        }
    }
}

impl From<shared::SlowStartConfig> for Slow {
    fn from(value: shared::SlowStartConfig) -> Self {
        Self {
            window: value.slow_start_window,
            aggression: value.aggression,
            minimum: value.min_weight_percent,
        }
    }
}

fn slow_start(value: Slow) -> Result<SlowStart> {
    let window = duration_or(value.window, Duration::ZERO).at("slow_start_window")?;
    let aggression = value.aggression.map_or(1.0, |value| value.default_value);
    if aggression.is_nan() || aggression <= 0.0 {
        return Err(Error::new("must be above 0").at_field("aggression"));
    }
    let minimum = value.minimum.map_or(10.0, |percent| percent.value);
    Ok(SlowStart {
        window,
        aggression,
        minimum: minimum.clamp(0.0, 100.0) / 100.0,
    })
}

fn bias(value: Option<pb::core::RuntimeDouble>) -> Result<f64> {
    let bias = value.map_or(1.0, |value| value.default_value);
    if bias.is_nan() || bias < 0.0 {
        return Err(Error::new("must not be negative").at_field("active_request_bias"));
    }
    Ok(bias)
}

fn ring(
    (minimum, maximum): (u64, u64),
    function: RingFunction,
    hashing: Hashing,
) -> Result<Balancer> {
    if maximum > MAXIMUM_RING {
        return Err(Error::new(format!("is above {MAXIMUM_RING}")).at_field("maximum_ring_size"));
    }
    if minimum > maximum {
        return Err(Error::new("is above maximum_ring_size").at_field("minimum_ring_size"));
    }
    Ok(Balancer::RingHash {
        minimum,
        maximum,
        function,
        hashing,
    })
}

fn maglev_table(table_size: u64, hashing: Hashing) -> Result<Balancer> {
    if table_size > MAGLEV_LARGEST || !is_prime(table_size) {
        return Err(Error::new(format!(
            "must be a prime number of at most {MAGLEV_LARGEST}"
        ))
        .at_field("table_size"));
    }
    Ok(Balancer::Maglev {
        table_size,
        hashing,
    })
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}
