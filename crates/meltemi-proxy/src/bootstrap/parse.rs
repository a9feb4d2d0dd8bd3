//! The bootstrap's own fields, each honoured, reported or refused.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::split::Parts;
use super::{AdminAddress, AdsSource, Bootstrap};
use crate::compile::{At, Cx, Error, Names, Result as CompileResult};
use crate::compile::{Location, fetch_timeout, harmless, left_out, location, refuse};
use crate::overload::overload;
use envoy_types::pb::envoy::config::bootstrap::v3 as proto;
use envoy_types::pb::envoy::config::core::v3 as core;
use meltemi_schema::JsonError;
use prost::Message;
use std::time::Duration;

/// Why a bootstrap is refused.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("cannot read it: {0}")]
    Read(#[source] std::io::Error),
    #[error("the bootstrap is not UTF-8")]
    Encoding,
    #[error("the bootstrap is not valid YAML: {0}")]
    Yaml(String),
    #[error("the bootstrap is not valid: {0}")]
    Json(#[from] JsonError),
    #[error("the bootstrap is not supported: {0}")]
    Unsupported(#[from] Error),
}

pub fn utf8(content: &[u8]) -> Result<&str, BootstrapError> {
    std::str::from_utf8(content).map_err(|_| BootstrapError::Encoding)
}

pub fn bootstrap(parts: Parts) -> Result<Bootstrap, BootstrapError> {
    let Parts {
        rest,
        listeners,
        clusters,
        secrets,
    } = parts;
    let encoded = rest.encode_to_vec().into();
    let mut bootstrap = fields(rest)?;
    bootstrap.rest = encoded;
    bootstrap.listeners = listeners;
    bootstrap.clusters = clusters;
    bootstrap.secrets = secrets;
    Ok(bootstrap)
}

fn fields(value: proto::Bootstrap) -> CompileResult<Bootstrap> {
    let mut names = Names::default();
    let mut cx = Cx::new(&mut names);
    let proto::Bootstrap {
        node,
        node_context_params,
        static_resources,
        dynamic_resources,
        cluster_manager,
        hds_config,
        flags_path,
        stats_sinks,
        deferred_stat_options,
        stats_config,
        stats_flush_interval,
        watchdog,
        watchdogs,
        tracing,
        layered_runtime,
        admin,
        overload_manager,
        enable_dispatcher_stats,
        header_prefix,
        stats_server_version_override,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        typed_dns_resolver_config,
        bootstrap_extensions,
        fatal_actions,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        inline_headers,
        perf_tracing_file_path,
        default_regex_engine,
        xds_delegate_extension,
        xds_config_tracker_extension,
        listener_manager,
        application_log_config,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        enable_worker_cpu_affinity,
        stats_flush,
        stats_eviction,
    } = value;
    refuse!(
        hds_config,
        header_prefix,
        use_tcp_for_dns_lookups,
        dns_resolution_config,
        config_sources,
        default_config_source,
        default_socket_interface,
        certificate_provider_instances,
        xds_delegate_extension,
        listener_manager,
    );
    // Taken out before; how Envoy itself allocates, logs crashes, watches its threads and
    // keeps its statistics.
    harmless!(
        static_resources,
        node_context_params,
        flags_path,
        deferred_stat_options,
        stats_flush_interval,
        watchdog,
        watchdogs,
        enable_dispatcher_stats,
        stats_server_version_override,
        fatal_actions,
        inline_headers,
        perf_tracing_file_path,
        default_regex_engine,
        xds_config_tracker_extension,
        grpc_async_client_manager_config,
        memory_allocator_manager,
        enable_worker_cpu_affinity,
        stats_flush,
        stats_eviction,
    );
    left_out!(
        cx,
        "Bootstrap",
        "statistics are offered by the admin API with names and tags of their own",
        stats_config,
        stats_sinks,
    );
    left_out!(cx, "Bootstrap", "tracing is not supported yet", tracing);
    left_out!(
        cx,
        "Bootstrap",
        "there is no runtime: its keys have no effect",
        layered_runtime
    );
    left_out!(
        cx,
        "Bootstrap",
        "Envoy's extensions of the process are not loaded",
        bootstrap_extensions
    );
    left_out!(
        cx,
        "Bootstrap",
        "outlier events and local statistics are not written",
        cluster_manager
    );
    left_out!(
        cx,
        "Bootstrap",
        "logs have their own format",
        application_log_config
    );
    left_out!(
        cx,
        "Bootstrap",
        "names are resolved by the host's name servers",
        typed_dns_resolver_config
    );
    let admin = admin
        .map(|value| admin_address(value, &mut cx))
        .transpose()
        .at("admin")?
        .flatten();
    let overload = overload_manager
        .map(|value| overload(value, &mut cx))
        .transpose()
        .at("overload_manager")?;
    let mut bootstrap = Bootstrap {
        overload,
        node: node.unwrap_or_default(),
        admin,
        ..Bootstrap::default()
    };
    if let Some(value) = dynamic_resources {
        dynamic(value, &mut bootstrap, &mut cx).at("dynamic_resources")?;
    }
    let (_, notices) = cx.finish();
    bootstrap.notices = notices;
    Ok(bootstrap)
}

fn admin_address(value: proto::Admin, cx: &mut Cx<'_>) -> CompileResult<Option<AdminAddress>> {
    let proto::Admin {
        access_log,
        access_log_path,
        profile_path,
        address,
        socket_options,
        ignore_global_conn_limit,
        allow_paths,
    } = value;
    refuse!(allow_paths);
    // The log of admin requests (Istio sends it to /dev/null), profiles, socket tuning.
    harmless!(profile_path, socket_options, ignore_global_conn_limit);
    left_out!(
        cx,
        "Admin",
        "admin requests are not logged",
        access_log,
        access_log_path
    );
    if address.is_none() {
        return Ok(None);
    }
    match location(address).at("address")? {
        Location::Pipe(path) => Ok(Some(AdminAddress::Pipe(path.into()))),
        Location::Socket(address) => address
            .socket()
            .map(|address| Some(AdminAddress::Socket(address)))
            .ok_or_else(|| Error::new("is not an IP address").at_field("address")),
    }
}

fn dynamic(
    value: proto::bootstrap::DynamicResources,
    bootstrap: &mut Bootstrap,
    cx: &mut Cx<'_>,
) -> CompileResult<()> {
    let proto::bootstrap::DynamicResources {
        lds_config,
        lds_resources_locator,
        cds_config,
        cds_resources_locator,
        ads_config,
    } = value;
    refuse!(lds_resources_locator, cds_resources_locator);
    bootstrap.lds = lds_config.map(source).transpose().at("lds_config")?;
    bootstrap.cds = cds_config.map(source).transpose().at("cds_config")?;
    bootstrap.ads = ads_config
        .map(|value| ads(value, cx))
        .transpose()
        .at("ads_config")?;
    if bootstrap.ads.is_none() && (bootstrap.lds.is_some() || bootstrap.cds.is_some()) {
        return Err(Error::missing("ads_config"));
    }
    Ok(())
}

fn source(value: core::ConfigSource) -> CompileResult<Duration> {
    use core::config_source::ConfigSourceSpecifier;
    let core::ConfigSource {
        authorities,
        initial_fetch_timeout,
        resource_api_version,
        config_source_specifier,
    } = value;
    refuse!(authorities);
    harmless!(resource_api_version);
    match config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_)) => fetch_timeout(initial_fetch_timeout),
        _ => Err(Error::new("only `ads` is supported as a source")),
    }
}

