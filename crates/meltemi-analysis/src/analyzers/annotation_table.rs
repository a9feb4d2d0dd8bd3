//! The annotations that Istio knows: on which kinds they have an effect, how stable they are,
//! and what their values must be (Istio's API, `annotation/annotations.yaml`).

use std::net::IpAddr;

use meltemi_api::is_bool;

/// On which kinds an annotation has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Any,
    Kinds(&'static [&'static str]),
}

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Text,
    Bool,
    /// Whole number of 32 bits, 0 or more.
    Number,
    /// 0 to 65535.
    Port,
    /// Comma-separated; `*` where `star`.
    Ports {
        star: bool,
    },
    /// Comma-separated address ranges; `*` where `star`.
    Ranges {
        star: bool,
    },
    OneOf(&'static [&'static str]),
}

/// An annotation.
#[derive(Debug)]
pub struct Known {
    pub name: &'static str,
    pub on: On,
    pub value: Value,
    pub alpha: bool,
    pub deprecated: bool,
}

const POD: On = On::Kinds(&["Pod"]);
const SERVICE: On = On::Kinds(&["Service"]);
const GATEWAY: On = On::Kinds(&["Gateway"]);
const ENTRY: On = On::Kinds(&["WorkloadEntry"]);

const fn alpha(name: &'static str, on: On, value: Value) -> Known {
    Known {
        name,
        on,
        value,
        alpha: true,
        deprecated: false,
    }
}

const fn stable(name: &'static str, on: On, value: Value) -> Known {
    Known {
        alpha: false,
        ..alpha(name, on, value)
    }
}

const fn deprecated(known: Known) -> Known {
    Known {
        deprecated: true,
        ..known
    }
}

use Value::{Bool, Number, OneOf, Port, Ports, Ranges, Text};

/// All of them, by name.
pub static KNOWN: &[Known] = &[
    deprecated(alpha(
        "alpha.istio.io/canonical-serviceaccounts",
        SERVICE,
        Text,
    )),
    deprecated(alpha("alpha.istio.io/identity", POD, Text)),
    deprecated(alpha(
        "alpha.istio.io/kubernetes-serviceaccounts",
        SERVICE,
        Text,
    )),
    alpha("ambient.istio.io/bypass-inbound-capture", POD, Text),
    alpha("ambient.istio.io/dns-capture", POD, Text),
    alpha("ambient.istio.io/redirection", POD, Text),
    alpha("ambient.istio.io/waypoint-inbound-binding", GATEWAY, Text),
    stable("galley.istio.io/analyze-suppress", On::Any, Text),
    alpha("gateway.istio.io/controller-version", On::Any, Text),
    alpha("gateway.istio.io/name-override", GATEWAY, Text),
    alpha("gateway.istio.io/service-account", GATEWAY, Text),
    alpha("inject.istio.io/templates", POD, Text),
    alpha("install.operator.istio.io/chart-owner", On::Any, Text),
    alpha("install.operator.istio.io/owner-generation", On::Any, Text),
    alpha("install.operator.istio.io/version", On::Any, Text),
    alpha("istio.io/autoRegistrationGroup", ENTRY, Text),
    alpha("istio.io/connectedAt", ENTRY, Text),
    alpha("istio.io/disconnectedAt", ENTRY, Text),
    alpha(
        "istio.io/dry-run",
        On::Kinds(&["AuthorizationPolicy"]),
        Bool,
    ),
    alpha("istio.io/ignore-policy-attachment", On::Any, Text),
    alpha("istio.io/reroute-virtual-interfaces", POD, Text),
    stable("istio.io/rev", POD, Text),
    alpha("istio.io/workloadController", ENTRY, Text),
    stable("kubernetes.io/ingress.class", On::Kinds(&["Ingress"]), Text),
    alpha("networking.istio.io/address-type", GATEWAY, Text),
    alpha("networking.istio.io/exportTo", SERVICE, Text),
    alpha("networking.istio.io/service-type", GATEWAY, Text),
    alpha(
        "networking.istio.io/traffic-distribution",
        On::Kinds(&["Service", "ServiceEntry", "Namespace"]),
        Text,
    ),
    alpha("prometheus.istio.io/merge-metrics", POD, Bool),
    stable("proxy.istio.io/config", POD, Text),
    alpha("proxy.istio.io/overrides", POD, Text),
    alpha(
        "readiness.status.sidecar.istio.io/applicationPorts",
        POD,
        Text,
    ),
    alpha(
        "readiness.status.sidecar.istio.io/failureThreshold",
        POD,
        Number,
    ),
    alpha(
        "readiness.status.sidecar.istio.io/initialDelaySeconds",
        POD,
        Number,
    ),
    alpha(
        "readiness.status.sidecar.istio.io/periodSeconds",
        POD,
        Number,
    ),
    alpha("security.istio.io/autoMTLS", POD, Text),
    alpha("sidecar.istio.io/agentLogLevel", POD, Text),
    alpha("sidecar.istio.io/bootstrapOverride", POD, Text),
    alpha("sidecar.istio.io/componentLogLevel", POD, Text),
    deprecated(alpha("sidecar.istio.io/controlPlaneAuthPolicy", POD, Text)),
    deprecated(alpha("sidecar.istio.io/discoveryAddress", POD, Text)),
    deprecated(alpha("sidecar.istio.io/enableCoreDump", POD, Text)),
    alpha("sidecar.istio.io/extraStatTags", POD, Text),
    deprecated(stable("sidecar.istio.io/inject", POD, Text)),
    alpha(
        "sidecar.istio.io/interceptionMode",
        POD,
        OneOf(&["REDIRECT", "TPROXY", "NONE"]),
    ),
    alpha("sidecar.istio.io/logLevel", POD, Text),
    alpha("sidecar.istio.io/nativeSidecar", POD, Text),
    alpha("sidecar.istio.io/proxyCPU", POD, Text),
    alpha("sidecar.istio.io/proxyCPULimit", POD, Text),
    alpha("sidecar.istio.io/proxyImage", POD, Text),
    stable("sidecar.istio.io/proxyImageType", POD, Text),
    alpha("sidecar.istio.io/proxyMemory", POD, Text),
    alpha("sidecar.istio.io/proxyMemoryLimit", POD, Text),
    alpha("sidecar.istio.io/rewriteAppHTTPProbers", POD, Text),
    alpha("sidecar.istio.io/statsCompression", POD, Bool),
    alpha("sidecar.istio.io/statsEvictionInterval", POD, Text),
    alpha("sidecar.istio.io/statsHistogramBuckets", POD, Text),
    deprecated(alpha("sidecar.istio.io/statsInclusionPrefixes", POD, Text)),
    deprecated(alpha("sidecar.istio.io/statsInclusionRegexps", POD, Text)),
    deprecated(alpha("sidecar.istio.io/statsInclusionSuffixes", POD, Text)),
    alpha("sidecar.istio.io/status", POD, Text),
    alpha("sidecar.istio.io/userVolume", POD, Text),
    alpha("sidecar.istio.io/userVolumeMount", POD, Text),
    alpha("status.sidecar.istio.io/port", POD, Port),
    alpha(
        "topology.istio.io/controlPlaneClusters",
        On::Kinds(&["Namespace"]),
        Text,
    ),
    alpha("traffic.istio.io/nodeSelector", SERVICE, Text),
    alpha(
        "traffic.sidecar.istio.io/excludeInboundPorts",
        POD,
        Ports { star: false },
    ),
    alpha("traffic.sidecar.istio.io/excludeInterfaces", POD, Text),
    alpha(
        "traffic.sidecar.istio.io/excludeOutboundIPRanges",
        POD,
        Ranges { star: false },
    ),
    alpha(
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        POD,
        Ports { star: false },
    ),
    alpha(
        "traffic.sidecar.istio.io/includeInboundPorts",
        POD,
        Ports { star: true },
    ),
    alpha(
        "traffic.sidecar.istio.io/includeOutboundIPRanges",
        POD,
        Ranges { star: true },
    ),
    alpha(
        "traffic.sidecar.istio.io/includeOutboundPorts",
        POD,
        Ports { star: true },
    ),
    deprecated(alpha(
        "traffic.sidecar.istio.io/kubevirtInterfaces",
        POD,
        Text,
    )),
];

