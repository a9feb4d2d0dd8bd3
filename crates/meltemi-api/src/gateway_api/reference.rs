//! References from one object to others.

use std::collections::BTreeMap;

use crate::proto::{enumeration, message};

message! {
    /// What a route is attached to (Gateway API: `ParentReference`).
    pub struct ParentReference {
        /// API group; the Gateway API's when absent, empty for Kubernetes' core.
        pub group: Option<String>,
        /// `Gateway` when absent; `Service` and `ServiceEntry` for calls within the mesh.
        pub kind: Option<String>,
        /// Namespace; the route's own when empty.
        pub namespace: String,
        /// Name.
        pub name: String,
        /// A listener's name; all listeners when empty.
        pub section_name: String,
        /// A listener's or a Service's port; all when absent.
        pub port: Option<u32>,
    }

    /// An object that traffic goes to (Gateway API: `BackendObjectReference`).
    pub struct BackendObjectReference {
        /// API group; Kubernetes' core when absent.
        pub group: Option<String>,
        /// `Service` when absent; `Hostname` of networking.istio.io for a host name.
        pub kind: Option<String>,
        /// Name.
        pub name: String,
        /// Namespace; the route's own when empty.
        pub namespace: String,
        /// Port of the Service; required for one.
        pub port: Option<u32>,
    }

    /// A backend of connections with its share (Gateway API: `BackendRef`).
    pub struct BackendRef {
        /// API group; Kubernetes' core when absent.
        pub group: Option<String>,
        /// `Service` when absent; `Hostname` of networking.istio.io for a host name.
        pub kind: Option<String>,
        /// Name.
        pub name: String,
        /// Namespace; the route's own when empty.
        pub namespace: String,
        /// Port of the Service; required for one.
        pub port: Option<u32>,
        /// Share relative to the sum of the weights; 1 when absent.
        pub weight: Option<u32>,
    }

    /// A Secret, or another holder of certificates (Gateway API: `SecretObjectReference`).
    pub struct SecretObjectReference {
        /// API group; Kubernetes' core when absent.
        pub group: Option<String>,
        /// `Secret` when absent.
        pub kind: Option<String>,
        /// Name.
        pub name: String,
        /// Namespace; the Gateway's own when empty.
        pub namespace: String,
    }

    /// An object by group, kind and namespace (Gateway API: `ObjectReference`).
    pub struct ObjectReference {
        /// API group; empty for Kubernetes' core.
        pub group: String,
        /// Kind.
        pub kind: String,
        /// Name.
        pub name: String,
        /// Namespace; the referring object's own when empty.
        pub namespace: String,
    }

    /// An object of the same namespace (Gateway API: `LocalObjectReference`).
    pub struct LocalObjectReference {
        /// API group; empty for Kubernetes' core.
        pub group: String,
        /// Kind.
        pub kind: String,
        /// Name.
        pub name: String,
    }

    /// Objects by labels (Kubernetes: `LabelSelector`).
    pub struct NamespaceSelector {
        /// All of them must be there.
        pub match_labels: BTreeMap<String, String>,
        /// All of them must hold.
        pub match_expressions: Vec<LabelRequirement>,
    }

    /// A condition on one label (Kubernetes: `LabelSelectorRequirement`).
    pub struct LabelRequirement {
        /// The label's name.
        pub key: String,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        pub operator: String,
        /// For `In` and `NotIn`.
        pub values: Vec<String>,
    }

    /// What may refer to objects of this namespace (Gateway API: `ReferenceGrant`).
    pub struct ReferenceGrant {
        /// Who may refer.
        pub from: Vec<ReferenceGrantFrom>,
        /// To what.
        pub to: Vec<ReferenceGrantTo>,
    }

    /// Objects that may refer (Gateway API: `ReferenceGrantFrom`).
    pub struct ReferenceGrantFrom {
        /// API group; empty for Kubernetes' core.
        pub group: String,
        /// Kind.
        pub kind: String,
        /// Namespace.
        pub namespace: String,
    }

    /// Objects that may be referred to (Gateway API: `ReferenceGrantTo`).
    pub struct ReferenceGrantTo {
        /// API group; empty for Kubernetes' core.
        pub group: String,
        /// Kind.
        pub kind: String,
        /// Name; all of the kind when empty.
        pub name: String,
    }
}

enumeration! {
    /// Whether a route is attached to the default Gateways too.
    pub enum DefaultGateways {
        /// It is not.
        None = "None",
        /// It is.
        All = "All",
    }
}
