//! Istio's metrics (`istio_requests_total` and its family), as Telemetries change them.

use meltemi_api::telemetry::TagOperation;
use serde_json::{Value, json};

use super::filters::Side;
use crate::pb::Any;
use crate::pb::istio::typed_struct;
use crate::proxy::{Flavor, Proxy};
use crate::world::scope::Scope;
use crate::world::telemetry_metrics::MetricChange;

/// The configuration of the filter; `None` where there are to be no metrics, and for Envoy's own
/// build, which does not know the filter.
pub fn of(scope: &Scope<'_>, proxy: &Proxy, side: Side) -> Option<Any> {
    if proxy.flavor != Flavor::Meltemi {
        return None;
    }
    let mesh = &scope.world.mesh.config;
    let telemetries = &scope.world.telemetries;
    let changes = telemetries.metrics(mesh, &proxy.namespace, &proxy.labels, side.mode())?;
    let mut config = match side {
        Side::Outbound => json!({}),
        // The host header of a request from outside is not to name a metric.
        Side::Inbound | Side::Gateway => json!({"disable_host_header_fallback": true}),
    };
    let metrics: Vec<Value> = changes
        .iter()
        .map(|(name, change)| metric(name, change))
        .collect();
    if !metrics.is_empty() {
        config["metrics"] = metrics.into();
    }
    Some(typed_struct(
        "type.googleapis.com/stats.PluginConfig",
        &config,
    ))
}

/// As Istio's `MetricConfig`.
fn metric(name: &str, change: &MetricChange<'_>) -> Value {
    let mut config = json!({ "name": name });
    if change.disabled {
        config["drop"] = true.into();
        return config;
    }
    for (tag, to) in &change.tags {
        match to.operation {
            TagOperation::Upsert => {
                config["dimensions"][*tag] = to.value.clone().unwrap_or_default().into();
            }
            TagOperation::Remove => {
                let list = &mut config["tags_to_remove"];
                if list.is_null() {
                    *list = json!([]);
                }
                list.as_array_mut()
                    .into_iter()
                    .for_each(|list| list.push((*tag).into()));
            }
        }
    }
    config
}
