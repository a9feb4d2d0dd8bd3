//! Tracing of requests, as istiod's `configureTracing`.

use envoy_types::pb::envoy::config::trace::v3 as trace;
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use envoy_types::pb::envoy::extensions::tracers::opentelemetry::resource_detectors::v3 as detectors;
use envoy_types::pb::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind, metadata_key, metadata_kind,
};
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use meltemi_api::mesh::{
    ExtensionProvider, OpenTelemetryProvider, TracingCustomTag, ZipkinProvider,
    ZipkinTraceContextOption,
};
use meltemi_api::telemetry as api;

use super::collector::Collector;
use super::filters::Side;
use crate::pb::{self, core, hcm};
use crate::proxy::{Proxy, ProxyKind};
use crate::world::scope::Scope;
use crate::world::telemetry::{self, TracingRule};
use hcm::http_connection_manager as parts;

/// Zipkin's path where the provider names none.
const ZIPKIN_PATH: &str = "/api/v2/spans";
/// For Zipkin's answer where the provider has no bound, seconds.
const ZIPKIN_TIMEOUT: i64 = 5;

/// What a connection manager does with traces.
pub fn of(
    scope: &Scope<'_>,
    proxy: &Proxy,
    side: Side,
) -> (Option<parts::Tracing>, hcm::RequestIdExtension) {
    let mesh = &scope.world.mesh;
    let telemetries = &scope.world.telemetries;
    let rule = telemetries.tracing(&mesh.config, &proxy.namespace, &proxy.labels, side.mode());
    let by_request_id = rule.as_ref().is_none_or(|rule| rule.by_request_id);
    let tracing = match rule {
        Some(rule) => by_rule(scope, proxy, &rule),
        None => mesh.tracing.then(|| parts::Tracing {
            custom_tags: tags(scope, proxy, None),
            ..common(scope, mesh.trace_sampling)
        }),
    };
    let extension = UuidRequestIdConfig {
        use_request_id_for_trace_sampling: pb::boolv(by_request_id),
        ..Default::default()
    };
    (
        tracing,
        hcm::RequestIdExtension {
            typed_config: Some(pb::any(&extension)),
        },
    )
}

fn common(scope: &Scope<'_>, sampling: f64) -> parts::Tracing {
    let settings = scope.world.mesh.tracing_settings();
    let length = settings.map_or(0, |settings| settings.max_path_tag_length);
    parts::Tracing {
        client_sampling: pb::percent(100.0),
        random_sampling: pb::percent(sampling),
        overall_sampling: pb::percent(100.0),
        max_path_tag_length: given(length),
        ..Default::default()
    }
}

fn given(value: u32) -> Option<pb::UInt32Value> {
    (value > 0).then_some(pb::UInt32Value { value })
}

/// `None` where tracing is off, or its provider cannot be had: what requests carry goes on.
fn by_rule(scope: &Scope<'_>, proxy: &Proxy, rule: &TracingRule<'_>) -> Option<parts::Tracing> {
    let mesh = &scope.world.mesh;
    if rule.disabled {
        return None;
    }
    let provider = telemetry::find(&mesh.config, rule.provider?)?;
    let (tracer, max_tag_length) = tracer(scope, proxy, &provider)?;
    let common = common(scope, rule.sampling.unwrap_or(mesh.trace_sampling));
    let gateway = proxy.kind == ProxyKind::Gateway;
    Some(parts::Tracing {
        provider: Some(tracer),
        custom_tags: tags(scope, proxy, Some(rule)),
        max_path_tag_length: given(max_tag_length).or(common.max_path_tag_length),
        spawn_upstream_span: gateway.then_some(pb::BoolValue { value: true }),
        no_context_propagation: rule.silent,
        ..common
    })
}

