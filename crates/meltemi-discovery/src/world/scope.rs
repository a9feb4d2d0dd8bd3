//! What one proxy sees of the World: services, VirtualServices and policies, by egress listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use meltemi_api::networking::{CaptureMode, OutboundTrafficPolicyMode, Sidecar, SidecarPort};
use meltemi_registry::{Service, matches};

use super::World;
use super::destination_rule::Rule;
use super::mesh::OutboundPolicy;
use super::named::Named;
use super::virtual_service::{MESH, ResolvedVirtualService};
use crate::hosts;
use crate::proxy::{Proxy, ProxyKind};

/// One egress listener of a Sidecar, or the one for everything.
#[derive(Debug)]
pub struct Egress<'w> {
    /// Set where only this port is served.
    pub port: Option<&'w SidecarPort>,
    /// Address or Unix socket to listen on; empty for the services' own.
    pub bind: &'w str,
    pub capture: CaptureMode,
    /// In order of host name.
    pub services: Vec<&'w Arc<Service>>,
    /// The namespace's own routes for services of others (Gateway API), then the others; oldest
    /// first.
    pub virtual_services: Vec<&'w Arc<ResolvedVirtualService>>,
}

/// What a proxy sees.
#[derive(Debug)]
pub struct Scope<'w> {
    pub world: &'w World,
    pub namespace: String,
    labels: BTreeMap<String, String>,
    pub sidecar: Option<&'w Named<Sidecar>>,
    pub egress: Vec<Egress<'w>>,
    /// Of all egress listeners, one a host name, in order of host name.
    pub services: BTreeMap<&'w str, &'w Arc<Service>>,
    pub outbound_policy: OutboundPolicy,
    /// ExternalName services by the mesh service that they are other names of.
    aliases: BTreeMap<&'w str, Vec<&'w Arc<Service>>>,
}

impl<'w> Scope<'w> {
    pub fn new(world: &'w World, proxy: &Proxy) -> Self {
        let sidecar = match proxy.kind {
            ProxyKind::Sidecar => world.sidecar_for(&proxy.namespace, &proxy.labels),
            ProxyKind::Gateway => None,
        };
        let mut scope = Self {
            world,
            namespace: proxy.namespace.clone(),
            labels: proxy.labels.clone(),
            sidecar,
            egress: Vec::new(),
            services: BTreeMap::new(),
            outbound_policy: world.mesh.outbound_policy,
            aliases: BTreeMap::new(),
        };
        if let Some(policy) =
            sidecar.and_then(|sidecar| sidecar.spec.outbound_traffic_policy.as_ref())
        {
            scope.outbound_policy = match policy.mode {
                OutboundTrafficPolicyMode::AllowAny => OutboundPolicy::AllowAny,
                OutboundTrafficPolicyMode::RegistryOnly => OutboundPolicy::RegistryOnly,
            };
        }
        match sidecar {
            Some(sidecar) if !sidecar.spec.egress.is_empty() => {
                for listener in &sidecar.spec.egress {
                    let egress = scope.selected(sidecar, listener);
                    scope.egress.push(egress);
                }
            }
            _ => scope.egress.push(scope.everything()),
        }
        scope.fold_aliases();
        for egress in &scope.egress {
            for service in &egress.services {
                scope.services.entry(&service.hostname).or_insert(service);
            }
        }
        scope
    }

    /// Takes out ExternalName services whose target is a mesh service: they get no clusters and
    /// listeners of their own, but the target answers to their names.
    fn fold_aliases(&mut self) {
        let mut egress = std::mem::take(&mut self.egress);
        for listener in &mut egress {
            listener.services.retain(|service| {
                let Some(target) = &service.external_name else {
                    return true;
                };
                if self.service(target).is_none() {
                    return true;
                }
                let aliases = self.aliases.entry(target).or_default();
                if !aliases.iter().any(|known| Arc::ptr_eq(known, service)) {
                    aliases.push(service);
                }
                false
            });
        }
        self.egress = egress;
    }

    /// The ExternalName services that stand for a service.
    pub fn aliases(&self, hostname: &str) -> &[&'w Arc<Service>] {
        self.aliases.get(hostname).map_or(&[], Vec::as_slice)
    }

