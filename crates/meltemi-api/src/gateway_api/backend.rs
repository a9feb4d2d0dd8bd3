//! What all references to backends have in common.

use super::{BackendObjectReference, BackendRef, GrpcBackendRef, HttpBackendRef};

/// A reference to a backend with its defaults filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend<'a> {
    /// API group; empty for Kubernetes' core.
    pub group: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Namespace; the route's own when empty.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Port.
    pub port: Option<u32>,
    /// Share relative to the sum of the weights.
    pub weight: u32,
}

impl Backend<'_> {
    /// Whether it is a Kubernetes Service.
    pub fn is_service(&self) -> bool {
        self.group.is_empty() && self.kind == "Service"
    }
}

macro_rules! backend {
    ($($ty:ty, $weight:expr;)*) => { $(
        impl<'a> From<&'a $ty> for Backend<'a> {
            fn from(backend: &'a $ty) -> Self {
                let weight: fn(&$ty) -> Option<u32> = $weight;
                Self {
                    group: backend.group.as_deref().unwrap_or(""),
                    kind: backend.kind.as_deref().unwrap_or("Service"),
                    namespace: &backend.namespace,
                    name: &backend.name,
                    port: backend.port,
                    weight: weight(backend).unwrap_or(1),
                }
            }
        }
    )* };
}

backend! {
    BackendRef, |backend| backend.weight;
    HttpBackendRef, |backend| backend.weight;
    GrpcBackendRef, |backend| backend.weight;
    BackendObjectReference, |_| None;
}
