//! The analyzers, one a file.

mod alpha_annotations;
mod annotation_table;
mod annotations;
mod application_uid;
mod authorization;
mod ca_certificates;
mod conditions;
mod conflicting_hosts;
mod delegate;
mod deployment_services;
mod deprecation;
mod destination_host;
mod destination_subset;
mod envoy_filter;
mod exclusive;
mod external_control_plane;
mod gateway_certificate;
mod gateway_conflict;
mod gateway_port;
mod gateway_secret;
mod image_auto;
mod injection;
mod jwks_fetch;
mod jwt_claim_route;
mod k8s_gateway_selector;
mod mesh_networks;
mod mtls_conflict;
mod multicluster_service;
mod opaque_port;
mod port_name;
mod port_name_form;
mod proxy_image;
mod retries;
mod route_endpoints;
mod schema;
mod service_entry_addresses;
mod service_entry_protocols;
mod service_workloads;
mod sidecar_selector;
mod subset_pods;
mod target_port;
mod telemetry_default;
mod telemetry_provider;
mod telemetry_selector;
mod unreachable_rule;
mod virtual_service_gateway;
mod webhook;

use crate::Analyzer;

/// By name.
pub const ALL: &[&dyn Analyzer] = &[
    &alpha_annotations::AlphaAnnotations,
    &annotations::Annotations,
    &application_uid::ApplicationUid,
    &authorization::Authorization,
    &jwks_fetch::JwksFetch,
    &conditions::Conditions,
    &deployment_services::DeploymentServices,
    &deprecation::Deprecation,
    &ca_certificates::CaCertificates,
    &mtls_conflict::MtlsConflict,
    &subset_pods::SubsetPods,
    &envoy_filter::EnvoyFilterPatches,
    &external_control_plane::ExternalControlPlane,
    &gateway_certificate::GatewayCertificate,
    &gateway_conflict::GatewayConflict,
    &gateway_port::GatewayPort,
    &gateway_secret::GatewaySecret,
    &injection::Injection,
    &image_auto::ImageAuto,
    &proxy_image::ProxyImage,
    &k8s_gateway_selector::GatewaySelector,
    &mesh_networks::MeshNetworks,
    &schema::Schema,
    &port_name_form::PortNameForm,
    &port_name::PortName,
    &service_workloads::ServiceWorkloads,
    &target_port::TargetPort,
    &service_entry_addresses::EntryAddresses,
    &service_entry_protocols::EntryProtocols,
    &multicluster_service::MulticlusterService,
    &sidecar_selector::SidecarSelector,
    &telemetry_default::TelemetryDefault,
    &telemetry_provider::TelemetryProvider,
    &telemetry_selector::TelemetrySelector,
    &conflicting_hosts::ConflictingHosts,
    &delegate::Delegates,
    &destination_host::DestinationHost,
    &destination_subset::DestinationSubset,
    &virtual_service_gateway::VirtualServiceGateway,
    &jwt_claim_route::JwtClaimRoute,
    &opaque_port::OpaquePort,
    &retries::Retries,
    &route_endpoints::RouteEndpoints,
    &unreachable_rule::UnreachableRule,
    &webhook::Webhook,
];

/// Those that look at typed configuration only: what they say does not change while workloads
/// come and go.
pub const WHILE_RUNNING: &[&dyn Analyzer] = &[
    &ca_certificates::CaCertificates,
    &conflicting_hosts::ConflictingHosts,
    &destination_host::DestinationHost,
    &destination_subset::DestinationSubset,
    &opaque_port::OpaquePort,
    &retries::Retries,
    &unreachable_rule::UnreachableRule,
    &virtual_service_gateway::VirtualServiceGateway,
];
