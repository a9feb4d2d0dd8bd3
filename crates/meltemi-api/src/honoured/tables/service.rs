//! Service, Endpoints, EndpointSlice.

use super::super::Table;

pub(super) const SERVICE: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "status",
        "spec.clusterIP",
        "spec.clusterIPs",
        "spec.externalName",
        "spec.ports[].appProtocol",
        "spec.ports[].name",
        "spec.ports[].port",
        "spec.ports[].protocol",
        "spec.ports[].targetPort",
        "spec.publishNotReadyAddresses",
        "spec.selector",
        "spec.type",
    ],
    except: &[
        "spec.externalIPs",
        "spec.sessionAffinity",
        "spec.sessionAffinityConfig",
        "spec.trafficDistribution",
    ],
    harmless: &[
        "spec.allocateLoadBalancerNodePorts",
        "spec.externalTrafficPolicy",
        "spec.healthCheckNodePort",
        "spec.internalTrafficPolicy",
        "spec.ipFamilies",
        "spec.ipFamilyPolicy",
        "spec.loadBalancerClass",
        "spec.loadBalancerIP",
        "spec.loadBalancerSourceRanges",
        "spec.ports[].nodePort",
    ],
};

pub(super) const ENDPOINTS: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "subsets[].addresses[].ip",
        "subsets[].addresses[].targetRef",
        "subsets[].notReadyAddresses[].ip",
        "subsets[].notReadyAddresses[].targetRef",
        "subsets[].ports",
    ],
    except: &[],
    harmless: &[
        "subsets[].addresses[].hostname",
        "subsets[].addresses[].nodeName",
        "subsets[].notReadyAddresses[].hostname",
        "subsets[].notReadyAddresses[].nodeName",
    ],
};

pub(super) const ENDPOINT_SLICE: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "addressType",
        "endpoints",
        "ports",
    ],
    except: &["endpoints[].hints"],
    harmless: &["endpoints[].nodeName", "endpoints[].deprecatedTopology"],
};
