//! One object: what Kubernetes' metadata says of it, and its typed content.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::extensions::{TrafficExtension, WasmPlugin};
use crate::mesh::{MeshConfig, MeshNetworks};
use crate::networking::{
    DestinationRule, EnvoyFilter, Gateway, ProxyConfig, ServiceEntry, Sidecar, VirtualService,
    WorkloadEntry, WorkloadGroup,
};
use crate::security::{AuthorizationPolicy, PeerAuthentication, RequestAuthentication};
use crate::telemetry::Telemetry;
use crate::{Kind, gateway_api, k8s};

/// What identifies an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for a kind without.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    /// `VirtualService default/reviews`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Where an object was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// File.
    pub file: Arc<Path>,
    /// Line of the document's first field, from 1.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What is said of an object apart from its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Kind.
    pub kind: Kind,
    /// As written, for example `networking.istio.io/v1alpha3`.
    pub api_version: String,
    /// Name.
    pub name: String,
    /// Namespace; empty for a kind without.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Decides between conflicting objects (the oldest wins).
    pub creation_timestamp: Option<k8s::openapi::jiff::Timestamp>,
    /// Changes with the content: the store sets it to a hash of the content.
    pub resource_version: u64,
    /// Where it was written; none for an object that came over the API.
    pub origin: Option<Origin>,
}

/// Content. The Kubernetes kinds carry their metadata too.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are the kinds' own names")]
pub enum Spec {
    VirtualService(Arc<VirtualService>),
    DestinationRule(Arc<DestinationRule>),
    Gateway(Arc<Gateway>),
    ServiceEntry(Arc<ServiceEntry>),
    WorkloadEntry(Arc<WorkloadEntry>),
    WorkloadGroup(Arc<WorkloadGroup>),
    Sidecar(Arc<Sidecar>),
    EnvoyFilter(Arc<EnvoyFilter>),
    ProxyConfig(Arc<ProxyConfig>),
    PeerAuthentication(Arc<PeerAuthentication>),
    RequestAuthentication(Arc<RequestAuthentication>),
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    Telemetry(Arc<Telemetry>),
    WasmPlugin(Arc<WasmPlugin>),
    TrafficExtension(Arc<TrafficExtension>),
    MeshConfig(Arc<MeshConfig>),
    MeshNetworks(Arc<MeshNetworks>),
    Service(Arc<k8s::Service>),
    Endpoints(Arc<k8s::Endpoints>),
    EndpointSlice(Arc<k8s::EndpointSlice>),
    Pod(Arc<k8s::Pod>),
    Deployment(Arc<k8s::Deployment>),
    StatefulSet(Arc<k8s::StatefulSet>),
    ServiceAccount(Arc<k8s::ServiceAccount>),
    Namespace(Arc<k8s::Namespace>),
    ConfigMap(Arc<k8s::ConfigMap>),
    Secret(Arc<k8s::Secret>),
    Ingress(Arc<k8s::Ingress>),
    IngressClass(Arc<k8s::IngressClass>),
    GatewayClass(Arc<gateway_api::GatewayClass>),
    KubernetesGateway(Arc<gateway_api::Gateway>),
    HttpRoute(Arc<gateway_api::HttpRoute>),
    GrpcRoute(Arc<gateway_api::GrpcRoute>),
    TlsRoute(Arc<gateway_api::TlsRoute>),
    TcpRoute(Arc<gateway_api::TcpRoute>),
    ReferenceGrant(Arc<gateway_api::ReferenceGrant>),
    /// A kind that is recognised only; `meta.kind` says which.
    Unsupported(Arc<Value>),
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// What is said of it.
    pub meta: Meta,
    /// Its content.
    pub spec: Spec,
}

impl Meta {
    /// What identifies the object.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kind, &self.namespace, &self.name)
    }
}

impl Object {
    /// What identifies it.
    pub fn key(&self) -> ObjectKey {
        self.meta.key()
    }

    /// Back to the document, in Kubernetes' form; fields that have their default are left out.
    pub fn to_value(&self) -> Value {
        match &self.spec {
            Spec::VirtualService(spec) => self.custom(spec),
            Spec::DestinationRule(spec) => self.custom(spec),
            Spec::Gateway(spec) => self.custom(spec),
            Spec::ServiceEntry(spec) => self.custom(spec),
            Spec::WorkloadEntry(spec) => self.custom(spec),
            Spec::WorkloadGroup(spec) => self.custom(spec),
            Spec::Sidecar(spec) => self.custom(spec),
            Spec::EnvoyFilter(spec) => self.custom(spec),
            Spec::ProxyConfig(spec) => self.custom(spec),
            Spec::PeerAuthentication(spec) => self.custom(spec),
            Spec::RequestAuthentication(spec) => self.custom(spec),
            Spec::AuthorizationPolicy(spec) => self.custom(spec),
            Spec::Telemetry(spec) => self.custom(spec),
            Spec::WasmPlugin(spec) => self.custom(spec),
            Spec::TrafficExtension(spec) => self.custom(spec),
            Spec::MeshConfig(spec) => self.custom(spec),
            Spec::MeshNetworks(spec) => self.custom(spec),
            Spec::Service(object) => self.native(object),
            Spec::Endpoints(object) => self.native(object),
            Spec::EndpointSlice(object) => self.native(object),
            Spec::Pod(object) => self.native(object),
            Spec::Deployment(object) => self.native(object),
            Spec::StatefulSet(object) => self.native(object),
            Spec::ServiceAccount(object) => self.native(object),
            Spec::Namespace(object) => self.native(object),
            Spec::ConfigMap(object) => self.native(object),
            Spec::Secret(object) => self.native(object),
            Spec::Ingress(object) => self.native(object),
            Spec::IngressClass(object) => self.native(object),
            Spec::GatewayClass(spec) => self.custom(spec),
            Spec::KubernetesGateway(spec) => self.custom(spec),
            Spec::HttpRoute(spec) => self.custom(spec),
            Spec::GrpcRoute(spec) => self.custom(spec),
            Spec::TlsRoute(spec) => self.custom(spec),
            Spec::TcpRoute(spec) => self.custom(spec),
            Spec::ReferenceGrant(spec) => self.custom(spec),
            Spec::Unsupported(value) => Value::clone(value),
        }
    }

    fn custom<T: Serialize>(&self, spec: &Arc<T>) -> Value {
        json!({
            "apiVersion": self.meta.api_version,
            "kind": self.meta.kind.as_str(),
            "metadata": self.metadata(),
            "spec": to_json(spec.as_ref()),
        })
    }

    fn native<T: Serialize>(&self, object: &Arc<T>) -> Value {
        let mut value = to_json(object.as_ref());
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
            && !self.meta.namespace.is_empty()
        {
            metadata.insert("namespace".into(), self.meta.namespace.clone().into());
        }
        value
    }

    fn metadata(&self) -> Map<String, Value> {
        let meta = &self.meta;
        let mut map = Map::new();
        map.insert("name".into(), meta.name.clone().into());
        if !meta.namespace.is_empty() {
            map.insert("namespace".into(), meta.namespace.clone().into());
        }
        if !meta.labels.is_empty() {
            map.insert("labels".into(), json!(meta.labels));
        }
        if !meta.annotations.is_empty() {
            map.insert("annotations".into(), json!(meta.annotations));
        }
        if let Some(at) = meta.creation_timestamp {
            map.insert("creationTimestamp".into(), at.to_string().into());
        }
        map
    }
}

fn to_json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("keys of all our maps are text or numbers")
}
