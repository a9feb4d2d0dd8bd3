//! Every kind Meltemi knows by name: group, versions, plural, short names, scope.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a kind is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Read and honoured.
    Honoured,
    /// Recognised and reported; leaving it out does not weaken security.
    NotYet,
    /// Recognised and an error: nothing enforces it, which nobody may overlook.
    RefusedPolicy,
}

/// A kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the variants are the kinds' own names")]
pub enum Kind {
    VirtualService,
    DestinationRule,
    Gateway,
    ServiceEntry,
    WorkloadEntry,
    WorkloadGroup,
    Sidecar,
    EnvoyFilter,
    ProxyConfig,
    PeerAuthentication,
    RequestAuthentication,
    AuthorizationPolicy,
    Telemetry,
    WasmPlugin,
    TrafficExtension,
    MeshConfig,
    MeshNetworks,
    Service,
    Endpoints,
    EndpointSlice,
    Pod,
    Deployment,
    StatefulSet,
    ServiceAccount,
    Namespace,
    ConfigMap,
    Secret,
    Ingress,
    IngressClass,
    GatewayClass,
    KubernetesGateway,
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TcpRoute,
    UdpRoute,
    ReferenceGrant,
    ListenerSet,
    BackendTlsPolicy,
}

struct Info {
    name: &'static str,
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    support: Support,
}

const fn info(
    name: &'static str,
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
    short: &'static [&'static str],
) -> Info {
    Info {
        name,
        group,
        versions,
        plural,
        short,
        namespaced: true,
        support: Support::Honoured,
    }
}

const fn not_yet(info: Info) -> Info {
    Info {
        support: Support::NotYet,
        ..info
    }
}

const fn refused(info: Info) -> Info {
    Info {
        support: Support::RefusedPolicy,
        ..info
    }
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];
const V1: &[&str] = &["v1"];
const K8S_NETWORKING: &str = "networking.k8s.io";
const GATEWAY_API: &str = crate::gateway_api::GROUP;
const V1_BETA: &[&str] = &["v1", "v1beta1"];
const V1_ALPHA: &[&str] = &["v1", "v1alpha2"];

impl Kind {
    /// All kinds, in the order in which they are listed to users.
    pub const ALL: [Self; 39] = [
        Self::VirtualService,
        Self::DestinationRule,
        Self::Gateway,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::WorkloadGroup,
        Self::Sidecar,
        Self::EnvoyFilter,
        Self::ProxyConfig,
        Self::PeerAuthentication,
        Self::RequestAuthentication,
        Self::AuthorizationPolicy,
        Self::Telemetry,
        Self::WasmPlugin,
        Self::TrafficExtension,
        Self::MeshConfig,
        Self::MeshNetworks,
        Self::Service,
        Self::Endpoints,
        Self::EndpointSlice,
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::ServiceAccount,
        Self::Namespace,
        Self::ConfigMap,
        Self::Secret,
        Self::Ingress,
        Self::IngressClass,
        Self::GatewayClass,
        Self::KubernetesGateway,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TlsRoute,
        Self::TcpRoute,
        Self::UdpRoute,
        Self::ReferenceGrant,
        Self::ListenerSet,
        Self::BackendTlsPolicy,
    ];

