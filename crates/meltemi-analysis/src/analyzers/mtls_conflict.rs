//! DestinationRules that take mTLS away from clients of workloads that accept nothing else.

use meltemi_api::FieldPath;
use meltemi_api::networking::{ClientTlsMode, ClientTlsSettings, DestinationRule};
use meltemi_api::security::{MutualTlsMode, PeerAuthentication};

use crate::code::MTLS_POLICY_CONFLICT;
use crate::hosts::{Hosts, Service, covers, fqdn};
use crate::injection::in_mesh;
use crate::report::at;
use crate::selector::{Labels, selects};
use crate::workload::Workload;
use crate::{Analyzer, Index, Report, Resource};

pub struct MtlsConflict;

impl Analyzer for MtlsConflict {
    fn name(&self) -> &'static str {
        "destinationrule.MTLSAnalyzer"
    }

    fn about(&self) -> &'static str {
        "Checks that DestinationRules do not turn off mTLS towards workloads that demand it"
    }

    fn analyze(&self, index: &Index, report: &mut Report) {
        let hosts = Hosts::of(index);
        let workloads = in_mesh(index);
        for (resource, rule) in index.of::<DestinationRule>() {
            let pattern = fqdn(&rule.host, resource.namespace());
            for (field, tls, port, labels) in settings(rule) {
                if tls.mode == ClientTlsMode::IstioMutual {
                    continue;
                }
                let strict = hosts
                    .iter()
                    .filter(|service| covers(&pattern, &service.host))
                    .find_map(|service| strict(index, service, port, &labels, &workloads));
                if let Some((workload, policy)) = strict {
                    report.add(
                        &MTLS_POLICY_CONFLICT,
                        resource,
                        field,
                        format!(
                            "{} accepts mTLS only (PeerAuthentication {}), and with {} clients do not use it: connections are reset",
                            workload.resource.name,
                            policy.full_name(),
                            tls.mode
                        ),
                        "use ISTIO_MUTUAL or leave tls out, or make the PeerAuthentication PERMISSIVE",
                    );
                }
            }
        }
    }
}

type Setting<'a> = (FieldPath, &'a ClientTlsSettings, Option<u32>, Labels);

/// Every tls of a rule: where, for which port of the service, for endpoints with which labels.
fn settings(rule: &DestinationRule) -> Vec<Setting<'_>> {
    let mut all = Vec::new();
    let policies = rule
        .traffic_policy
        .iter()
        .map(|policy| (at!(spec.trafficPolicy), policy, Labels::new()));
    let of_subsets = rule
        .subsets
        .iter()
        .enumerate()
        .filter_map(|(position, subset)| {
            let policy = subset.traffic_policy.as_ref()?;
            Some((
                at!(spec.subsets[position].trafficPolicy),
                policy,
                subset.labels.clone(),
            ))
        });
    for (path, policy, labels) in policies.chain(of_subsets) {
        if let Some(tls) = &policy.tls {
            all.push((path.field("tls").field("mode"), tls, None, labels.clone()));
        }
        for (position, settings) in policy.port_level_settings.iter().enumerate() {
            if let Some(tls) = &settings.tls {
                let path = path.field("portLevelSettings").index(position);
                let port = settings.port.as_ref().map(|port| port.number);
                all.push((path.field("tls").field("mode"), tls, port, labels.clone()));
            }
        }
    }
    all
}

/// A workload of the service that demands mTLS, and the policy that says so.
fn strict<'a>(
    index: &'a Index,
    service: &Service<'_>,
    port: Option<u32>,
    labels: &Labels,
    workloads: &'a [Workload<'a>],
) -> Option<(&'a Workload<'a>, &'a Resource)> {
    let selector = service.selector.as_ref()?;
    if port.is_some_and(|port| !service.ports.iter().any(|p| p.number == port)) {
        return None;
    }
    workloads
        .iter()
        .filter(|workload| workload.namespace() == service.resource.namespace())
        .filter(|workload| selects(selector, &workload.labels) && selects(labels, &workload.labels))
        .find_map(|workload| Some((workload, demand(index, workload)?)))
}

/// The policy that makes a workload accept mTLS only: its own, its namespace's or the mesh's,
/// the nearest that says anything. A policy with exceptions for single ports is passed over.
fn demand<'a>(index: &'a Index, workload: &Workload<'_>) -> Option<&'a Resource> {
    let root = index.root_namespace();
    let rank = |resource: &Resource, policy: &PeerAuthentication| {
        let selector = policy
            .selector
            .as_ref()
            .map(|selector| &selector.match_labels);
        let own = resource.namespace() == workload.namespace();
        match selector.filter(|labels| !labels.is_empty()) {
            Some(labels) => (own && selects(labels, &workload.labels)).then_some(0),
            None if own => Some(1),
            None => (resource.namespace() == root).then_some(2),
        }
    };
    let mut policies: Vec<_> = index
        .of::<PeerAuthentication>()
        .filter_map(|(resource, policy)| Some((rank(resource, policy)?, resource, policy)))
        .collect();
    policies.sort_by_key(|(rank, resource, _)| (*rank, &resource.name));
    let (_, resource, policy) = policies.into_iter().find(|(_, _, policy)| {
        let mode = policy.mtls.as_ref().map(|mtls| mtls.mode);
        !policy.port_level_mtls.is_empty() || mode.is_some_and(|mode| mode != MutualTlsMode::Unset)
    })?;
    let strict = policy
        .mtls
        .as_ref()
        .is_some_and(|mtls| mtls.mode == MutualTlsMode::Strict);
    (strict && policy.port_level_mtls.is_empty()).then_some(resource)
}
