//! TLS contexts of listeners and clusters.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::bool_or;
use super::context::{Cx, SecretReference};
use super::presence::{harmless, refuse};
use super::secret::{self, SecretSource};
use super::{At, Error, Result};
use super::{matching, pb};
use crate::model::{
    ClientTls, CommonTls, Pin, SanKind, SanMatch, ServerTls, ServerTlsSpec, StaplePolicy,
    StringMatch, TlsVersion, Validation,
};
use arc_swap::ArcSwapOption;
use base64::Engine as _;
use pb::tls as proto;
use std::sync::Arc;
use std::time::Duration;

pub fn server(value: proto::DownstreamTlsContext, cx: &mut Cx<'_>) -> Result<Arc<ServerTls>> {
    use proto::downstream_tls_context::{OcspStaplePolicy, SessionTicketKeysType};
    let staple_policy = match value.ocsp_staple_policy() {
        OcspStaplePolicy::LenientStapling => StaplePolicy::Lenient,
        OcspStaplePolicy::StrictStapling => StaplePolicy::Strict,
        OcspStaplePolicy::MustStaple => StaplePolicy::Must,
    };
    let proto::DownstreamTlsContext {
        common_tls_context,
        require_client_certificate,
        require_sni,
        disable_stateful_session_resumption,
        session_timeout,
        ocsp_staple_policy: _,
        full_scan_certs_on_sni_mismatch,
        prefer_client_ciphers,
        session_ticket_keys_type,
    } = value;
    if bool_or(require_sni, false) {
        return Err(Error::unsupported("require_sni"));
    }
    // How resumption is done and which cipher wins among good ones: rustls decides.
    harmless!(
        disable_stateful_session_resumption,
        session_timeout,
        full_scan_certs_on_sni_mismatch,
        prefer_client_ciphers
    );
    let stateless_resumption = match session_ticket_keys_type {
        None => true,
        Some(SessionTicketKeysType::DisableStatelessSessionResumption(disable)) => !disable,
        Some(SessionTicketKeysType::SessionTicketKeys(_)) => {
            return Err(Error::unsupported("session_ticket_keys"));
        }
        Some(SessionTicketKeysType::SessionTicketKeysSdsSecretConfig(_)) => {
            return Err(Error::unsupported("session_ticket_keys_sds_secret_config"));
        }
    };
    let common = common(common_tls_context.unwrap_or_default(), cx).at("common_tls_context")?;
    if common.certificates.is_empty() {
        return Err(Error::new("needs a certificate").at_field("common_tls_context"));
    }
    // As in Envoy: who is to show a certain certificate, or name, has to show one.
    let validation = &common.validation;
    let certain = !validation.pins.is_empty() || !validation.names.is_empty();
    let asked = certain && !validation.accept_untrusted;
    let tls = Arc::new(ServerTls {
        requires_client_cert: bool_or(require_client_certificate, false) || asked,
        config: ArcSwapOption::empty(),
        spec: ServerTlsSpec {
            common,
            stateless_resumption,
            staple_policy,
        },
    });
    cx.references.server_tls.push(tls.clone());
    Ok(tls)
}

/// Names that follow the request's host (`UpstreamHttpProtocolOptions`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Auto {
    /// `auto_sni`.
    pub sni: bool,
    /// `auto_san_validation`.
    pub san: bool,
}

pub fn client(
    value: proto::UpstreamTlsContext,
    auto: Auto,
    cx: &mut Cx<'_>,
) -> Result<Arc<ClientTls>> {
    let proto::UpstreamTlsContext {
        common_tls_context,
        sni,
        auto_host_sni,
        auto_sni_san_validation,
        allow_renegotiation,
        max_session_keys,
        enforce_rsa_key_usage,
    } = value;
    refuse!(auto_host_sni, auto_sni_san_validation, allow_renegotiation);
    // rustls keeps its own number of sessions and checks key usage anyway.
    harmless!(max_session_keys, enforce_rsa_key_usage);
    let common = common(common_tls_context.unwrap_or_default(), cx).at("common_tls_context")?;
    if auto.san && common.validation.trust.is_none() {
        return Err(
            Error::new("auto_san_validation needs a trusted_ca").at_field("common_tls_context")
        );
    }
    let tls = Arc::new(ClientTls {
        config: ArcSwapOption::empty(),
        sni: (!sni.is_empty()).then(|| sni.into()),
        auto_sni: auto.sni,
        auto_san: auto.san,
        spec: common,
    });
    cx.references.client_tls.push(tls.clone());
    Ok(tls)
}