    /// Every ExternalName service that stands for a mesh service, with its target's host name.
    pub fn all_aliases(&self) -> impl Iterator<Item = (&'w str, &'w Arc<Service>)> + '_ {
        self.aliases
            .iter()
            .flat_map(|(target, aliases)| aliases.iter().map(|alias| (*target, *alias)))
    }

    /// All visible services and all mesh routes.
    fn everything(&self) -> Egress<'w> {
        Egress {
            port: None,
            bind: "",
            capture: CaptureMode::Default,
            services: self.visible(|_| true),
            virtual_services: self.virtual_services(|_| true),
        }
    }

    fn selected(
        &self,
        sidecar: &'w Named<Sidecar>,
        listener: &'w meltemi_api::networking::IstioEgressListener,
    ) -> Egress<'w> {
        let selectors: Vec<(&str, &str)> = listener
            .hosts
            .iter()
            .filter_map(|host| host.split_once('/'))
            .collect();
        let namespace_matches = |wanted: &str, namespace: &str| match wanted {
            "*" => true,
            "." => namespace == sidecar_namespace(sidecar, &self.namespace),
            "~" => false,
            other => namespace == other,
        };
        let virtual_services = self.virtual_services(|service| {
            selectors.iter().any(|(namespace, name)| {
                namespace_matches(namespace, &service.key.namespace)
                    && service
                        .spec
                        .hosts
                        .iter()
                        .any(|host| hosts::overlap(name, host))
            })
        });
        let mut services = self.visible(|service| {
            selectors.iter().any(|(namespace, name)| {
                namespace_matches(namespace, &service.namespace)
                    && hosts::covers(name, &service.hostname)
            })
        });
        // Where routes lead is imported with them, as Istio does.
        for destination in virtual_services.iter().flat_map(|s| s.destinations()) {
            if !services.iter().any(|s| &*s.hostname == destination)
                && let Some(service) = self.world.registry.resolve(destination, &self.namespace)
                && self.sees(service)
            {
                services.push(service);
            }
        }
        services.sort_by(|a, b| a.hostname.cmp(&b.hostname));
        Egress {
            port: listener.port.as_ref(),
            bind: &listener.bind,
            capture: listener.capture_mode,
            services,
            virtual_services,
        }
    }

    /// One service a host name: the client's namespace's, otherwise the oldest visible one.
    fn visible(&self, wanted: impl Fn(&Service) -> bool) -> Vec<&'w Arc<Service>> {
        let mut found: Vec<&'w Arc<Service>> = Vec::new();
        let mut services = self.world.registry.services().iter().peekable();
        while let Some(first) = services.next() {
            let mut best = (self.sees(first) && wanted(first)).then_some(first);
            while let Some(next) = services.next_if(|next| next.hostname == first.hostname) {
                if !self.sees(next) || !wanted(next) {
                    continue;
                }
                let better = match best {
                    None => true,
                    Some(current) => {
                        let key = |s: &Service| (s.namespace != self.namespace, s.created.clone());
                        key(next) < key(current)
                    }
                };
                if better {
                    best = Some(next);
                }
            }
            found.extend(best);
        }
        found
    }

    fn sees(&self, service: &Service) -> bool {
        service.namespace == self.namespace || service.visibility.includes(&self.namespace)
    }

    fn virtual_services(
        &self,
        wanted: impl Fn(&ResolvedVirtualService) -> bool,
    ) -> Vec<&'w Arc<ResolvedVirtualService>> {
        let mut found: Vec<&'w Arc<ResolvedVirtualService>> = self
            .world
            .virtual_services
            .iter()
            .filter(|service| {
                service.gateways.contains(MESH)
                    && service.visibility.includes(&self.namespace)
                    && wanted(service)
            })
            .collect();
        found.sort_by_key(|service| !service.is_consumers());
        found
    }

    /// The service that routes of this proxy mean by a host.
    pub fn service(&self, host: &str) -> Option<&'w Arc<Service>> {
        self.services.get(host).copied().or_else(|| {
            let service = self.world.registry.resolve(host, &self.namespace)?;
            self.sees(service).then_some(service)
        })
    }

    /// The DestinationRule in force for calls of a service.
    pub fn rule(&self, service: &Service) -> Option<&'w Arc<Rule>> {
        self.world
            .destination_rules
            .find(&self.namespace, &self.labels, service)
    }

    /// Whether the proxy carries the labels of a route's `sourceLabels` and is in its
    /// `sourceNamespace`.
    pub fn is_source(&self, labels: &BTreeMap<String, String>, namespace: &str) -> bool {
        matches(labels, &self.labels) && (namespace.is_empty() || namespace == self.namespace)
    }
}

/// `.` in the root namespace's Sidecar means the workload's namespace.
fn sidecar_namespace<'a>(sidecar: &'a Named<Sidecar>, workload: &'a str) -> &'a str {
    if sidecar.namespace() == workload {
        sidecar.namespace()
    } else {
        workload
    }
}
