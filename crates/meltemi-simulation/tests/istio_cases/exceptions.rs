//! Where another outcome is right, by the beginning of the check's name, and why.

const DYNAMIC_DNS: &str = "the proxy does not resolve names of requests; ALLOW_ANY is in force \
    instead, and the MeshConfig is reported for it";

pub const ALL: &[(&str, &str)] = &[
    (
        "TestGatewayConflicts/duplicate_tls_gateway: call call",
        "Istio serves a configuration that Envoy refuses here; the first Gateway is served, and \
         the second reported",
    ),
    (
        "TestGatewayExternalSDSProviderSimulation/default: assert filterChainTls",
        "keys would cross the network unprotected; the server is not opened, and reported",
    ),
    (
        "TestPassthroughTraffic/ALLOW_ANY_DYNAMIC_DNS/with_VIP: call http-plaintext-",
        DYNAMIC_DNS,
    ),
    (
        "TestPassthroughTraffic/ALLOW_ANY_DYNAMIC_DNS/without_VIP: call http-plaintext-",
        DYNAMIC_DNS,
    ),
];
