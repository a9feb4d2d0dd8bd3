//! How a cluster picks endpoints: policy, consistent hashing, locality, slow start.

use meltemi_api::networking::{
    ConsistentHashLb, LocalityLoadBalancerSetting, SimpleLb, TrafficPolicy,
};

use super::Discovery;
use crate::issue::Issues;
use crate::pb::{self, cluster, core};
use crate::world::destination_rule::Rule;
use crate::world::scope::Scope;
use cluster::cluster::{CommonLbConfig, LbConfig, LbPolicy, common_lb_config};

/// Least size of a hash ring when nobody gives one; Istio's.
const RING_SIZE: u64 = 1024;

/// Connections go where the application sent them.
pub fn is_passthrough(policy: &TrafficPolicy) -> bool {
    policy
        .load_balancer
        .as_ref()
        .is_some_and(|lb| lb.simple == Some(SimpleLb::Passthrough))
}

/// What requests are hashed by, for routes.
pub fn consistent_hash(policy: &TrafficPolicy) -> Option<&ConsistentHashLb> {
    policy.load_balancer.as_ref()?.consistent_hash.as_ref()
}

/// The locality settings in force, if any: the rule's, otherwise the mesh's. They only act on
/// clusters that eject outliers, as failing over needs to know who failed; Istio likewise.
pub fn locality_setting<'a>(
    mesh: Option<&'a LocalityLoadBalancerSetting>,
    policy: &'a TrafficPolicy,
) -> Option<&'a LocalityLoadBalancerSetting> {
    let own = policy
        .load_balancer
        .as_ref()
        .and_then(|lb| lb.locality_lb_setting.as_ref());
    let setting = own.or(mesh)?;
    setting.enabled.unwrap_or(true).then_some(setting)
}

pub fn apply(
    cluster: &mut cluster::Cluster,
    scope: &Scope<'_>,
    policy: &TrafficPolicy,
    discovery: Discovery,
    rule: Option<&Rule>,
    field: &str,
    issues: &mut Issues,
) {
    let mut common = CommonLbConfig {
        // Never send to endpoints known as failing because most are.
        healthy_panic_threshold: pb::percent(0.0),
        ..Default::default()
    };
    let mesh = scope.world.mesh.config.locality_lb_setting.as_ref();
    if let Some(setting) = locality_setting(mesh, policy)
        && (policy.outlier_detection.is_some() || !setting.distribute.is_empty())
    {
        common.locality_config_specifier = Some(
            common_lb_config::LocalityConfigSpecifier::LocalityWeightedLbConfig(Default::default()),
        );
    }
    cluster.common_lb_config = Some(common);
    if discovery == Discovery::OriginalDestination {
        cluster.lb_policy = LbPolicy::ClusterProvided as i32;
        return;
    }
    let settings = policy.load_balancer.as_ref();
    if discovery == Discovery::Dynamic {
        cluster.lb_policy = LbPolicy::ClusterProvided as i32;
        if let (Some(_), Some(rule)) = (settings, rule) {
            issues.add(
                &rule.key,
                format!("{field}.loadBalancer"),
                "has no effect with DYNAMIC_DNS, where requests name their host; remove it",
            );
        }
        return;
    }
    if let (Some(settings), Some(rule)) = (settings, rule) {
        for (set, name, instead) in [
            (
                settings.backend_utilization.is_some(),
                "backendUtilization",
                "LEAST_REQUEST is used",
            ),
            (
                settings.zone_aware_lb_setting.is_some(),
                "zoneAwareLbSetting",
                "localityLbSetting is honoured instead",
            ),
        ] {
            if set {
                issues.add(
                    &rule.key,
                    format!("{field}.loadBalancer.{name}"),
                    format!("not supported; {instead}"),
                );
            }
        }
    }
    if let Some(hash) = consistent_hash(policy) {
        if let Some(maglev) = &hash.maglev {
            cluster.lb_policy = LbPolicy::Maglev as i32;
            cluster.lb_config = Some(LbConfig::MaglevLbConfig(cluster::cluster::MaglevLbConfig {
                table_size: maglev.table_size.and_then(pb::u64v),
            }));
        } else {
            let given = hash
                .ring_hash
                .as_ref()
                .and_then(|ring| ring.minimum_ring_size)
                .or(hash.minimum_ring_size)
                .filter(|size| *size > 0);
            cluster.lb_policy = LbPolicy::RingHash as i32;
            cluster.lb_config = Some(LbConfig::RingHashLbConfig(
                cluster::cluster::RingHashLbConfig {
                    minimum_ring_size: pb::u64v(given.unwrap_or(RING_SIZE)),
                    ..Default::default()
                },
            ));
        }
        return;
    }
    let slow_start = settings.and_then(slow_start);
    let simple = settings
        .and_then(|lb| lb.simple)
        .unwrap_or(SimpleLb::Unspecified);
    match simple {
        SimpleLb::Random => cluster.lb_policy = LbPolicy::Random as i32,
        SimpleLb::RoundRobin => {
            cluster.lb_policy = LbPolicy::RoundRobin as i32;
            if slow_start.is_some() {
                cluster.lb_config = Some(LbConfig::RoundRobinLbConfig(
                    cluster::cluster::RoundRobinLbConfig {
                        slow_start_config: slow_start,
                    },
                ));
            }
        }
        SimpleLb::Unspecified
        | SimpleLb::LeastConn
        | SimpleLb::LeastRequest
        | SimpleLb::Passthrough => {
            cluster.lb_policy = LbPolicy::LeastRequest as i32;
            if slow_start.is_some() {
                cluster.lb_config = Some(LbConfig::LeastRequestLbConfig(
                    cluster::cluster::LeastRequestLbConfig {
                        slow_start_config: slow_start,
                        ..Default::default()
                    },
                ));
            }
        }
    }
}

fn slow_start(
    settings: &meltemi_api::networking::LoadBalancerSettings,
) -> Option<cluster::cluster::SlowStartConfig> {
    let warmup = settings.warmup.as_ref();
    let window = warmup
        .and_then(|warmup| warmup.duration)
        .or(settings.warmup_duration_secs)?;
    Some(cluster::cluster::SlowStartConfig {
        slow_start_window: Some(pb::duration(window.get())),
        aggression: warmup
            .and_then(|warmup| warmup.aggression)
            .map(|aggression| {
                core::RuntimeDouble {
                    default_value: aggression,
                    // Envoy insists on a key; this one names no runtime value.
                    runtime_key: "slow_start.aggression".to_owned(),
                }
            }),
        min_weight_percent: warmup
            .and_then(|warmup| warmup.minimum_percent)
            .and_then(pb::percent),
    })
}
