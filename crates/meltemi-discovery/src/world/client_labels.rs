//! Which labels of a proxy decide what it sees of others.

use std::collections::BTreeSet;

use meltemi_api::networking::{LocalityLoadBalancerSetting, TrafficPolicy};

use super::World;

/// Keys of the labels by which what a proxy sees of other services may differ.
pub(super) fn of(world: &World) -> BTreeSet<String> {
    let sidecars = world
        .sidecars
        .iter()
        .filter_map(|sidecar| sidecar.spec.workload_selector.as_ref())
        .flat_map(|selector| selector.labels.keys());
    let routes = world.virtual_services.iter().flat_map(|service| {
        let spec = &service.spec;
        let http = spec.http.iter().flat_map(|route| &route.matches);
        let tcp = spec.tcp.iter().flat_map(|route| &route.matches);
        let tls = spec.tls.iter().flat_map(|route| &route.matches);
        http.map(|matching| &matching.source_labels)
            .chain(tcp.map(|matching| &matching.source_labels))
            .chain(tls.map(|matching| &matching.source_labels))
            .flat_map(|labels| labels.keys())
    });
    let mut keys: BTreeSet<String> = sidecars.chain(routes).cloned().collect();
    for rule in world.destination_rules.iter() {
        keys.extend(rule.selector.keys().cloned());
        let subsets = rule.subsets.iter();
        let policies = subsets.filter_map(|subset| subset.traffic_policy.as_ref());
        for policy in policies.chain(&rule.traffic_policy) {
            of_policy(policy, &mut keys);
        }
    }
    let config = &world.mesh.config;
    if let Some(policy) = &config.default_traffic_policy {
        of_policy(policy, &mut keys);
    }
    keys.extend(config.locality_lb_setting.iter().flat_map(failover));
    keys
}

fn of_policy(policy: &TrafficPolicy, keys: &mut BTreeSet<String>) {
    let ports = policy.port_level_settings.iter();
    let settings = ports.map(|port| &port.load_balancer);
    let settings = settings.chain([&policy.load_balancer]).flatten();
    let localities = settings.filter_map(|settings| settings.locality_lb_setting.as_ref());
    keys.extend(localities.flat_map(failover));
}

/// `failoverPriority` compares labels, given as `KEY` or `KEY=VALUE`.
fn failover(setting: &LocalityLoadBalancerSetting) -> impl Iterator<Item = String> + '_ {
    let entries = setting.failover_priority.iter();
    entries.map(|entry| entry.split('=').next().unwrap_or_default().to_owned())
}