    const fn info(self) -> Info {
        const N: &[&str] = NETWORKING_VERSIONS;
        match self {
            Self::VirtualService => {
                info("VirtualService", NETWORKING, N, "virtualservices", &["vs"])
            }
            Self::DestinationRule => info(
                "DestinationRule",
                NETWORKING,
                N,
                "destinationrules",
                &["dr"],
            ),
            Self::Gateway => info("Gateway", NETWORKING, N, "gateways", &["gw"]),
            Self::ServiceEntry => info("ServiceEntry", NETWORKING, N, "serviceentries", &["se"]),
            Self::WorkloadEntry => info("WorkloadEntry", NETWORKING, N, "workloadentries", &["we"]),
            Self::WorkloadGroup => info("WorkloadGroup", NETWORKING, N, "workloadgroups", &["wg"]),
            Self::Sidecar => info("Sidecar", NETWORKING, N, "sidecars", &["sc"]),
            Self::EnvoyFilter => not_yet(info(
                "EnvoyFilter",
                NETWORKING,
                &["v1alpha3"],
                "envoyfilters",
                &["ef"],
            )),
            Self::ProxyConfig => not_yet(info(
                "ProxyConfig",
                NETWORKING,
                &["v1beta1"],
                "proxyconfigs",
                &["pc"],
            )),
            Self::PeerAuthentication => info(
                "PeerAuthentication",
                SECURITY,
                SECURITY_VERSIONS,
                "peerauthentications",
                &["pa"],
            ),
            Self::RequestAuthentication => refused(info(
                "RequestAuthentication",
                SECURITY,
                SECURITY_VERSIONS,
                "requestauthentications",
                &["ra"],
            )),
            Self::AuthorizationPolicy => refused(info(
                "AuthorizationPolicy",
                SECURITY,
                SECURITY_VERSIONS,
                "authorizationpolicies",
                &["ap"],
            )),
            Self::Telemetry => info(
                "Telemetry",
                "telemetry.istio.io",
                &["v1", "v1alpha1"],
                "telemetries",
                &["telemetry"],
            ),
            Self::WasmPlugin => not_yet(info(
                "WasmPlugin",
                "extensions.istio.io",
                &["v1alpha1"],
                "wasmplugins",
                &[],
            )),
            Self::TrafficExtension => not_yet(info(
                "TrafficExtension",
                "extensions.istio.io",
                &["v1alpha1"],
                "trafficextensions",
                &[],
            )),
            Self::MeshConfig => info(
                "MeshConfig",
                "mesh.istio.io",
                &["v1alpha1"],
                "meshconfigs",
                &["mc"],
            ),
            Self::MeshNetworks => not_yet(info(
                "MeshNetworks",
                "mesh.istio.io",
                &["v1alpha1"],
                "meshnetworks",
                &["mn"],
            )),
            Self::Service => info("Service", "", V1, "services", &["svc"]),
            Self::Endpoints => info("Endpoints", "", V1, "endpoints", &["ep"]),
            Self::EndpointSlice => info(
                "EndpointSlice",
                "discovery.k8s.io",
                V1,
                "endpointslices",
                &["eps"],
            ),
            Self::Pod => info("Pod", "", V1, "pods", &["po"]),
            Self::Deployment => info("Deployment", "apps", V1, "deployments", &["deploy"]),
            Self::StatefulSet => info("StatefulSet", "apps", V1, "statefulsets", &["sts"]),
            Self::ServiceAccount => info("ServiceAccount", "", V1, "serviceaccounts", &["sa"]),
            Self::Namespace => Info {
                namespaced: false,
                ..info("Namespace", "", V1, "namespaces", &["ns"])
            },
            Self::ConfigMap => info("ConfigMap", "", V1, "configmaps", &["cm"]),
            Self::Secret => info("Secret", "", V1, "secrets", &[]),
            Self::Ingress => info("Ingress", K8S_NETWORKING, V1, "ingresses", &["ing"]),
            Self::IngressClass => Info {
                namespaced: false,
                ..info("IngressClass", K8S_NETWORKING, V1, "ingressclasses", &[])
            },
            Self::GatewayClass => Info {
                namespaced: false,
                ..info(
                    "GatewayClass",
                    GATEWAY_API,
                    V1_BETA,
                    "gatewayclasses",
                    &["gc"],
                )
            },
            Self::KubernetesGateway => info("Gateway", GATEWAY_API, V1_BETA, "gateways", &["gtw"]),
            Self::HttpRoute => info("HTTPRoute", GATEWAY_API, V1_BETA, "httproutes", &[]),
            Self::GrpcRoute => info("GRPCRoute", GATEWAY_API, V1_ALPHA, "grpcroutes", &[]),
            Self::TlsRoute => info(
                "TLSRoute",
                GATEWAY_API,
                &["v1", "v1alpha3", "v1alpha2"],
                "tlsroutes",
                &[],
            ),
            Self::TcpRoute => info("TCPRoute", GATEWAY_API, V1_ALPHA, "tcproutes", &[]),
            Self::UdpRoute => not_yet(info("UDPRoute", GATEWAY_API, V1_ALPHA, "udproutes", &[])),
            Self::ReferenceGrant => info(
                "ReferenceGrant",
                GATEWAY_API,
                &["v1", "v1beta1", "v1alpha2"],
                "referencegrants",
                &["refgrant"],
            ),
            Self::ListenerSet => not_yet(info(
                "ListenerSet",
                GATEWAY_API,
                V1,
                "listenersets",
                &["lset"],
            )),
            Self::BackendTlsPolicy => refused(info(
                "BackendTLSPolicy",
                GATEWAY_API,
                &["v1", "v1alpha3"],
                "backendtlspolicies",
                &["btlspolicy"],
            )),
        }
    }

