//! What the Telemetries say for a workload: the root namespace's, its namespace's and its own,
//! the narrower over the wider.

use std::collections::BTreeMap;

use meltemi_api::mesh::{ExtensionProvider, FileAccessLogProvider, MeshConfig};
use meltemi_api::scope::PolicyTargetReference;
use meltemi_api::telemetry::{
    AccessLogging, CustomTag, LogFilter, ProviderRef, Telemetry, TelemetryMode, Tracing,
};
use meltemi_registry::matches;

use super::named::Named;
use crate::issue::Issues;

/// The provider of access logs that Istio defines by itself: lines on standard output.
const BUILT_IN: &str = "envoy";

/// All Telemetries, by the scope they apply to.
#[derive(Debug, Default, PartialEq)]
pub struct Telemetries {
    root_namespace: String,
    /// Without selector, by namespace: the oldest one counts.
    namespaces: BTreeMap<String, Named<Telemetry>>,
    /// With selector or targets, oldest first.
    workloads: Vec<Named<Telemetry>>,
}

/// The side of a connection on which a proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Client,
    Server,
}

/// Tracing of a workload on one side.
#[derive(Debug, Default, PartialEq)]
pub struct TracingRule<'w> {
    /// Of MeshConfig's `extensionProviders`.
    pub provider: Option<&'w str>,
    pub disabled: bool,
    pub sampling: Option<f64>,
    pub custom_tags: Option<&'w BTreeMap<String, CustomTag>>,
    pub by_request_id: bool,
    pub istio_tags: bool,
    pub silent: bool,
}

impl Telemetries {
    /// Indexes objects that come oldest first.
    pub fn new(objects: &[Named<Telemetry>], root_namespace: &str) -> Self {
        let mut index = Self {
            root_namespace: root_namespace.to_owned(),
            ..Self::default()
        };
        for object in objects {
            let spec = &object.spec;
            let selector = spec.selector.as_ref();
            let selects = selector.is_some_and(|selector| !selector.match_labels.is_empty());
            if selects || targets(spec).next().is_some() {
                index.workloads.push(object.clone());
            } else {
                let namespace = object.namespace().to_owned();
                let entry = index.namespaces.entry(namespace);
                entry.or_insert_with(|| object.clone());
            }
        }
        index
    }

