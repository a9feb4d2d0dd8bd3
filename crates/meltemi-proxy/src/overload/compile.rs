//! Envoy's `OverloadManager`, each field honoured, reported or refused.

use super::monitor::{Monitor, Processors};
use super::timers::Minimums;
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
    (
        "envoy.overload_actions.reduce_timeouts",
        Effect::ReduceTimeouts,
    ),
];

/// Of Envoy, and not taken; and why.
const OTHER_ACTIONS: &[(&str, &str)] = &[
    (
        "envoy.overload_actions.reset_high_memory_stream",
        "memory is not counted by stream: each stream's buffers are bounded instead",
    ),
    (
        "envoy.overload_actions.close_idle_http_connections",
        "it concerns HTTP/3 alone, which is not spoken",
    ),
];

const POINTS: &[(&str, Effect)] = &[
    ("tcp_listener_accept", Effect::RejectConnections),
    ("tcp_proxy_upstream_connect", Effect::RefuseTcp),
    ("hcm_ondata_creating_codec", Effect::RefuseHttp),
    ("http1_server_abort_dispatch", Effect::AbortHttp1),
    ("http2_server_go_away_on_dispatch", Effect::DrainHttp),
    (
        "http2_server_go_away_and_close_on_dispatch",
        Effect::CloseHttp,
    ),
    (
        "http_connection_manager_decode_headers",
        Effect::StopRequests,
    ),
    ("http_downstream_filter_check", Effect::RefuseForwarding),
    ("connection_pool_new_connection", Effect::RefuseUpstream),
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
        timers: Minimums::default(),
        max_connections: None,
    };
    for (index, value) in resource_monitors.into_iter().enumerate() {
        monitor(value, &mut compiled).nth("resource_monitors", index)?;
    }
    for (index, value) in actions.into_iter().enumerate() {
        action(value, &mut compiled, cx).nth("actions", index)?;
    }
    for (index, value) in loadshed_points.into_iter().enumerate() {
        let proto::LoadShedPoint { name, triggers } = value;
        let triggers = compile_triggers(triggers, &compiled).nth("loadshed_points", index)?;
        let short = name.strip_prefix("envoy.load_shed_points.");
        match POINTS.iter().find(|(known, _)| Some(*known) == short) {
            Some((_, effect)) => compiled.actions.push(Action {
                name: name.into(),
                effect: *effect,
                counted: true,
                triggers,
            }),
            None => cx.notice(
                "OverloadManager.loadshed_points",
                format!("no load is shed at `{name}`"),
            ),
        }
    }
    Ok(compiled)
}

fn action(value: proto::OverloadAction, compiled: &mut Overload, cx: &mut Cx<'_>) -> Result<()> {
    let proto::OverloadAction {
        name,
        triggers,
        typed_config,
    } = value;
    if compiled.actions.iter().any(|known| *known.name == *name) {
        return Err(Error::new(format!("`{name}` is there twice")).at_field("name"));
    }
    let triggers = compile_triggers(triggers, compiled)?;
    let Some(effect) = action_effect(&name, cx)? else {
        return Ok(());
    };
    match effect {
        Effect::ReduceTimeouts => {
            compiled.timers = Minimums::compile(typed_config, cx).at("typed_config")?;
        }
        _ => refuse!(typed_config),
    }
    compiled.actions.push(Action {
        name: name.into(),
        effect,
        counted: false,
        triggers,
    });
    Ok(())
}

