//! TLS to a cluster's endpoints: automatic mesh mTLS, or what a DestinationRule says.

use meltemi_api::networking::{
    ClientTlsMode, ClientTlsSettings, ProxyProtocolVersion, TrafficPolicy,
};
use meltemi_registry::{Port, Resolution, Service};

use super::Discovery;
use super::traffic_policy::{Http, Version};
use crate::issue::Issues;
use crate::names;
use crate::pb::{self, cluster, core, structs, tls};
use crate::proxy::{Proxy, ProxyKind};
use crate::sds::{self, RAW_SOCKET, TLS_SOCKET};
use crate::tls_params;
use crate::world::destination_rule::Rule;
use crate::world::mesh::Mesh;
use crate::world::peer_authentication::MtlsMode;
use crate::world::scope::Scope;

pub struct Input<'a> {
    pub scope: &'a Scope<'a>,
    pub proxy: &'a Proxy,
    pub service: &'a Service,
    pub port: &'a Port,
    pub subset: &'a str,
    pub policy: &'a TrafficPolicy,
    /// `None`: the workloads take no mesh mTLS, or it is not known that all do.
    pub mesh_mode: Option<MtlsMode>,
    pub rule: Option<&'a Rule>,
    /// The policy's path in the rule.
    pub field: &'a str,
}

pub fn apply(
    cluster: &mut cluster::Cluster,
    http: &mut Http,
    input: &Input<'_>,
    discovery: Discovery,
    issues: &mut Issues,
) {
    let mesh = |http: &Http, names: Option<&ClientTlsSettings>| {
        let given = names.filter(|tls| !tls.subject_alt_names.is_empty());
        let identities = match given {
            Some(tls) => tls.subject_alt_names.iter().cloned().collect(),
            None => input.service.identities.clone(),
        };
        let sni = names.map_or("", |tls| tls.sni.as_str());
        let sni = if sni.is_empty() {
            names::outbound_sni(input.port.number, input.subset, &input.service.hostname)
        } else {
            sni.to_owned()
        };
        let context = sds::mesh_client(&identities, &sni, http.version == Version::Http2);
        pb::transport_socket(TLS_SOCKET, &context)
    };
    match &input.policy.tls {
        None => {
            if input.scope.world.mesh.auto_mtls && input.mesh_mode.is_some() {
                let socket = mesh(http, None);
                if discovery == Discovery::OriginalDestination {
                    // No endpoint carries a mark here; all are known to take mTLS.
                    cluster.transport_socket = Some(socket);
                } else {
                    cluster.transport_socket_matches = automatic(socket);
                }
            }
        }
        Some(settings) => match settings.mode {
            ClientTlsMode::Disable => {}
            ClientTlsMode::IstioMutual => {
                cluster.transport_socket = Some(mesh(http, Some(settings)));
            }
            ClientTlsMode::Simple | ClientTlsMode::Mutual => {
                let context = custom(settings, http, input, issues);
                cluster.transport_socket = Some(pb::transport_socket(TLS_SOCKET, &context));
            }
        },
    }
    if let Some(protocol) = &input.policy.proxy_protocol {
        wrap_in_proxy_protocol(cluster, protocol.version);
    }
}

/// mTLS to endpoints that are marked to take it, plaintext to the others.
fn automatic(socket: core::TransportSocket) -> Vec<cluster::cluster::TransportSocketMatch> {
    vec![
        cluster::cluster::TransportSocketMatch {
            name: "tlsMode-istio".to_owned(),
            r#match: Some(structs::structure([("tlsMode", structs::string("istio"))])),
            transport_socket: Some(socket),
        },
        cluster::cluster::TransportSocketMatch {
            name: "tlsMode-disabled".to_owned(),
            r#match: Some(structs::structure([])),
            transport_socket: Some(pb::raw_buffer(RAW_SOCKET)),
        },
    ]
}

/// TLS to a server that is not part of the mesh.
fn custom(
    settings: &ClientTlsSettings,
    http: &mut Http,
    input: &Input<'_>,
    issues: &mut Issues,
) -> tls::UpstreamTlsContext {
    let skip_verification = skips_verification(settings);
    if skip_verification && let Some(rule) = input.rule {
        issues.add(
            &rule.key,
            format!("{}.tls.insecureSkipVerify", input.field),
            "the server's certificate is not verified: anyone on the path can answer in its place",
        );
    }
    if !settings.credential_name.is_empty()
        && input.proxy.kind == ProxyKind::Sidecar
        && input.rule.is_some_and(|rule| rule.selector.is_empty())
        && let Some(rule) = input.rule
    {
        issues.add(
            &rule.key,
            format!("{}.tls.credentialName", input.field),
            "sidecars get Secrets only through a rule with workloadSelector; add one, or give files. Connections fail until then",
        );
    }
    if settings.sni.is_empty() {
        // The server is asked for, and has to be, the host that the request names.
        http.auto_sni = true;
        http.auto_san_validation = settings.subject_alt_names.is_empty() && !skip_verification;
    }
    let mut context = client(
        &input.scope.world.mesh,
        settings,
        http.version == Version::Http2,
    );
    if input.service.resolution == Resolution::DynamicDns && !context.sni.is_empty() {
        context.sni.clear();
        if let Some(rule) = input.rule {
            issues.add(
                &rule.key,
                format!("{}.tls.sni", input.field),
                "has no effect with DYNAMIC_DNS: the host that a request names is sent",
            );
        }
    }
    context
}

