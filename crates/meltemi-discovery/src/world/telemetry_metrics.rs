//! What Telemetries change of Istio's metrics.

use std::collections::BTreeMap;

use meltemi_api::mesh::MeshConfig;
use meltemi_api::telemetry::{IstioMetric, Metrics, TagOverride};

use super::telemetry::{Mode, Telemetries, find, is_for};

/// The provider of metrics where nothing names one.
const PROMETHEUS: &str = "prometheus";

/// Istio's metrics as its filter calls them, in the order of their names in Telemetries.
const STANDARD: [(IstioMetric, &str); 10] = [
    (IstioMetric::GrpcRequestMessages, "request_messages_total"),
    (IstioMetric::GrpcResponseMessages, "response_messages_total"),
    (IstioMetric::RequestCount, "requests_total"),
    (
        IstioMetric::RequestDuration,
        "request_duration_milliseconds",
    ),
    (IstioMetric::RequestSize, "request_bytes"),
    (IstioMetric::ResponseSize, "response_bytes"),
    (
        IstioMetric::TcpClosedConnections,
        "tcp_connections_closed_total",
    ),
    (
        IstioMetric::TcpOpenedConnections,
        "tcp_connections_opened_total",
    ),
    (IstioMetric::TcpReceivedBytes, "tcp_received_bytes_total"),
    (IstioMetric::TcpSentBytes, "tcp_sent_bytes_total"),
];

/// A change to one metric.
#[derive(Debug, Default, PartialEq)]
pub struct MetricChange<'w> {
    pub disabled: bool,
    pub tags: BTreeMap<&'w str, &'w TagOverride>,
}

impl Telemetries {
    /// Changes to metrics on one side, by their names; `None` where there are to be none.
    pub fn metrics<'w>(
        &'w self,
        mesh: &'w MeshConfig,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        mode: Mode,
    ) -> Option<Vec<(&'static str, MetricChange<'w>)>> {
        let all = self.of(namespace, labels).into_iter();
        let entries: Vec<&Metrics> = all.flat_map(|telemetry| &telemetry.metrics).collect();
        let ours = |name: &str| {
            name.eq_ignore_ascii_case(PROMETHEUS)
                || find(mesh, name).is_some_and(|provider| provider.prometheus.is_some())
        };
        let named = |entry: &Metrics| entry.providers.iter().any(|one| ours(&one.name));
        let defaults = mesh.default_providers.as_ref();
        let defaults = defaults.map_or(&[][..], |providers| &providers.metrics);
        let mut applies = defaults.is_empty() || defaults.iter().any(|name| ours(name));
        // The narrowest scope that names providers names all of them.
        let mut narrowest = entries.iter().rev();
        let decides = narrowest.find(|entry| !entry.providers.is_empty());
        if !decides.map_or(applies, |entry| named(entry)) {
            return None;
        }
        let mut off = false;
        let mut changes = STANDARD.map(|_| MetricChange::default());
        for entry in entries {
            if !entry.providers.is_empty() {
                applies = named(entry);
            }
            for change in entry.overrides.iter().filter(|_| applies) {
                let select = change.r#match.as_ref();
                if !is_for(select.map(|select| select.mode), mode) {
                    continue;
                }
                let metric = select.and_then(|select| select.metric);
                let custom = select.is_some_and(|select| select.custom_metric.is_some());
                off = metric == Some(IstioMetric::All) && change.disabled == Some(true);
                for ((standard, _), changed) in STANDARD.iter().zip(&mut changes) {
                    let one = metric.filter(|metric| *metric != IstioMetric::All);
                    if off || custom || one.is_some_and(|metric| metric != *standard) {
                        continue;
                    }
                    changed.disabled = change.disabled.unwrap_or(changed.disabled);
                    let tags = change.tag_overrides.iter();
                    changed
                        .tags
                        .extend(tags.map(|(tag, to)| (tag.as_str(), to)));
                }
            }
        }
        let names = STANDARD.map(|(_, name)| name);
        (!off).then(|| {
            let all = names.into_iter().zip(changes);
            all.filter(|(_, change)| *change != MetricChange::default())
                .collect()
        })
    }
}