fn action_effect(name: &str, cx: &mut Cx<'_>) -> Result<Option<Effect>> {
    if let Some((_, effect)) = ACTIONS.iter().find(|(known, _)| *known == name) {
        return Ok(Some(*effect));
    }
    if let Some((_, reason)) = OTHER_ACTIONS.iter().find(|(known, _)| *known == name) {
        cx.notice(
            "OverloadManager.actions",
            format!("`{name}` is not taken: {reason}"),
        );
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
    use super::super::{Levels, Timer};
    use super::*;
    use crate::compile::Names;
    use crate::telemetry::stats::Counter;
    use serde_json::{Value, json};

    fn compiled(value: Value) -> std::result::Result<(Overload, Vec<String>), String> {
        let name = proto::OverloadManager::full_name();
        let bytes = meltemi_schema::encode(&name, &value).map_err(|error| error.to_string())?;
        let message = <proto::OverloadManager as prost::Message>::decode(&*bytes).unwrap();
        let mut names = Names::default();
        let mut cx = Cx::new(&mut names);
        let compiled = overload(message, &mut cx).map_err(|error| error.to_string())?;
        let notices = cx.finish().1.into_iter();
        Ok((
            compiled,
            notices.map(|notice| notice.reason.into()).collect(),
        ))
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
        assert!(notices.is_empty());
        let action = "reset_high_memory_stream";
        let (overload, notices) = compiled(manager(HEAP, bytes(), action, threshold())).unwrap();
        assert_eq!(overload.actions.len(), 0);
        assert!(notices[0].contains("memory is not counted by stream"));
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

    fn reducing(factors: Value, trigger: Value) -> Value {
        let mut value = manager(
            HEAP,
            json!({ "max_heap_size_bytes": 1000 }),
            "reduce_timeouts",
            trigger,
        );
        value["actions"][0]["typed_config"] = json!({
            "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
            "timer_scale_factors": factors,
        });
        value
    }

    #[test]
    fn timers_are_reduced_by_the_level() {
        let scaled = json!({ "scaled": { "scaling_threshold": 0.5, "saturation_threshold": 0.9 } });
        let factors = json!([
            { "timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": "2s" },
            { "timer": "HTTP_DOWNSTREAM_CONNECTION_MAX", "min_scale": { "value": 10 } },
        ]);
        let (overload, notices) = compiled(reducing(factors, scaled)).unwrap();
        assert!(notices.is_empty());
        let levels = Levels::of(&overload);
        let seconds = Duration::from_secs;
        let at = |timer, limit| levels.reduced(timer, seconds(limit));
        assert_eq!(at(Timer::ConnectionIdle, 600), seconds(600));
        levels.set(Effect::ReduceTimeouts, 700);
        // Envoy's own example.
        let expected = Duration::from_millis(181_400);
        assert_eq!(at(Timer::ConnectionIdle, 600), expected);
        levels.set(Effect::ReduceTimeouts, 1000);
        assert_eq!(at(Timer::ConnectionIdle, 600), seconds(2));
        assert_eq!(at(Timer::ConnectionIdle, 1), seconds(1));
        assert_eq!(at(Timer::ConnectionMax, 600), seconds(60));
        assert_eq!(at(Timer::StreamIdle, 600), seconds(600));
        for (factors, reason) in [
            (json!([]), "timer_scale_factors: is required"),
            (json!([{ "min_timeout": "2s" }]), "timer: is required"),
            (
                json!([{ "timer": "TRANSPORT_SOCKET_CONNECT" }]),
                "min_timeout: is required",
            ),
            (
                json!([{ "timer": "TRANSPORT_SOCKET_CONNECT", "min_scale": { "value": 101 } }]),
                "must be from 0 to 100",
            ),
            (
                json!([
                    { "timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "2s" },
                    { "timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "2s" },
                ]),
                "is there twice",
            ),
        ] {
            let threshold = json!({ "threshold": { "value": 0.9 } });
            let refused = compiled(reducing(factors, threshold)).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn points_count_and_those_that_are_not_met_are_named() {
        let threshold = json!({ "threshold": { "value": 0.9 } });
        let mut value = manager(
            HEAP,
            json!({ "max_heap_size_bytes": 1000 }),
            "shrink_heap",
            threshold,
        );
        let triggers = value["actions"][0]["triggers"].clone();
        let point = |name: &str| json!({ "name": format!("envoy.load_shed_points.{name}"), "triggers": triggers });
        value["loadshed_points"] = json!([
            point("hcm_ondata_creating_codec"),
            point("http3_server_go_away_on_dispatch"),
        ]);
        let (overload, notices) = compiled(value).unwrap();
        assert_eq!(overload.actions[1].effect, Effect::RefuseHttp);
        let expected =
            "no load is shed at `envoy.load_shed_points.http3_server_go_away_on_dispatch`";
        assert_eq!(notices, [expected]);
        let levels = Levels::of(&overload);
        let name = "envoy.load_shed_points.hcm_ondata_creating_codec";
        let counted = Counter::scoped("overload", name, "shed_load_count");
        assert!(!levels.refuses_http());
        levels.set(Effect::RefuseHttp, 1000);
        assert!(levels.refuses_http());
        assert_eq!(counted.value(), 1);
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
