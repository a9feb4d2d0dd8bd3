//! Where certificates come from, and the TLS contexts built on them.
//!
//! A workload's own certificate and the mesh's roots are SDS secrets `default` and `ROOTCA` of
//! the cluster `sds-grpc`, which every proxy has in its bootstrap (Istio's agent, or Meltemi's
//! own identity client in its place). Kubernetes Secrets are SDS resources
//! `kubernetes://NAME` on the ADS stream. Files are read by the proxy itself.

use std::collections::BTreeSet;

use crate::pb::{self, core, tls};
use crate::tls_params;

/// SDS name of the workload's certificate.
const WORKLOAD: &str = "default";
/// SDS name of the mesh's trust roots.
const ROOTS: &str = "ROOTCA";
/// Where certificates of public CAs are, on Debian's and its relatives' systems.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

pub const TLS_SOCKET: &str = "envoy.transport_sockets.tls";
pub const RAW_SOCKET: &str = "envoy.transport_sockets.raw_buffer";

fn local_agent(name: &str) -> tls::SdsSecretConfig {
    let grpc = core::GrpcService {
        target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
            core::grpc_service::EnvoyGrpc {
                cluster_name: "sds-grpc".to_owned(),
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    let source = core::ApiConfigSource {
        api_type: core::api_config_source::ApiType::Grpc as i32,
        transport_api_version: core::ApiVersion::V3 as i32,
        grpc_services: vec![grpc],
        set_node_on_first_message_only: true,
        ..Default::default()
    };
    tls::SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(core::ConfigSource {
            initial_fetch_timeout: Some(pb::seconds(0)),
            resource_api_version: core::ApiVersion::V3 as i32,
            config_source_specifier: Some(
                core::config_source::ConfigSourceSpecifier::ApiConfigSource(source),
            ),
            ..Default::default()
        }),
    }
}

/// Holders of certificates of any namespace, which only objects name whose references were
/// checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Secret,
    ConfigMap,
}

/// The name of certificates of any namespace, as Istio has it.
pub fn in_namespace(holder: Holder, namespace: &str, name: &str) -> String {
    format!("{}{namespace}/{name}", scheme(holder))
}

/// Reads what [`in_namespace`] writes: the holder, its namespace and its name.
pub fn of_any_namespace(name: &str) -> Option<(Holder, &str, &str)> {
    [Holder::Secret, Holder::ConfigMap]
        .into_iter()
        .find_map(|holder| {
            let (namespace, name) = name.strip_prefix(scheme(holder))?.split_once('/')?;
            Some((holder, namespace, name))
        })
}

fn scheme(holder: Holder) -> &'static str {
    match holder {
        Holder::Secret => "kubernetes-gateway://",
        Holder::ConfigMap => "configmap://",
    }
}

/// The SDS resource of a Secret of the proxy's namespace, or of [`in_namespace`].
pub fn resource(name: &str) -> String {
    match of_any_namespace(name) {
        Some(_) => name.to_owned(),
        None => format!("kubernetes://{name}"),
    }
}

/// A Kubernetes Secret over ADS.
pub fn kubernetes(name: &str) -> tls::SdsSecretConfig {
    let mut source = pb::ads();
    source.initial_fetch_timeout = None;
    tls::SdsSecretConfig {
        name: resource(name),
        sds_config: Some(source),
    }
}

pub fn file(path: &str) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(path.to_owned())),
        ..Default::default()
    }
}

pub fn file_certificate(certificate: &str, key: &str) -> tls::TlsCertificate {
    tls::TlsCertificate {
        certificate_chain: Some(file(certificate)),
        private_key: Some(file(key)),
        ..Default::default()
    }
}

/// Validation against roots that SDS brings, with what is given here.
pub fn combined(
    given: tls::CertificateValidationContext,
    roots: tls::SdsSecretConfig,
) -> tls::common_tls_context::ValidationContextType {
    use tls::common_tls_context::{
        CombinedCertificateValidationContext, ValidationContextType::CombinedValidationContext,
    };
    CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(given),
        validation_context_sds_secret_config: Some(roots),
        ..Default::default()
    })
}

#[allow(
    deprecated,
    reason = "Istio still writes the untyped names, which match any SAN type"
)]
pub fn validation(names: Vec<pb::matcher::StringMatcher>) -> tls::CertificateValidationContext {
    tls::CertificateValidationContext {
        match_subject_alt_names: names,
        ..Default::default()
    }
}

/// TLS with the workload's identity, to a mesh service.
pub fn mesh_client(
    identities: &BTreeSet<String>,
    sni: &str,
    http2: bool,
) -> tls::UpstreamTlsContext {
    let mut alpn = vec!["istio-peer-exchange".to_owned(), "istio".to_owned()];
    if http2 {
        alpn.push("h2".to_owned());
    }
    tls::UpstreamTlsContext {
        sni: sni.to_owned(),
        common_tls_context: Some(tls::CommonTlsContext {
            alpn_protocols: alpn,
            tls_params: Some(tls_params::between_sidecars()),
            tls_certificate_sds_secret_configs: vec![local_agent(WORKLOAD)],
            validation_context_type: Some(combined(
                validation(identities.iter().map(|name| pb::exact(name)).collect()),
                local_agent(ROOTS),
            )),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Names of the workloads of these trust domains.
pub fn of_trust_domains<'a>(
    domains: impl IntoIterator<Item = &'a String>,
) -> Vec<pb::matcher::StringMatcher> {
    let name = |domain| pb::prefix(&format!("spiffe://{domain}/"));
    domains.into_iter().map(name).collect()
}

/// TLS with the workload's identity, from mesh clients such as `clients` says.
pub fn mesh_server(
    clients: tls::CertificateValidationContext,
    alpn: &[&str],
    params: tls::TlsParameters,
) -> tls::DownstreamTlsContext {
    tls::DownstreamTlsContext {
        require_client_certificate: pb::boolv(true),
        common_tls_context: Some(tls::CommonTlsContext {
            alpn_protocols: alpn.iter().map(|&name| name.to_owned()).collect(),
            tls_params: Some(params),
            tls_certificate_sds_secret_configs: vec![local_agent(WORKLOAD)],
            validation_context_type: Some(combined(clients, local_agent(ROOTS))),
            ..Default::default()
        }),
        ..Default::default()
    }
}
