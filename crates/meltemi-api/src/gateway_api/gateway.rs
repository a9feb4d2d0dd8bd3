//! GatewayClass and Gateway: which ports are open, and for whose routes.

use std::collections::BTreeMap;

use super::{
    DefaultGateways, LocalObjectReference, NamespaceSelector, ObjectReference,
    SecretObjectReference,
};
use crate::proto::{enumeration, message};

message! {
    /// Which controller looks after the Gateways of a class (Gateway API: `GatewayClass`).
    pub struct GatewayClass {
        /// `istio.io/gateway-controller` for ours.
        pub controller_name: String,
        /// For readers.
        pub description: String,
        /// Settings of the controller.
        pub parameters_ref: Option<ObjectReference>,
    }

    /// Ports that are open to clients outside the mesh (Gateway API: `Gateway`).
    pub struct Gateway {
        /// Name of a GatewayClass.
        pub gateway_class_name: String,
        /// What it listens on.
        pub listeners: Vec<Listener>,
        /// Where it is to be reached; a `Hostname` names the Service of the gateway workload.
        pub addresses: Vec<GatewayAddress>,
        /// What is to be deployed for it.
        pub infrastructure: Option<GatewayInfrastructure>,
        /// Namespaces whose ListenerSets may add listeners.
        pub allowed_listeners: Option<AllowedListeners>,
        /// TLS settings for all listeners.
        pub tls: Option<GatewayTls>,
        /// Whether routes that ask for default Gateways are attached.
        pub default_scope: DefaultGateways,
    }

    /// A port with a protocol and a host name (Gateway API: `Listener`).
    pub struct Listener {
        /// Unique within the Gateway; routes refer to it as `sectionName`.
        pub name: String,
        /// Host name, `*.` wildcard allowed; every host when empty.
        pub hostname: String,
        /// 1 to 65535.
        pub port: u32,
        /// HTTP, HTTPS, TLS, TCP, UDP.
        pub protocol: String,
        /// TLS; for HTTPS and TLS only.
        pub tls: Option<ListenerTls>,
        /// Which routes may be attached; those of the own namespace when absent.
        pub allowed_routes: Option<AllowedRoutes>,
    }

    /// TLS of a listener (Gateway API: `ListenerTLSConfig`).
    pub struct ListenerTls {
        /// Whether TLS ends at the gateway.
        pub mode: TlsMode,
        /// Secrets with key and certificate.
        pub certificate_refs: Vec<SecretObjectReference>,
        /// Implementations' own settings; Istio's: `gateway.istio.io/tls-terminate-mode`.
        pub options: BTreeMap<String, String>,
    }

    /// Which routes may be attached to a listener (Gateway API: `AllowedRoutes`).
    pub struct AllowedRoutes {
        /// By the namespaces they are in.
        pub namespaces: Option<RouteNamespaces>,
        /// By kind; those that the protocol can serve when empty.
        pub kinds: Vec<RouteGroupKind>,
    }

    /// Namespaces of routes (Gateway API: `RouteNamespaces`).
    pub struct RouteNamespaces {
        /// How they are chosen.
        pub from: FromNamespaces,
        /// For `Selector`: by their labels.
        pub selector: Option<NamespaceSelector>,
    }

    /// A kind of route (Gateway API: `RouteGroupKind`).
    pub struct RouteGroupKind {
        /// API group; the Gateway API's when absent.
        pub group: Option<String>,
        /// For example `HTTPRoute`.
        pub kind: String,
    }

    /// Where a Gateway is to be reached (Gateway API: `GatewaySpecAddress`).
    pub struct GatewayAddress {
        /// `IPAddress` when empty, `Hostname`, `NamedAddress`, or an implementation's own.
        #[serde(rename = "type")]
        pub kind: String,
        /// The address; any when empty.
        pub value: String,
    }

    /// What is deployed for a Gateway (Gateway API: `GatewayInfrastructure`).
    pub struct GatewayInfrastructure {
        /// Labels of what is deployed.
        pub labels: BTreeMap<String, String>,
        /// Annotations of what is deployed.
        pub annotations: BTreeMap<String, String>,
        /// Further settings.
        pub parameters_ref: Option<LocalObjectReference>,
    }

    /// Whose ListenerSets may add listeners (Gateway API: `AllowedListeners`).
    pub struct AllowedListeners {
        /// By the namespaces they are in.
        pub namespaces: Option<ListenerNamespaces>,
    }

    /// Namespaces of ListenerSets (Gateway API: `ListenerNamespaces`).
    pub struct ListenerNamespaces {
        /// How they are chosen.
        pub from: FromListenerNamespaces,
        /// For `Selector`: by their labels.
        pub selector: Option<NamespaceSelector>,
    }

    /// TLS of a Gateway as a whole (Gateway API: `GatewayTLSConfig`).
    pub struct GatewayTls {
        /// Towards backends.
        pub backend: Option<GatewayBackendTls>,
        /// Towards clients.
        pub frontend: Option<FrontendTls>,
    }

    /// TLS towards backends (Gateway API: `GatewayBackendTLS`).
    pub struct GatewayBackendTls {
        /// Secret with the gateway's own certificate.
        pub client_certificate_ref: Option<SecretObjectReference>,
    }

    /// TLS towards clients (Gateway API: `FrontendTLSConfig`).
    pub struct FrontendTls {
        /// For all HTTPS listeners.
        pub default: Option<FrontendTlsSettings>,
        /// For the HTTPS listeners of a port, in place of the default.
        pub per_port: Vec<FrontendTlsPort>,
    }

    /// Settings for one port (Gateway API: `TLSPortConfig`).
    pub struct FrontendTlsPort {
        /// 1 to 65535.
        pub port: u32,
        /// The settings.
        pub tls: Option<FrontendTlsSettings>,
    }

    /// How clients' certificates are verified (Gateway API: `TLSConfig`).
    pub struct FrontendTlsSettings {
        /// No certificate is asked for when absent.
        pub validation: Option<FrontendValidation>,
    }

    /// Verification of clients' certificates (Gateway API: `FrontendTLSValidation`).
    pub struct FrontendValidation {
        /// ConfigMaps or Secrets with the CA certificates (`ca.crt`).
        pub ca_certificate_refs: Vec<ObjectReference>,
        /// What happens to clients without a valid certificate.
        pub mode: FrontendValidationMode,
    }
}

enumeration! {
    /// Whether TLS ends at the gateway.
    pub enum TlsMode {
        /// It does.
        Terminate = "Terminate",
        /// It is routed by its server name.
        Passthrough = "Passthrough",
    }

    /// Namespaces whose routes may be attached.
    pub enum FromNamespaces {
        /// The Gateway's own.
        Same = "Same",
        /// Every one.
        All = "All",
        /// Those with the selector's labels.
        Selector = "Selector",
    }

    /// Namespaces whose ListenerSets may be attached.
    pub enum FromListenerNamespaces {
        /// None.
        None = "None",
        /// The Gateway's own.
        Same = "Same",
        /// Every one.
        All = "All",
        /// Those with the selector's labels.
        Selector = "Selector",
    }

    /// What happens to clients without a valid certificate.
    pub enum FrontendValidationMode {
        /// They are refused.
        AllowValidOnly = "AllowValidOnly",
        /// They are served all the same.
        AllowInsecureFallback = "AllowInsecureFallback",
    }
}
