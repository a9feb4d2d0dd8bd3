//! Envoy's `OverloadManager`, each field honoured, reported or refused.

use super::monitor::{Monitor, Processors};
use super::trigger::Trigger;
use super::{Action, Effect, Overload};
use crate::compile::any::{Typed, open};
use crate::compile::basic::duration;
use crate::compile::{At, Cx, Error, Result, left_out, refuse};
use envoy_types::pb::envoy::config::overload::v3 as proto;
use envoy_types::pb::envoy::extensions::resource_monitors as monitors;
use monitors::cpu_utilization::v3::cpu_utilization_config::UtilizationComputeStrategy;
use prost::Name;
use std::path::Path;
use std::time::Duration;

/// Envoy's `refresh_interval`.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looks are no closer together than this, as in Envoy.
const MIN_INTERVAL: Duration = Duration::from_millis(1);

const ACTIONS: &[(&str, Effect)] = &[
    (
        "envoy.overload_actions.stop_accepting_requests",
        Effect::StopRequests,
    ),
    (
        "envoy.overload_actions.disable_http_keepalive",
        Effect::DisableKeepalive,
    ),
    (
        "envoy.overload_actions.stop_accepting_connections",
        Effect::StopConnections,
    ),
    (
        "envoy.overload_actions.reject_incoming_connections",
        Effect::RejectConnections,
    ),
    ("envoy.overload_actions.shrink_heap", Effect::ShrinkHeap),
];

/// Of Envoy, and not taken; and what is said of them.
const OTHER_ACTIONS: &[(&str, &str)] = &[
    (
        "envoy.overload_actions.reduce_timeouts",
        "reduce_timeouts is not taken: timeouts stay as they are",
    ),
    (
        "envoy.overload_actions.reset_high_memory_stream",
        "reset_high_memory_stream is not taken: buffers of single streams are bounded",
    ),
];

const POINTS: &[(&str, Effect)] = &[
    (
        "envoy.load_shed_points.tcp_listener_accept",
        Effect::RejectConnections,
    ),
    (
        "envoy.load_shed_points.http_connection_manager_decode_headers",
        Effect::StopRequests,
    ),
];

/// Compiles the bootstrap's `overload_manager`.
///
/// # Errors
/// When a monitor, an action or a trigger is unknown or wrong; the error names it.
pub fn overload(value: proto::OverloadManager, cx: &mut Cx<'_>) -> Result<Overload> {
    let proto::OverloadManager {
        refresh_interval,
        resource_monitors,
        actions,
        loadshed_points,
        buffer_factory_config,
    } = value;
    left_out!(
        cx,
        "OverloadManager",
        "buffers of single streams are bounded, not accounted",
        buffer_factory_config
    );
    let mut compiled = Overload {
        interval: refresh_interval
            .map(duration)
            .transpose()
            .at("refresh_interval")?
            .unwrap_or(INTERVAL)
            .max(MIN_INTERVAL),
        monitors: Vec::new(),
        actions: Vec::new(),
        max_connections: None,
    };
    for (index, value) in resource_monitors.into_iter().enumerate() {
        monitor(value, &mut compiled).nth("resource_monitors", index)?;
    }
    for (index, value) in actions.into_iter().enumerate() {
        let proto::OverloadAction {
            name,
            triggers,
            typed_config,
        } = value;
        let effect = action_effect(&name, cx).nth("actions", index)?;
        if effect.is_some() {
            refuse!(typed_config);
        }
        let triggers = compile_triggers(triggers, &compiled).nth("actions", index)?;
        if let Some(effect) = effect {
            compiled.actions.push(Action {
                name: name.into(),
                effect,
                triggers,
            });
        }
    }
    for (index, value) in loadshed_points.into_iter().enumerate() {
        let proto::LoadShedPoint { name, triggers } = value;
        let triggers = compile_triggers(triggers, &compiled).nth("loadshed_points", index)?;
        match POINTS.iter().find(|(known, _)| *known == name) {
            Some((_, effect)) => compiled.actions.push(Action {
                name: name.into(),
                effect: *effect,
                triggers,
            }),
            None => cx.notice(
                "OverloadManager.loadshed_points",
                "load is shed at tcp_listener_accept and http_connection_manager_decode_headers only",
            ),
        }
    }
    Ok(compiled)
}