fn common(value: proto::CommonTlsContext, cx: &mut Cx<'_>) -> Result<CommonTls> {
    use proto::common_tls_context::ValidationContextType;
    let proto::CommonTlsContext {
        tls_params,
        tls_certificates,
        tls_certificate_sds_secret_configs,
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        alpn_protocols,
        custom_handshaker,
        key_log,
        validation_context_type,
    } = value;
    refuse!(
        tls_certificate_provider_instance,
        custom_tls_certificate_selector,
        tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance,
        custom_handshaker,
        key_log,
    );
    let mut certificates = Vec::new();
    for (index, certificate) in tls_certificates.into_iter().enumerate() {
        let source = secret::certificate_source(certificate).nth("tls_certificates", index)?;
        certificates.push(reference(source.name(), source, Duration::ZERO, cx));
    }
    for (index, config) in tls_certificate_sds_secret_configs.into_iter().enumerate() {
        let name = sds(config, cx).nth("tls_certificate_sds_secret_configs", index)?;
        certificates.push(name);
    }
    let validation = match validation_context_type {
        None => Validation::default(),
        Some(ValidationContextType::ValidationContext(context)) => {
            validation(context, cx).at("validation_context")?
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Validation {
            trust: Some(sds(config, cx).at("validation_context_sds_secret_config")?),
            ..Validation::default()
        },
        Some(ValidationContextType::CombinedValidationContext(context)) => {
            combined(context, cx).at("combined_validation_context")?
        }
        Some(_) => return Err(Error::new("certificate providers are not supported")),
    };
    let parameters = parameters(tls_params.unwrap_or_default(), cx).at("tls_params")?;
    Ok(CommonTls {
        alpn: alpn_protocols.into_iter().map(String::into_bytes).collect(),
        certificates,
        validation,
        ..parameters
    })
}

fn combined(
    value: proto::common_tls_context::CombinedCertificateValidationContext,
    cx: &mut Cx<'_>,
) -> Result<Validation> {
    let proto::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context,
        validation_context_sds_secret_config,
        validation_context_certificate_provider,
        validation_context_certificate_provider_instance,
    } = value;
    refuse!(
        validation_context_certificate_provider,
        validation_context_certificate_provider_instance
    );
    let default = default_validation_context.unwrap_or_default();
    if default.crl.is_some() {
        let reason = "belongs beside the trusted_ca, in the discovered validation context";
        return Err(Error::new(reason).at_field("default_validation_context.crl"));
    }
    let mut compiled = validation(default, cx).at("default_validation_context")?;
    let config = validation_context_sds_secret_config
        .ok_or_else(|| Error::missing("validation_context_sds_secret_config"))?;
    // The discovered bundle replaces the default one, as merging does in Envoy.
    compiled.trust = Some(sds(config, cx).at("validation_context_sds_secret_config")?);
    Ok(compiled)
}

pub(super) fn validation(
    value: proto::CertificateValidationContext,
    cx: &mut Cx<'_>,
) -> Result<Validation> {
    use proto::certificate_validation_context::TrustChainVerification;
    let accept_untrusted =
        value.trust_chain_verification() == TrustChainVerification::AcceptUntrusted;
    let proto::CertificateValidationContext {
        trusted_ca,
        ca_certificate_provider_instance,
        system_root_certs,
        watched_directory,
        verify_certificate_spki,
        verify_certificate_hash,
        match_typed_subject_alt_names,
        match_subject_alt_names,
        require_signed_certificate_timestamp,
        crl,
        allow_expired_certificate,
        trust_chain_verification: _,
        custom_validator_config,
        only_verify_leaf_cert_crl,
        max_verify_depth,
        suppress_client_ca_list,
    } = value;
    refuse!(
        ca_certificate_provider_instance,
        require_signed_certificate_timestamp,
        allow_expired_certificate,
        custom_validator_config,
    );
    if trusted_ca.is_none() && crl.is_some() {
        return Err(Error::new("needs a trusted_ca").at_field("crl"));
    }
    // What the server's certificate request lists; webpki bounds a chain's length itself.
    harmless!(suppress_client_ca_list, max_verify_depth);
    let trust = match trusted_ca {
        Some(data) => {
            let source =
                secret::trust_source(data, crl, only_verify_leaf_cert_crl, watched_directory)?;
            Some(reference(source.name(), source, Duration::ZERO, cx))
        }
        None if system_root_certs.is_some() => {
            let source = SecretSource::SystemRoots;
            Some(reference(source.name(), source, Duration::ZERO, cx))
        }
        None => None,
    };
    let mut names = Vec::new();
    for (index, value) in match_typed_subject_alt_names.into_iter().enumerate() {
        names.push(san(value).nth("match_typed_subject_alt_names", index)?);
    }
    for (index, value) in match_subject_alt_names.into_iter().enumerate() {
        names.push(SanMatch {
            kind: SanKind::Any,
            value: matching::string(value).nth("match_subject_alt_names", index)?,
        });
    }
    let mut pins = Vec::new();
    for (index, value) in verify_certificate_hash.iter().enumerate() {
        pins.push(certificate_pin(value).nth("verify_certificate_hash", index)?);
    }
    for (index, value) in verify_certificate_spki.iter().enumerate() {
        pins.push(key_pin(value).nth("verify_certificate_spki", index)?);
    }
    Ok(Validation {
        trust,
        names,
        pins,
        accept_untrusted,
    })
}