/// An annotation by name.
pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// Whether an annotation is of a domain of Istio's; the class of an Ingress counts too.
pub fn is_istios(name: &str) -> bool {
    name == "kubernetes.io/ingress.class"
        || name
            .split_once('/')
            .is_some_and(|(domain, _)| domain == "istio.io" || domain.ends_with(".istio.io"))
}

impl Value {
    /// What is wrong with a text as this value.
    pub fn wrong(self, text: &str) -> Option<String> {
        let each = |list: &str, right: fn(&str) -> bool| {
            list.split(',')
                .map(str::trim)
                .find(|one| !one.is_empty() && !right(one))
                .map(str::to_owned)
        };
        match self {
            Self::Text => None,
            Self::Bool => (!is_bool(text)).then(|| format!("{text:?} is neither true nor false")),
            Self::Number => text
                .parse::<u32>()
                .err()
                .map(|_| format!("{text:?} is no whole number, 0 or more")),
            Self::Port => (!is_port(text)).then(|| format!("{text:?} is no port")),
            Self::Ports { star: true } | Self::Ranges { star: true } if text == "*" => None,
            Self::Ports { .. } => each(text, is_port).map(|one| format!("{one:?} is no port")),
            Self::Ranges { .. } => {
                each(text, is_range).map(|one| format!("{one:?} is no address range"))
            }
            Self::OneOf(values) => (!values.contains(&text))
                .then(|| format!("{text:?} is none of {}", values.join(", "))),
        }
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// `ADDRESS/LENGTH`.
fn is_range(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        let longest = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= longest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_istios() {
        assert!(KNOWN.is_sorted_by_key(|known| known.name));
        assert!(KNOWN.iter().all(|known| is_istios(known.name)));
        assert!(!is_istios("example.com/notistio.io") && !is_istios("notistio.io/x"));
    }

    #[test]
    fn values_are_checked() {
        assert!(Number.wrong("bar").is_some() && Number.wrong("10").is_none());
        assert!(
            Ports { star: true }.wrong("*").is_none() && Ports { star: false }.wrong("*").is_some()
        );
        assert!(Ports { star: false }.wrong("80, 8080").is_none());
        assert!(Ranges { star: false }.wrong("10.0.0.0/8,::/0").is_none());
        assert!(Ranges { star: false }.wrong("10.0.0.0/40").is_some());
    }
}