    /// `VirtualService`.
    pub const fn as_str(self) -> &'static str {
        self.info().name
    }

    /// API group; empty for Kubernetes' core group.
    pub const fn group(self) -> &'static str {
        self.info().group
    }

    /// Accepted versions, the preferred one first; they share one schema.
    pub const fn versions(self) -> &'static [&'static str] {
        self.info().versions
    }

    /// `virtualservices`.
    pub const fn plural(self) -> &'static str {
        self.info().plural
    }

    /// `vs`.
    pub const fn short_names(self) -> &'static [&'static str] {
        self.info().short
    }

    /// Whether its objects live in a namespace.
    pub const fn namespaced(self) -> bool {
        self.info().namespaced
    }

    /// How far it is supported.
    pub const fn support(self) -> Support {
        self.info().support
    }

    /// Whether it is one of Kubernetes' own kinds, of which unknown fields are warnings.
    pub const fn is_kubernetes(self) -> bool {
        matches!(
            self,
            Self::Service
                | Self::Endpoints
                | Self::EndpointSlice
                | Self::Pod
                | Self::Deployment
                | Self::StatefulSet
                | Self::ServiceAccount
                | Self::Namespace
                | Self::ConfigMap
                | Self::Secret
                | Self::Ingress
                | Self::IngressClass
        )
    }

    /// `networking.istio.io/v1`.
    pub fn api_version(self) -> String {
        let info = self.info();
        let version = info.versions.first().copied().unwrap_or_default();
        if info.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", info.group)
        }
    }

    /// The kind of a document, by its `apiVersion` and `kind`. The same kind name in another
    /// group (Gateway API's `Gateway`, Knative's `Service`) is another kind.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self::ALL.into_iter().find(|k| {
            let info = k.info();
            info.name == kind && info.group == group && info.versions.contains(&version)
        })
    }

    /// The name under which the command line and the API mean this kind and no other: the
    /// plural, with the group where another kind has the same plural.
    pub fn resource(self) -> String {
        if Self::from_user(self.plural()) == Some(self) {
            self.plural().to_owned()
        } else {
            format!("{}.{}", self.plural(), self.group())
        }
    }

    /// The kind a user means on the command line: name, plural, short name or
    /// `plural.group`, in any case. Istio's Gateway has precedence over Kubernetes'.
    pub fn from_user(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        Self::ALL.into_iter().find(|k| {
            let info = k.info();
            info.name.to_ascii_lowercase() == text
                || info.plural == text
                || info.short.contains(&text.as_str())
                || text
                    .split_once('.')
                    .is_some_and(|(plural, group)| plural == info.plural && group == info.group)
        })
    }
}

impl fmt::Display for Kind {
    /// `VirtualService`; Kubernetes' Gateway is called that, beside Istio's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::KubernetesGateway {
            f.write_str("Kubernetes ")?;
        }
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_unambiguous() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&kind.api_version(), kind.as_str()), Some(kind));
            assert_eq!(Kind::from_user(&kind.resource()), Some(kind));
            let same_name = Kind::from_user(kind.as_str());
            assert_eq!(same_name, Kind::from_user(kind.plural()));
            assert_eq!(same_name.map(Kind::as_str), Some(kind.as_str()));
            for short in kind.short_names() {
                assert_eq!(Kind::from_user(short), Some(kind), "{short}");
            }
        }
        let of_kubernetes = Kind::of("gateway.networking.k8s.io/v1", "Gateway");
        assert_eq!(of_kubernetes, Some(Kind::KubernetesGateway));
        assert_eq!(Kind::from_user("gateways"), Some(Kind::Gateway));
        assert_eq!(
            Kind::KubernetesGateway.resource(),
            "gateways.gateway.networking.k8s.io"
        );
        assert_eq!(Kind::of("serving.knative.dev/v1", "Service"), None);
    }
}
