//! Services of the mesh that take telemetry.

use meltemi_api::mesh::ProviderHeader;

use crate::names;
use crate::pb::{self, core};
use crate::world::scope::Scope;

/// A port of a service, by its cluster.
pub struct Collector {
    host: String,
    cluster: String,
}

impl Collector {
    /// `service`: `[namespace/]host`. `None` where the proxy does not see it: a cluster that it
    /// lacks would cost an Envoy the listener.
    pub fn find(scope: &Scope<'_>, service: &str, port: u32) -> Option<Self> {
        let (namespace, host) = match service.split_once('/') {
            Some((namespace, host)) => (Some(namespace), host),
            None => (None, service),
        };
        let found = scope.services.get(host)?;
        let port = u16::try_from(port).ok()?;
        let has_port = found.ports.iter().any(|known| known.number == port);
        if !has_port || namespace.is_some_and(|namespace| namespace != found.namespace) {
            return None;
        }
        Some(Self {
            host: host.to_owned(),
            cluster: names::outbound(port, "", host),
        })
    }

    pub fn grpc(
        &self,
        timeout: Option<pb::Duration>,
        metadata: &[ProviderHeader],
    ) -> core::GrpcService {
        use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
        core::GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                cluster_name: self.cluster.clone(),
                authority: self.host.clone(),
                ..Default::default()
            })),
            timeout,
            initial_metadata: metadata.iter().map(header).collect(),
            ..Default::default()
        }
    }

    /// `with_scheme`: as istiod writes Zipkin's, unlike OpenTelemetry's.
    pub fn http(
        &self,
        path: &str,
        timeout: Option<pb::Duration>,
        headers: &[ProviderHeader],
        with_scheme: bool,
    ) -> core::HttpService {
        use core::header_value_option::HeaderAppendAction;
        let scheme = if with_scheme { "http://" } else { "" };
        let path = path.trim_start_matches('/');
        core::HttpService {
            http_uri: Some(core::HttpUri {
                uri: format!("{scheme}{}/{path}", self.host),
                http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(
                    self.cluster.clone(),
                )),
                timeout,
            }),
            request_headers_to_add: headers
                .iter()
                .map(|given| core::HeaderValueOption {
                    header: Some(header(given)),
                    append_action: HeaderAppendAction::OverwriteIfExistsOrAdd as i32,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// A value from the environment is the control plane's, as in Istio.
fn header(given: &ProviderHeader) -> core::HeaderValue {
    let from_environment = || {
        given
            .env_name
            .as_ref()
            .and_then(|name| std::env::var(name).ok())
    };
    core::HeaderValue {
        key: given.name.clone(),
        value: given
            .value
            .clone()
            .or_else(from_environment)
            .unwrap_or_default(),
        ..Default::default()
    }
}
