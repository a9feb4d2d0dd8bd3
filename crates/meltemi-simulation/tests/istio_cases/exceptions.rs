//! Where another outcome is right, by the beginning of the check's name, and why.

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
];
