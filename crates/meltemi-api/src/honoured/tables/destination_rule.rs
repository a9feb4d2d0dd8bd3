//! DestinationRule.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &["apiVersion", "kind", "metadata", "status", "spec"],
    except: &[
        "spec.trafficPolicy.tunnel",
        "spec.trafficPolicy.proxyProtocol",
        "spec.trafficPolicy.retryBudget",
        "spec.trafficPolicy.tls.caCrl",
        "spec.trafficPolicy.loadBalancer.backendUtilization",
        "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
        "spec.trafficPolicy.loadBalancer.warmup",
        "spec.trafficPolicy.loadBalancer.warmupDurationSecs",
        "spec.trafficPolicy.portLevelSettings[].tls.caCrl",
        "spec.trafficPolicy.portLevelSettings[].loadBalancer.backendUtilization",
        "spec.trafficPolicy.portLevelSettings[].loadBalancer.zoneAwareLbSetting",
        "spec.trafficPolicy.portLevelSettings[].loadBalancer.warmup",
        "spec.trafficPolicy.portLevelSettings[].loadBalancer.warmupDurationSecs",
        "spec.subsets[].trafficPolicy.tunnel",
        "spec.subsets[].trafficPolicy.proxyProtocol",
        "spec.subsets[].trafficPolicy.retryBudget",
        "spec.subsets[].trafficPolicy.tls.caCrl",
        "spec.subsets[].trafficPolicy.loadBalancer.backendUtilization",
        "spec.subsets[].trafficPolicy.loadBalancer.zoneAwareLbSetting",
        "spec.subsets[].trafficPolicy.loadBalancer.warmup",
        "spec.subsets[].trafficPolicy.loadBalancer.warmupDurationSecs",
        "spec.subsets[].trafficPolicy.portLevelSettings[].tls.caCrl",
        "spec.subsets[].trafficPolicy.portLevelSettings[].loadBalancer.backendUtilization",
        "spec.subsets[].trafficPolicy.portLevelSettings[].loadBalancer.zoneAwareLbSetting",
        "spec.subsets[].trafficPolicy.portLevelSettings[].loadBalancer.warmup",
        "spec.subsets[].trafficPolicy.portLevelSettings[].loadBalancer.warmupDurationSecs",
    ],
    harmless: &[],
};