    /// Those that apply, the widest first.
    pub(super) fn of(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&Telemetry> {
        let root = self.namespaces.get(&self.root_namespace);
        let own = self.namespaces.get(namespace);
        let own = own.filter(|_| namespace != self.root_namespace);
        let workload = self
            .workloads
            .iter()
            .find(|object| object.namespace() == namespace && is_of(&object.spec, labels));
        let all = [root, own, workload].into_iter().flatten();
        all.map(|object| &*object.spec).collect()
    }

    /// `None` where neither a Telemetry nor a default provider says anything: what
    /// `defaultConfig.tracing` says is in force.
    pub fn tracing<'w>(
        &'w self,
        mesh: &'w MeshConfig,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        mode: Mode,
    ) -> Option<TracingRule<'w>> {
        let entries: Vec<&Tracing> = self
            .of(namespace, labels)
            .into_iter()
            .flat_map(|telemetry| &telemetry.tracing)
            .collect();
        let defaults = mesh.default_providers.as_ref();
        let default = defaults.and_then(|providers| providers.tracing.first());
        if entries.is_empty() && default.is_none() {
            return None;
        }
        let mut rule = TracingRule {
            provider: default.map(String::as_str),
            by_request_id: true,
            istio_tags: true,
            ..TracingRule::default()
        };
        let applies = |entry: &&&Tracing| {
            let selected = entry.r#match.as_ref().map(|selector| selector.mode);
            is_for(selected, mode)
        };
        for entry in entries.iter().filter(applies) {
            if let Some(provider) = entry.providers.first() {
                rule.provider = Some(&provider.name);
            }
            rule.disabled = entry.disable_span_reporting.unwrap_or(rule.disabled);
            rule.sampling = entry.random_sampling_percentage.or(rule.sampling);
            if !entry.custom_tags.is_empty() {
                rule.custom_tags = Some(&entry.custom_tags);
            }
            rule.by_request_id = entry
                .use_request_id_for_trace_sampling
                .unwrap_or(rule.by_request_id);
            rule.istio_tags = entry.enable_istio_tags.unwrap_or(rule.istio_tags);
            rule.silent = entry.disable_context_propagation.unwrap_or(rule.silent);
        }
        Some(rule)
    }

    /// The providers of access logs, each with what it is to log; `None` where nobody names one,
    /// and MeshConfig's `accessLogFile` is in force.
    pub fn access_logs<'w>(
        &'w self,
        mesh: &'w MeshConfig,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        mode: Mode,
    ) -> Option<BTreeMap<&'w str, Option<&'w LogFilter>>> {
        let levels: Vec<&[AccessLogging]> = self
            .of(namespace, labels)
            .into_iter()
            .map(|telemetry| telemetry.access_logging.as_slice())
            .filter(|entries| !entries.is_empty())
            .collect();
        let defaults = mesh.default_providers.as_ref();
        let defaults = defaults.map_or(&[][..], |providers| &providers.access_logging);
        if levels.is_empty() && defaults.is_empty() {
            return None;
        }
        let mut inherited: Vec<&str> = defaults.iter().map(String::as_str).collect();
        let mut logs: BTreeMap<&str, Option<&LogFilter>> =
            inherited.iter().map(|name| (*name, None)).collect();
        for entries in levels {
            let here: Vec<&AccessLogging> = entries
                .iter()
                .filter(|entry| is_for(entry.r#match.as_ref().map(|m| m.mode), mode))
                .collect();
            // A scope that names providers names all of them.
            if here.iter().any(|entry| !entry.providers.is_empty()) {
                logs.clear();
            }
            for entry in here {
                if !entry.providers.is_empty() {
                    inherited = entry.providers.iter().map(name).collect();
                }
                for provider in &inherited {
                    match entry.disabled {
                        Some(true) => logs.remove(provider),
                        _ => logs.insert(provider, entry.filter.as_ref()),
                    };
                }
            }
        }
        Some(logs)
    }

    /// Says what of the Telemetries has no effect for the lack of a provider.
    pub fn report(&self, mesh: &MeshConfig, issues: &mut Issues) {
        for object in self.namespaces.values().chain(&self.workloads) {
            for target in targets(&object.spec).filter(|target| !is_gateway(target)) {
                let message = format!(
                    "{} {:?} is nothing that a Telemetry has an effect on here; name a Gateway of \
                     gateway.networking.k8s.io",
                    target.kind, target.name
                );
                issues.add(&object.key, "spec.targetRefs".to_owned(), message);
            }
            let tracing = object.spec.tracing.iter().map(|entry| &entry.providers);
            let logs = object
                .spec
                .access_logging
                .iter()
                .map(|entry| &entry.providers);
            let lists = tracing.map(|list| ("tracing", list));
            let lists = lists.chain(logs.map(|list| ("accessLogging", list)));
            for (field, list) in lists {
                for provider in list
                    .iter()
                    .filter(|provider| find(mesh, &provider.name).is_none())
                {
                    let message = format!(
                        "MeshConfig has no extension provider {:?}: nothing is sent there",
                        provider.name
                    );
                    issues.add(&object.key, format!("spec.{field}"), message);
                }
            }
        }
    }
}

/// Puts a gateway's name on the workloads that make it (Gateway API).
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

fn targets(spec: &Telemetry) -> impl Iterator<Item = &PolicyTargetReference> {
    spec.target_ref.iter().chain(&spec.target_refs)
}

fn is_gateway(target: &PolicyTargetReference) -> bool {
    target.group == "gateway.networking.k8s.io" && target.kind == "Gateway"
}

/// Whether it is attached to, or selects, a workload of its namespace.
fn is_of(spec: &Telemetry, labels: &BTreeMap<String, String>) -> bool {
    let mut targets = targets(spec).peekable();
    if targets.peek().is_some() {
        let name = labels.get(GATEWAY_NAME);
        return targets.any(|target| is_gateway(target) && Some(&target.name) == name);
    }
    let selector = spec.selector.as_ref();
    selector.is_some_and(|selector| matches(&selector.match_labels, labels))
}

fn name(provider: &ProviderRef) -> &str {
    &provider.name
}

pub(super) fn is_for(selected: Option<TelemetryMode>, mode: Mode) -> bool {
    match selected {
        None | Some(TelemetryMode::ClientAndServer) => true,
        Some(TelemetryMode::Client) => mode == Mode::Client,
        Some(TelemetryMode::Server) => mode == Mode::Server,
    }
}

/// A provider of MeshConfig, or the one that needs no definition.
pub fn find<'w>(
    mesh: &'w MeshConfig,
    name: &str,
) -> Option<std::borrow::Cow<'w, ExtensionProvider>> {
    let mut all = mesh.extension_providers.iter();
    if let Some(provider) = all.find(|provider| provider.name == name) {
        return Some(std::borrow::Cow::Borrowed(provider));
    }
    (name == BUILT_IN).then(|| {
        std::borrow::Cow::Owned(ExtensionProvider {
            name: BUILT_IN.to_owned(),
            envoy_file_access_log: Some(FileAccessLogProvider {
                path: "/dev/stdout".to_owned(),
                ..FileAccessLogProvider::default()
            }),
            ..ExtensionProvider::default()
        })
    })
}
