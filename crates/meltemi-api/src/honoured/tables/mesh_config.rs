//! MeshConfig.

use super::super::Table;

pub(super) const TABLE: Table = Table {
    honoured: &[
        "apiVersion",
        "kind",
        "metadata",
        "status",
        "spec.accessLogEncoding",
        "spec.accessLogFile",
        "spec.accessLogFormat",
        "spec.connectTimeout",
        "spec.defaultConfig.gatewayTopology.numTrustedProxies",
        "spec.defaultConfig.meshId",
        "spec.defaultDestinationRuleExportTo",
        "spec.defaultHttpRetryPolicy",
        "spec.defaultTrafficPolicy",
        "spec.defaultVirtualServiceExportTo",
        "spec.disableEnvoyListenerLog",
        "spec.dnsRefreshRate",
        "spec.enableAutoMtls",
        "spec.h2UpgradePolicy",
        "spec.localityLbSetting",
        "spec.outboundTrafficPolicy.mode",
        "spec.pathNormalization",
        "spec.protocolDetectionTimeout",
        "spec.rootNamespace",
        "spec.tcpKeepalive",
        "spec.trustDomain",
        "spec.trustDomainAliases",
    ],
    except: &[],
    harmless: &[
        "spec.defaultConfig.binaryPath",
        "spec.defaultConfig.configPath",
        "spec.defaultConfig.discoveryAddress",
        "spec.defaultConfig.image",
        "spec.ingressControllerMode",
        "spec.ingressSelector",
        "spec.ingressService",
    ],
};
