//! Services that are referred to by name.

use std::sync::Arc;

use meltemi_registry::{Provider, Service};

use super::Place;

impl<'a> Place<'a> {
    /// A Kubernetes Service.
    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&'a Arc<Service>> {
        let services = self.registry.by_host(&self.host(name, namespace));
        services.iter().find(|service| {
            service.provider == Provider::Kubernetes && service.namespace == namespace
        })
    }

    /// Whatever a host name means in a namespace.
    pub(super) fn by_hostname(&self, host: &str, namespace: &str) -> Option<&'a Arc<Service>> {
        let service = self.registry.resolve(host, namespace)?;
        (service.namespace == namespace || service.visibility.includes(namespace))
            .then_some(service)
    }
}