fn action_effect(name: &str, cx: &mut Cx<'_>) -> Result<Option<Effect>> {
    if let Some((_, effect)) = ACTIONS.iter().find(|(known, _)| *known == name) {
        return Ok(Some(*effect));
    }
    if let Some((_, reason)) = OTHER_ACTIONS.iter().find(|(known, _)| *known == name) {
        cx.notice("OverloadManager.actions", *reason);
        return Ok(None);
    }
    Err(Error::new(format!("`{name}` is no action that is known")).at_field("name"))
}

fn monitor(value: proto::ResourceMonitor, compiled: &mut Overload) -> Result<()> {
    use proto::resource_monitor::ConfigType;
    let proto::ResourceMonitor { name, config_type } = value;
    let any = config_type.map(|ConfigType::TypedConfig(any)| any);
    let typed = open(any).at("typed_config")?;
    if compiled.monitors.iter().any(|(known, _)| **known == *name) {
        return Err(Error::new(format!("`{name}` is there twice")).at_field("name"));
    }
    if let Some(monitor) = typed_monitor(typed, compiled).at("typed_config")? {
        compiled.monitors.push((name.into(), monitor));
    }
    Ok(())
}

/// `None`: a limit, and nothing to look at.
fn typed_monitor(typed: Typed, compiled: &mut Overload) -> Result<Option<Monitor>> {
    use monitors::cgroup_memory::v3::CgroupMemoryConfig;
    use monitors::cpu_utilization::v3::CpuUtilizationConfig;
    use monitors::downstream_connections::v3::DownstreamConnectionsConfig;
    use monitors::fixed_heap::v3::FixedHeapConfig;
    use monitors::injected_resource::v3::InjectedResourceConfig;
    let kind = typed.type_name().to_owned();
    let is = |name: String| kind == name;
    Ok(Some(if is(FixedHeapConfig::full_name()) {
        let FixedHeapConfig {
            max_heap_size_bytes,
            max_heap_size_bytes_runtime,
        } = typed.decode()?;
        refuse!(max_heap_size_bytes_runtime);
        if max_heap_size_bytes == 0 {
            return Err(Error::new("must be more than 0").at_field("max_heap_size_bytes"));
        }
        Monitor::FixedHeap {
            maximum: max_heap_size_bytes,
        }
    } else if is(InjectedResourceConfig::full_name()) {
        let InjectedResourceConfig { filename } = typed.decode()?;
        if filename.is_empty() {
            return Err(Error::missing("filename"));
        }
        Monitor::Injected {
            file: Path::new(&filename).into(),
        }
    } else if is(CgroupMemoryConfig::full_name()) {
        let CgroupMemoryConfig { max_memory_bytes } = typed.decode()?;
        Monitor::CgroupMemory {
            maximum: max_memory_bytes,
        }
    } else if is(CpuUtilizationConfig::full_name()) {
        let config: CpuUtilizationConfig = typed.decode()?;
        if config.mode() != UtilizationComputeStrategy::Host {
            return Err(Error::new("only HOST is supported").at_field("mode"));
        }
        Monitor::Processors(Processors::default())
    } else if is(DownstreamConnectionsConfig::full_name()) {
        let DownstreamConnectionsConfig {
            max_active_downstream_connections: maximum,
        } = typed.decode()?;
        let limit = u32::try_from(maximum).ok().filter(|limit| *limit > 0);
        compiled.max_connections = Some(limit.ok_or_else(|| {
            Error::new("must be from 1 to 4294967295").at_field("max_active_downstream_connections")
        })?);
        return Ok(None);
    } else {
        return Err(Error::new(format!("{kind} is not supported")));
    }))
}

fn compile_triggers(
    values: Vec<proto::Trigger>,
    compiled: &Overload,
) -> Result<Vec<(usize, Trigger)>> {
    if values.is_empty() {
        return Err(Error::missing("triggers"));
    }
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| trigger(value, compiled).nth("triggers", index))
        .collect()
}