fn ads(value: core::ApiConfigSource, cx: &mut Cx<'_>) -> CompileResult<AdsSource> {
    use core::api_config_source::ApiType;
    use core::grpc_service::TargetSpecifier;
    let delta = match value.api_type() {
        ApiType::Grpc | ApiType::AggregatedGrpc => false,
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => true,
        other => {
            return Err(Error::new(format!("{other:?} is not supported")).at_field("api_type"));
        }
    };
    let core::ApiConfigSource {
        api_type: _,
        transport_api_version,
        cluster_names,
        grpc_services,
        refresh_delay,
        request_timeout,
        rate_limit_settings,
        set_node_on_first_message_only,
        config_validators,
    } = value;
    refuse!(cluster_names, refresh_delay, config_validators);
    // V3 is the only version; the node always goes in the first message only.
    harmless!(
        transport_api_version,
        request_timeout,
        set_node_on_first_message_only
    );
    left_out!(
        cx,
        "ApiConfigSource",
        "requests to the control plane are not limited",
        rate_limit_settings
    );
    let service = grpc_services
        .into_iter()
        .next()
        .ok_or_else(|| Error::missing("grpc_services"))?;
    let core::GrpcService {
        timeout,
        initial_metadata,
        retry_policy,
        target_specifier,
    } = service;
    refuse!(initial_metadata);
    // The stream has no end of its own and is reconnected with a backoff.
    harmless!(timeout, retry_policy);
    match target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(grpc)) => Ok(AdsSource {
            cluster: grpc.cluster_name,
            delta,
        }),
        _ => Err(Error::new("only envoy_grpc is supported").at_field("grpc_services[0]")),
    }
}