/// The tracer of a provider, and its bound on a tag.
fn tracer(
    scope: &Scope<'_>,
    proxy: &Proxy,
    provider: &ExtensionProvider,
) -> Option<(trace::tracing::Http, u32)> {
    let (name, config, length) = if let Some(zipkin) = &provider.zipkin {
        let config = pb::any(&zipkin_config(scope, zipkin)?);
        ("envoy.tracers.zipkin", config, zipkin.max_tag_length)
    } else if let Some(provider) = &provider.opentelemetry {
        let config = pb::any(&open_telemetry(scope, proxy, provider)?);
        (
            "envoy.tracers.opentelemetry",
            config,
            provider.max_tag_length,
        )
    } else {
        return None;
    };
    let tracer = trace::tracing::Http {
        name: name.to_owned(),
        config_type: Some(trace::tracing::http::ConfigType::TypedConfig(config)),
    };
    Some((tracer, length))
}

fn zipkin_config(scope: &Scope<'_>, provider: &ZipkinProvider) -> Option<trace::ZipkinConfig> {
    use trace::zipkin_config::{CollectorEndpointVersion, TraceContextOption};
    let to = Collector::find(scope, &provider.service, provider.port)?;
    let path = match provider.path.as_str() {
        "" => ZIPKIN_PATH,
        path => path,
    };
    let timeout = match provider.timeout {
        Some(timeout) => pb::duration(timeout.into()),
        None => pb::seconds(ZIPKIN_TIMEOUT),
    };
    let option = match provider.trace_context_option {
        ZipkinTraceContextOption::UseB3 => TraceContextOption::UseB3,
        ZipkinTraceContextOption::UseB3WithW3c => TraceContextOption::UseB3WithW3cPropagation,
    };
    Some(trace::ZipkinConfig {
        collector_service: Some(to.http(path, Some(timeout), &provider.headers, true)),
        collector_endpoint_version: CollectorEndpointVersion::HttpJson as i32,
        trace_id_128bit: !provider.enable_64bit_trace_id,
        shared_span_context: pb::boolv(false),
        trace_context_option: option as i32,
        ..Default::default()
    })
}

fn open_telemetry(
    scope: &Scope<'_>,
    proxy: &Proxy,
    provider: &OpenTelemetryProvider,
) -> Option<trace::OpenTelemetryConfig> {
    let to = Collector::find(scope, &provider.service, provider.port)?;
    let mut config = trace::OpenTelemetryConfig {
        service_name: proxy.cluster.clone(),
        ..Default::default()
    };
    match &provider.http {
        Some(http) => {
            let timeout = http.timeout.map(|timeout| pb::duration(timeout.into()));
            config.http_service = Some(to.http(&http.path, timeout, &http.headers, false));
        }
        None => {
            let grpc = provider.grpc.as_ref();
            let timeout = grpc
                .and_then(|grpc| grpc.timeout)
                .map(|timeout| pb::duration(timeout.into()));
            let metadata = grpc.map_or(&[][..], |grpc| &grpc.initial_metadata);
            config.grpc_service = Some(to.grpc(timeout, metadata));
        }
    }
    let detectors = provider.resource_detectors.as_ref();
    if detectors.is_some_and(|detectors| detectors.environment.is_some()) {
        config.resource_detectors = vec![core::TypedExtensionConfig {
            name: "envoy.tracers.opentelemetry.resource_detectors.environment".to_owned(),
            typed_config: Some(pb::any(&detectors::EnvironmentResourceDetectorConfig {})),
        }];
    }
    Some(config)
}

/// Istio's own and the users', in order of name.
fn tags(scope: &Scope<'_>, proxy: &Proxy, rule: Option<&TracingRule<'_>>) -> Vec<CustomTag> {
    let settings = scope.world.mesh.tracing_settings();
    let legacy = settings.and_then(|settings| settings.enable_istio_tags);
    let istio = rule.map_or(legacy.unwrap_or(true), |rule| rule.istio_tags);
    let mut tags = match istio {
        true => own_tags(scope, proxy),
        false => Vec::new(),
    };
    match rule.and_then(|rule| rule.custom_tags) {
        Some(custom) => tags.extend(custom.iter().filter_map(|(name, tag)| {
            Some(CustomTag {
                tag: name.clone(),
                r#type: Some(custom_tag(tag)?),
            })
        })),
        None => {
            let custom = settings
                .into_iter()
                .flat_map(|settings| &settings.custom_tags);
            tags.extend(custom.filter_map(|(name, tag)| {
                Some(CustomTag {
                    tag: name.clone(),
                    r#type: Some(legacy_tag(tag)?),
                })
            }));
        }
    }
    if rule.is_some() {
        tags.sort_by(|a, b| a.tag.cmp(&b.tag));
    }
    tags
}

