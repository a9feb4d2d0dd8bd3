//! One moment of the mesh: every object, resolved and indexed, immutable. Translation reads
//! nothing else.

pub mod destination_rule;
pub mod gateway;
pub mod mesh;
pub mod named;
pub mod peer_authentication;
pub mod scope;
pub mod telemetry;
pub mod telemetry_metrics;
pub mod virtual_service;

mod client_labels;
mod share;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meltemi_api::mesh::MeshConfig;
use meltemi_api::networking::{DestinationRule, Gateway, Sidecar, VirtualService};
use meltemi_api::security::PeerAuthentication;
use meltemi_api::telemetry::Telemetry;
use meltemi_api::{Object, ObjectKey, Spec, k8s};
use meltemi_registry::{Range16, Registry, Settings, matches};

use serde_json::Value;

use crate::conversion;
use crate::issue::{Issue, Issues};
use destination_rule::DestinationRules;
use gateway::ResolvedGateway;
use mesh::Mesh;
use named::Named;
use peer_authentication::PeerAuthentications;
use telemetry::Telemetries;
use virtual_service::ResolvedVirtualService;

/// Where cluster and default values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldOptions {
    /// The services' domain.
    pub domain: String,
    pub cluster_id: String,
    /// Overrides MeshConfig's when set.
    pub trust_domain: Option<String>,
    /// Cluster IPs of Services that name none.
    pub service_range: Range16,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            domain: "cluster.local".to_owned(),
            cluster_id: "Kubernetes".to_owned(),
            trust_domain: None,
            service_range: Settings::default().service_range,
        }
    }
}

/// The mesh at one moment.
#[derive(Debug)]
pub struct World {
    /// Counts Worlds; a larger one is newer.
    pub generation: u64,
    /// Since which generation nothing is different but endpoints that are told by EDS.
    pub shape_since: u64,
    /// Since which generation nothing is different but such endpoints, and what VirtualServices
    /// do with the HTTP requests to their hosts.
    pub frame_since: u64,
    /// Since which generation nothing is different but services, VirtualServices and
    /// DestinationRules.
    pub common_since: u64,
    pub domain: String,
    pub cluster_id: String,
    pub mesh: Mesh,
    pub registry: Registry,
    /// Oldest first.
    pub virtual_services: Vec<Arc<ResolvedVirtualService>>,
    pub destination_rules: DestinationRules,
    /// Oldest first.
    pub gateways: Vec<ResolvedGateway>,
    /// Oldest first.
    pub sidecars: Vec<Named<Sidecar>>,
    pub peer_authentications: PeerAuthentications,
    pub telemetries: Telemetries,
    /// By namespace and name.
    pub secrets: BTreeMap<(String, String), Arc<k8s::Secret>>,
    /// `ca.crt` of ConfigMaps, by namespace and name.
    pub ca_certificates: BTreeMap<(String, String), String>,
    /// Keys of the labels by which what a proxy sees of other services may differ.
    pub client_labels: BTreeSet<String>,
    /// `status` of the objects that have one here: the Gateway API's.
    pub statuses: BTreeMap<ObjectKey, Value>,
    /// Findings that do not depend on a proxy.
    pub issues: Vec<Issue>,
}