fn trigger(value: proto::Trigger, compiled: &Overload) -> Result<(usize, Trigger)> {
    use proto::trigger::TriggerOneof;
    let proto::Trigger {
        name,
        trigger_oneof,
    } = value;
    let mut monitors = compiled.monitors.iter();
    let resource = monitors.position(|(known, _)| **known == *name);
    let resource = resource.ok_or_else(|| {
        Error::new(format!("`{name}` is no resource monitor above")).at_field("name")
    })?;
    let trigger = match trigger_oneof {
        Some(TriggerOneof::Threshold(proto::ThresholdTrigger { value })) => {
            Trigger::Threshold(part(value).at("threshold.value")?)
        }
        Some(TriggerOneof::Scaled(proto::ScaledTrigger {
            scaling_threshold,
            saturation_threshold,
        })) => {
            let from = part(scaling_threshold).at("scaled.scaling_threshold")?;
            let to = part(saturation_threshold).at("scaled.saturation_threshold")?;
            if from >= to {
                return Err(Error::new("must be above scaling_threshold")
                    .at_field("scaled.saturation_threshold"));
            }
            Trigger::Scaled { from, to }
        }
        None => return Err(Error::missing("threshold")),
    };
    Ok((resource, trigger))
}

fn part(value: f64) -> Result<f64> {
    match (0.0..=1.0).contains(&value) {
        true => Ok(value),
        false => Err(Error::new("must be from 0 to 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Names;
    use serde_json::{Value, json};

    fn compiled(value: Value) -> std::result::Result<(Overload, usize), String> {
        let name = proto::OverloadManager::full_name();
        let bytes = meltemi_schema::encode(&name, &value).map_err(|error| error.to_string())?;
        let message = <proto::OverloadManager as prost::Message>::decode(&*bytes).unwrap();
        let mut names = Names::default();
        let mut cx = Cx::new(&mut names);
        let compiled = overload(message, &mut cx).map_err(|error| error.to_string())?;
        Ok((compiled, cx.finish().1.len()))
    }

    fn manager(monitor: &str, fields: Value, action: &str, trigger: Value) -> Value {
        let mut typed = fields;
        typed["@type"] = json!(format!(
            "type.googleapis.com/envoy.extensions.resource_monitors.{monitor}"
        ));
        let mut trigger = trigger;
        trigger["name"] = json!("m");
        json!({
            "refresh_interval": "0.25s",
            "resource_monitors": [{ "name": "m", "typed_config": typed }],
            "actions": [{ "name": format!("envoy.overload_actions.{action}"), "triggers": [trigger] }],
        })
    }

    const HEAP: &str = "fixed_heap.v3.FixedHeapConfig";

    #[test]
    fn monitors_actions_and_triggers() {
        let threshold = || json!({ "threshold": { "value": 0.9 } });
        let bytes = || json!({ "max_heap_size_bytes": 1000 });
        let (overload, notices) = compiled(manager(
            HEAP,
            bytes(),
            "stop_accepting_requests",
            threshold(),
        ))
        .unwrap();
        assert_eq!(overload.interval, Duration::from_millis(250));
        assert_eq!(overload.actions[0].effect, Effect::StopRequests);
        assert_eq!(overload.actions[0].triggers, [(0, Trigger::Threshold(0.9))]);
        assert_eq!(notices, 0);
        let scaled = json!({ "scaled": { "scaling_threshold": 0.5, "saturation_threshold": 0.9 } });
        let (overload, notices) =
            compiled(manager(HEAP, bytes(), "reduce_timeouts", scaled)).unwrap();
        assert_eq!((overload.actions.len(), notices), (0, 1));
        let wrong = json!({ "scaled": { "scaling_threshold": 0.9, "saturation_threshold": 0.9 } });
        for (value, reason) in [
            (
                manager(HEAP, bytes(), "other", threshold()),
                "is no action that is known",
            ),
            (
                manager(HEAP, json!({}), "shrink_heap", threshold()),
                "must be more than 0",
            ),
            (
                manager(HEAP, bytes(), "shrink_heap", wrong),
                "must be above",
            ),
            (
                manager(HEAP, bytes(), "shrink_heap", json!({})),
                "threshold: is required",
            ),
            (
                manager(
                    "injected_resource.v3.InjectedResourceConfig",
                    json!({}),
                    "shrink_heap",
                    threshold(),
                ),
                "filename: is required",
            ),
        ] {
            let refused = compiled(value).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn connections_are_limited_without_an_action() {
        let value = manager(
            "downstream_connections.v3.DownstreamConnectionsConfig",
            json!({ "max_active_downstream_connections": "7" }),
            "shrink_heap",
            json!({ "threshold": { "value": 1 } }),
        );
        let refused = compiled(value.clone()).unwrap_err();
        assert!(
            refused.contains("`m` is no resource monitor above"),
            "{refused}"
        );
        let mut value = value;
        value["actions"] = json!([]);
        assert_eq!(compiled(value).unwrap().0.max_connections, Some(7));
    }
}