fn custom_tag(tag: &api::CustomTag) -> Option<custom_tag::Type> {
    if let Some(literal) = &tag.literal {
        return Some(literal_tag(&literal.value));
    }
    if let Some(api::EnvironmentTag {
        name,
        default_value,
    }) = &tag.environment
    {
        return Some(environment_tag(name, default_value));
    }
    if let Some(api::HeaderTag {
        name,
        default_value,
    }) = &tag.header
    {
        return Some(header_tag(name, default_value));
    }
    let formatter = tag.formatter.as_ref()?;
    Some(custom_tag::Type::Value(formatter.value.clone()))
}

fn legacy_tag(tag: &TracingCustomTag) -> Option<custom_tag::Type> {
    if let Some(literal) = &tag.literal {
        return Some(literal_tag(&literal.value));
    }
    if let Some(source) = &tag.environment {
        return Some(environment_tag(&source.name, &source.default_value));
    }
    let source = tag.header.as_ref()?;
    Some(header_tag(&source.name, &source.default_value))
}

fn literal_tag(value: &str) -> custom_tag::Type {
    custom_tag::Type::Literal(custom_tag::Literal {
        value: value.to_owned(),
    })
}

fn environment_tag(name: &str, default_value: &str) -> custom_tag::Type {
    custom_tag::Type::Environment(custom_tag::Environment {
        name: name.to_owned(),
        default_value: default_value.to_owned(),
    })
}

fn header_tag(name: &str, default_value: &str) -> custom_tag::Type {
    custom_tag::Type::RequestHeader(custom_tag::Header {
        name: name.to_owned(),
        default_value: default_value.to_owned(),
    })
}

fn own_tags(scope: &Scope<'_>, proxy: &Proxy) -> Vec<CustomTag> {
    let mut tags: Vec<CustomTag> = [
        ("allow_policy.name", "allow_shadow_effective_policy_id"),
        ("allow_policy.result", "allow_shadow_engine_result"),
        ("deny_policy.name", "deny_shadow_effective_policy_id"),
        ("deny_policy.result", "deny_shadow_engine_result"),
    ]
    .iter()
    .map(|(tag, key)| dry_run_tag(tag, key))
    .collect();
    let mesh_id = if proxy.mesh_id.is_empty() {
        &scope.world.mesh.trust_domain
    } else {
        &proxy.mesh_id
    };
    for (tag, value) in [
        ("istio.canonical_revision", proxy.canonical_revision()),
        ("istio.canonical_service", proxy.canonical_service()),
        ("istio.cluster_id", &proxy.cluster_id),
        ("istio.mesh_id", mesh_id),
        ("istio.namespace", &proxy.namespace),
    ] {
        tags.push(CustomTag {
            tag: tag.to_owned(),
            r#type: Some(literal_tag(value)),
        });
    }
    tags
}

/// The verdict that a policy in dry run would have given.
fn dry_run_tag(tag: &str, key: &str) -> CustomTag {
    let kind = MetadataKind {
        kind: Some(metadata_kind::Kind::Request(Default::default())),
    };
    let segment = metadata_key::PathSegment {
        segment: Some(metadata_key::path_segment::Segment::Key(format!(
            "istio_dry_run_{key}"
        ))),
    };
    CustomTag {
        tag: format!("istio.authorization.dry_run.{tag}"),
        r#type: Some(custom_tag::Type::Metadata(custom_tag::Metadata {
            kind: Some(kind),
            metadata_key: Some(MetadataKey {
                key: "envoy.filters.http.rbac".to_owned(),
                path: vec![segment],
            }),
            ..Default::default()
        })),
    }
}