impl World {
    /// Builds a World from all objects, in whatever order they come.
    pub fn build<'a>(
        objects: impl IntoIterator<Item = &'a Object> + Clone,
        options: &WorldOptions,
        generation: u64,
    ) -> Self {
        Self::resolve(objects, options, generation, &Registry::default())
    }

    /// The World after another one: the same as from nothing, and it shares with the earlier one
    /// what is equal there.
    #[must_use]
    pub fn next<'a>(
        objects: impl IntoIterator<Item = &'a Object> + Clone,
        options: &WorldOptions,
        before: &Self,
    ) -> Self {
        let generation = before.generation + 1;
        Self::resolve(objects, options, generation, &before.registry).share(before)
    }

    fn resolve<'a>(
        objects: impl IntoIterator<Item = &'a Object> + Clone,
        options: &WorldOptions,
        generation: u64,
        before: &Registry,
    ) -> Self {
        let mut virtual_services: Vec<Named<VirtualService>> = Vec::new();
        let mut destination_rules: Vec<Named<DestinationRule>> = Vec::new();
        let mut gateways: Vec<Named<Gateway>> = Vec::new();
        let mut sidecars: Vec<Named<Sidecar>> = Vec::new();
        let mut peer_authentications: Vec<Named<PeerAuthentication>> = Vec::new();
        let mut telemetries: Vec<Named<Telemetry>> = Vec::new();
        let mut mesh_configs: Vec<Named<MeshConfig>> = Vec::new();
        let mut secrets = BTreeMap::new();
        let mut ca_certificates = BTreeMap::new();
        for object in objects.clone() {
            let meta = &object.meta;
            match &object.spec {
                Spec::VirtualService(spec) => {
                    virtual_services.push(Named::new(meta, spec.clone()));
                }
                Spec::DestinationRule(spec) => {
                    destination_rules.push(Named::new(meta, spec.clone()));
                }
                Spec::Gateway(spec) => gateways.push(Named::new(meta, spec.clone())),
                Spec::Sidecar(spec) => sidecars.push(Named::new(meta, spec.clone())),
                Spec::PeerAuthentication(spec) => {
                    peer_authentications.push(Named::new(meta, spec.clone()));
                }
                Spec::Telemetry(spec) => telemetries.push(Named::new(meta, spec.clone())),
                Spec::MeshConfig(spec) => mesh_configs.push(Named::new(meta, spec.clone())),
                Spec::Secret(secret) => {
                    secrets.insert((meta.namespace.clone(), meta.name.clone()), secret.clone());
                }
                Spec::ConfigMap(map) => {
                    if let Some(roots) = map.data.as_ref().and_then(|data| data.get("ca.crt")) {
                        let place = (meta.namespace.clone(), meta.name.clone());
                        ca_certificates.insert(place, roots.clone());
                    }
                }
                _ => {}
            }
        }
        oldest_first(&mut virtual_services);
        oldest_first(&mut destination_rules);
        oldest_first(&mut sidecars);
        oldest_first(&mut peer_authentications);
        oldest_first(&mut telemetries);
        oldest_first(&mut mesh_configs);
        let mut issues = Issues::default();
        for extra in mesh_configs.iter().skip(1) {
            issues.add(
                &extra.key,
                "",
                format!(
                    "only one MeshConfig is in force, {}; remove this one",
                    mesh_configs[0].key
                ),
            );
        }
        let config = mesh_configs
            .first()
            .map(|named| named.spec.clone())
            .unwrap_or_default();
        let mut mesh = Mesh::new(config);
        if let Some(trust_domain) = &options.trust_domain {
            mesh.trust_domain.clone_from(trust_domain);
        }
        if let Some(named) = mesh_configs.first() {
            mesh.report(&named.key, &mut issues);
        }
        let telemetries = Telemetries::new(&telemetries, &mesh.root_namespace);
        telemetries.report(&mesh.config, &mut issues);
        let settings = Settings {
            domain: options.domain.clone(),
            trust_domain: mesh.trust_domain.clone(),
            cluster_id: options.cluster_id.clone(),
            default_export: mesh.config.default_service_export_to.clone(),
            service_range: options.service_range,
        };
        let registry = Registry::next(objects.clone(), &settings, before);
        for problem in registry.problems() {
            issues.add(&problem.object, &problem.field, &problem.message);
        }
        let mut virtual_services = virtual_service::resolve_all(
            &virtual_services,
            &mesh.config.default_virtual_service_export_to,
            &options.domain,
            &mut issues,
        );
        let place = conversion::Place {
            domain: &options.domain,
            mesh: &mesh,
            registry: &registry,
            secrets: &secrets,
            ca_certificates: &ca_certificates,
        };
        let converted = conversion::convert(objects, &place, &mut issues);
        virtual_services.extend(converted.virtual_services);
        virtual_services.sort_by(|a, b| a.age().cmp(&b.age()));
        let mut gateways: Vec<ResolvedGateway> = gateways.iter().map(ResolvedGateway::of).collect();
        gateways.extend(converted.gateways);
        gateways.sort_by(|a, b| a.age().cmp(&b.age()));
        let destination_rules = DestinationRules::new(
            &destination_rules,
            &mesh.config.default_destination_rule_export_to,
            &options.domain,
            &mesh.root_namespace,
        );
        let mut world = Self {
            generation,
            shape_since: generation,
            frame_since: generation,
            common_since: generation,
            domain: options.domain.clone(),
            cluster_id: options.cluster_id.clone(),
            peer_authentications: PeerAuthentications::new(
                &peer_authentications,
                &mesh.root_namespace,
            ),
            telemetries,
            mesh,
            registry,
            virtual_services,
            destination_rules,
            gateways,
            sidecars,
            secrets,
            ca_certificates,
            client_labels: BTreeSet::new(),
            statuses: converted.statuses,
            issues: issues.into_vec(),
        };
        world.client_labels = client_labels::of(&world);
        world
    }

    /// The Sidecar in force for a workload: its namespace's with a matching selector, then its
    /// namespace's without one, then the root namespace's without one.
    pub fn sidecar_for(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Option<&Named<Sidecar>> {
        let selects = |sidecar: &&Named<Sidecar>| {
            sidecar
                .spec
                .workload_selector
                .as_ref()
                .is_some_and(|s| !s.labels.is_empty() && matches(&s.labels, labels))
        };
        let general = |sidecar: &&Named<Sidecar>| {
            sidecar
                .spec
                .workload_selector
                .as_ref()
                .is_none_or(|selector| selector.labels.is_empty())
        };
        let within = |namespace: &str| {
            let namespace = namespace.to_owned();
            self.sidecars
                .iter()
                .filter(move |sidecar| sidecar.namespace() == namespace)
        };
        within(namespace)
            .find(selects)
            .or_else(|| within(namespace).find(general))
            .or_else(|| within(&self.mesh.root_namespace).find(general))
    }
}

fn oldest_first<T>(objects: &mut [Named<T>]) {
    objects.sort_by(|a, b| a.age().cmp(&b.age()));
}