fn skips_verification(settings: &ClientTlsSettings) -> bool {
    settings.insecure_skip_verify.unwrap_or(false)
}

/// Whether the host that a request names is sent as SNI and has to stand in the server's
/// certificate, for clusters that connect to what requests name. Peers of the mesh are known by
/// their identity.
pub fn names_by_request(settings: &ClientTlsSettings) -> core::UpstreamHttpProtocolOptions {
    let by_identity = settings.mode == ClientTlsMode::IstioMutual;
    core::UpstreamHttpProtocolOptions {
        auto_sni: true,
        auto_san_validation: !by_identity && !skips_verification(settings),
        ..Default::default()
    }
}

/// The server is not part of the mesh: it is not spoken to as a sidecar is.
pub fn is_custom(settings: &ClientTlsSettings) -> bool {
    matches!(settings.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
}

/// The transport to hosts that no service has; `None`: plaintext.
pub fn to_unknown_hosts(
    mesh: &Mesh,
    settings: &ClientTlsSettings,
) -> Option<core::TransportSocket> {
    let context = match settings.mode {
        ClientTlsMode::Disable => return None,
        ClientTlsMode::IstioMutual => {
            let identities = settings.subject_alt_names.iter().cloned().collect();
            sds::mesh_client(&identities, &settings.sni, false)
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual => tls::UpstreamTlsContext {
            sni: String::new(),
            ..client(mesh, settings, false)
        },
    };
    Some(pb::transport_socket(TLS_SOCKET, &context))
}

/// A client's context as settings say.
fn client(mesh: &Mesh, settings: &ClientTlsSettings, http2: bool) -> tls::UpstreamTlsContext {
    let mutual = settings.mode == ClientTlsMode::Mutual;
    let mut common = tls::CommonTlsContext {
        tls_params: Some(tls_params::of_client(mesh)),
        ..Default::default()
    };
    if http2 {
        common.alpn_protocols.push("h2".to_owned());
    }
    let verifies = !skips_verification(settings);
    let names: Vec<_> = settings
        .subject_alt_names
        .iter()
        .map(|name| pb::exact(name))
        .collect();
    if !settings.credential_name.is_empty() {
        let secret = &settings.credential_name;
        if mutual {
            common
                .tls_certificate_sds_secret_configs
                .push(sds::kubernetes(secret));
        }
        if verifies {
            common.validation_context_type = Some(sds::combined(
                sds::validation(names),
                sds::kubernetes(&format!("{secret}-cacert")),
            ));
        }
    } else {
        if mutual {
            common.tls_certificates.push(sds::file_certificate(
                &settings.client_certificate,
                &settings.private_key,
            ));
        }
        if verifies {
            let roots =
                if settings.ca_certificates.is_empty() || settings.ca_certificates == "system" {
                    sds::SYSTEM_ROOTS
                } else {
                    &settings.ca_certificates
                };
            common.validation_context_type = Some(
                tls::common_tls_context::ValidationContextType::ValidationContext(
                    tls::CertificateValidationContext {
                        trusted_ca: Some(sds::file(roots)),
                        crl: (!settings.ca_crl.is_empty()).then(|| sds::file(&settings.ca_crl)),
                        ..sds::validation(names)
                    },
                ),
            );
        }
    }
    tls::UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: settings.sni.clone(),
        ..Default::default()
    }
}

/// Says the client's address to the server before anything else.
fn wrap_in_proxy_protocol(cluster: &mut cluster::Cluster, version: ProxyProtocolVersion) {
    use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
    let version = match version {
        ProxyProtocolVersion::V1 => core::proxy_protocol_config::Version::V1,
        ProxyProtocolVersion::V2 => core::proxy_protocol_config::Version::V2,
    };
    let wrap = |inner: core::TransportSocket| {
        pb::transport_socket(
            "envoy.transport_sockets.upstream_proxy_protocol",
            &ProxyProtocolUpstreamTransport {
                config: Some(core::ProxyProtocolConfig {
                    version: version as i32,
                    ..Default::default()
                }),
                transport_socket: Some(inner),
                ..Default::default()
            },
        )
    };
    if cluster.transport_socket_matches.is_empty() {
        let inner = cluster
            .transport_socket
            .take()
            .unwrap_or_else(|| pb::raw_buffer("raw_buffer"));
        cluster.transport_socket = Some(wrap(inner));
    } else {
        for matching in &mut cluster.transport_socket_matches {
            matching.transport_socket = matching.transport_socket.take().map(wrap);
        }
    }
}
