//! The Kubernetes kinds, as k8s-openapi has them.

/// All of k8s-openapi, for the types that are not listed here.
pub use k8s_openapi as openapi;
pub use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, StatefulSet, StatefulSetSpec};
pub use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, Endpoints, EnvVar, Namespace, Pod, PodCondition, PodSpec,
    PodStatus, PodTemplateSpec, Probe, Secret, Service, ServiceAccount, ServicePort, ServiceSpec,
};
pub use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
pub use k8s_openapi::api::networking::v1::{Ingress, IngressBackend, IngressClass, IngressRule};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