/// Hex, with colons between all pairs of digits or without, as Envoy takes it.
fn certificate_pin(value: &str) -> Result<Pin> {
    let pair = |pair: &str| match pair.len() {
        2 => u8::from_str_radix(pair, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = match value.is_ascii() && value.len() == 64 {
        true => (0..32).map(|i| pair(&value[2 * i..2 * i + 2])).collect(),
        false => value.split(':').map(pair).collect(),
    };
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    // `from_str_radix` takes a sign.
    hash.filter(|_| !value.contains('+'))
        .map(Pin::Certificate)
        .ok_or_else(|| {
            Error::new(format!(
                "{value:?} is not a SHA-256 hash in hex (64 digits, or pairs with colons between)"
            ))
        })
}

fn key_pin(value: &str) -> Result<Pin> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok();
    let hash = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    hash.map(Pin::Key).ok_or_else(|| {
        Error::new(format!(
            "{value:?} is not a SHA-256 hash in base64 (44 characters)"
        ))
    })
}

fn san(value: proto::SubjectAltNameMatcher) -> Result<SanMatch> {
    use proto::subject_alt_name_matcher::SanType;
    let kind = match value.san_type() {
        SanType::Unspecified => return Err(Error::missing("san_type")),
        SanType::Email => SanKind::Email,
        SanType::Dns => SanKind::Dns,
        SanType::Uri => SanKind::Uri,
        SanType::IpAddress => SanKind::Ip,
        SanType::OtherName => {
            return Err(Error::new("OTHER_NAME is not supported").at_field("san_type"));
        }
    };
    let proto::SubjectAltNameMatcher {
        san_type: _,
        matcher,
        oid,
    } = value;
    refuse!(oid);
    let value: StringMatch = matcher
        .ok_or_else(|| Error::missing("matcher"))
        .and_then(|value| matching::string(value).at("matcher"))?;
    Ok(SanMatch { kind, value })
}

fn sds(value: proto::SdsSecretConfig, cx: &mut Cx<'_>) -> Result<Box<str>> {
    let (name, source, timeout) = secret::sds_source(value)?;
    Ok(reference(name, source, timeout, cx))
}

fn reference(
    name: Box<str>,
    source: SecretSource,
    fetch_timeout: Duration,
    cx: &mut Cx<'_>,
) -> Box<str> {
    let known = &mut cx.references.secrets;
    if known.iter().all(|secret| secret.name != name) {
        known.push(SecretReference {
            name: name.clone(),
            source,
            fetch_timeout,
        });
    }
    name
}

/// What a context says of versions, cipher suites and key exchange groups, and nothing else.
fn parameters(value: proto::TlsParameters, cx: &mut Cx<'_>) -> Result<CommonTls> {
    use proto::tls_parameters::TlsProtocol;
    let min = match value.tls_minimum_protocol_version() {
        TlsProtocol::TlsAuto | TlsProtocol::TlSv12 => TlsVersion::V1_2,
        TlsProtocol::TlSv13 => TlsVersion::V1_3,
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => {
            // Older peers cannot connect, which is what they would find out anyway.
            cx.notice(
                "TlsParameters.tls_minimum_protocol_version",
                "TLS below 1.2 is not spoken",
            );
            TlsVersion::V1_2
        }
    };
    let max = match value.tls_maximum_protocol_version() {
        TlsProtocol::TlsAuto | TlsProtocol::TlSv13 => TlsVersion::V1_3,
        TlsProtocol::TlSv12 => TlsVersion::V1_2,
        TlsProtocol::TlSv10 | TlsProtocol::TlSv11 => {
            return Err(Error::new("TLS below 1.2 is not supported")
                .at_field("tls_maximum_protocol_version"));
        }
    };
    if max < min {
        return Err(Error::new("is below the minimum").at_field("tls_maximum_protocol_version"));
    }
    let proto::TlsParameters {
        tls_minimum_protocol_version: _,
        tls_maximum_protocol_version: _,
        cipher_suites,
        ecdh_curves,
        signature_algorithms,
        compliance_policies,
    } = value;
    refuse!(signature_algorithms, compliance_policies);
    Ok(CommonTls {
        alpn: Vec::new(),
        certificates: Vec::new(),
        validation: Validation::default(),
        min_version: min,
        max_version: max,
        cipher_suites: cipher_suites.into_iter().map(Into::into).collect(),
        curves: ecdh_curves.into_iter().map(Into::into).collect(),
    })
}
