//! Where certificates and trust bundles come from, and reading them.
#![allow(deprecated)] // Messages are destructured with their deprecated fields.

use super::basic::fetch_timeout;
use super::presence::{harmless, refuse};
use super::{At, Error, Result, pb};
use crate::tls::{Revocation, Secret, Staple};
use pb::core::{ConfigSource, DataSource, config_source::ConfigSourceSpecifier, data_source};
use pb::tls as proto;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes in a file or in the configuration itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Data {
    File(PathBuf),
    Inline(Vec<u8>),
}

impl fmt::Debug for Data {
    /// Inline bytes may be a private key: they are not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::File(path) => write!(f, "File({})", path.display()),
            Data::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

impl Data {
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> std::result::Result<Vec<u8>, String> {
        match self {
            Data::Inline(bytes) => Ok(bytes.clone()),
            Data::File(path) => {
                std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
            }
        }
    }

    fn identity(&self) -> String {
        match self {
            Data::File(path) => path.display().to_string(),
            Data::Inline(bytes) => {
                let digest = Sha256::digest(bytes);
                digest[..8]
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect()
            }
        }
    }

    /// The file, when it is one.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Data::File(path) => Some(path),
            Data::Inline(_) => None,
        }
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The bootstrap's `static_resources.secrets`.
    Fixed,
    /// The ADS stream.
    Ads,
    /// An SDS server of its own, reached by this cluster.
    Sds {
        cluster: Box<str>,
    },
    /// Read again when the files change.
    Certificate {
        chain: Data,
        key: Data,
        /// An OCSP response, DER.
        staple: Option<Data>,
    },
    Trust {
        roots: Data,
        crl: Option<Crl>,
    },
    /// The operating system's trust store.
    SystemRoots,
}

/// Revocation lists beside a trust bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    pub lists: Data,
    pub only_leaf: bool,
}

impl SecretSource {
    /// The name of a secret that has none of its own, in the style of Istio's agent.
    pub fn name(&self) -> Box<str> {
        match self {
            SecretSource::Certificate { chain, key, staple } => {
                let (chain, key) = (chain.identity(), key.identity());
                match staple {
                    None => format!("file-cert:{chain}~{key}").into(),
                    Some(staple) => {
                        format!("file-cert-ocsp:{chain}~{key}~{}", staple.identity()).into()
                    }
                }
            }
            SecretSource::Trust { roots, crl: None } => {
                format!("file-root:{}", roots.identity()).into()
            }
            SecretSource::Trust {
                roots,
                crl: Some(crl),
            } => {
                let part = if crl.only_leaf { "leaf" } else { "chain" };
                let (roots, lists) = (roots.identity(), crl.lists.identity());
                format!("file-root-crl:{roots}~{lists}~{part}").into()
            }
            SecretSource::SystemRoots => "file-root:system".into(),
            SecretSource::Fixed | SecretSource::Ads | SecretSource::Sds { .. } => "".into(),
        }
    }

    /// The files behind it.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            SecretSource::Certificate { chain, key, staple } => {
                let staple = staple.as_ref().and_then(Data::path);
                let parts = [chain.path(), key.path(), staple];
                parts.into_iter().flatten().cloned().collect()
            }
            SecretSource::Trust { roots, crl } => {
                let lists = crl.as_ref().and_then(|crl| crl.lists.path());
                roots.path().into_iter().chain(lists).cloned().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Name, source and fetch timeout of a secret that is discovered.
pub fn sds_source(value: proto::SdsSecretConfig) -> Result<(Box<str>, SecretSource, Duration)> {
    use pb::core::grpc_service::TargetSpecifier;
    let proto::SdsSecretConfig { name, sds_config } = value;
    if name.is_empty() {
        return Err(Error::missing("name"));
    }
    let Some(ConfigSource {
        authorities,
        initial_fetch_timeout,
        resource_api_version: _,
        config_source_specifier,
    }) = sds_config
    else {
        return Ok((name.into(), SecretSource::Fixed, Duration::ZERO));
    };
    refuse!(authorities);
    let timeout = fetch_timeout(initial_fetch_timeout).at("sds_config")?;
    let source = match config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => SecretSource::Ads,
        Some(ConfigSourceSpecifier::ApiConfigSource(api)) => {
            let service = api.grpc_services.into_iter().next();
            match service.and_then(|service| service.target_specifier) {
                Some(TargetSpecifier::EnvoyGrpc(grpc)) => SecretSource::Sds {
                    cluster: grpc.cluster_name.into(),
                },
                _ => {
                    return Err(Error::new("needs grpc_services with envoy_grpc")
                        .at_field("sds_config.api_config_source"));
                }
            }
        }
        _ => return Err(Error::new("only ADS and gRPC are supported").at_field("sds_config")),
    };
    Ok((name.into(), source, timeout))
}

/// Istio's `file-cert:CHAIN~KEY` and `file-root:ROOT` names, which its agent answers by
/// reading the files.
pub fn file_source(name: &str) -> Option<SecretSource> {
    if name == "file-root:system" {
        return Some(SecretSource::SystemRoots);
    }
    if let Some(path) = name.strip_prefix("file-root:") {
        return Some(SecretSource::Trust {
            roots: Data::File(path.into()),
            crl: None,
        });
    }
    let (chain, key) = name.strip_prefix("file-cert:")?.split_once('~')?;
    Some(SecretSource::Certificate {
        chain: Data::File(chain.into()),
        key: Data::File(key.into()),
        staple: None,
    })
}

fn data(value: DataSource) -> Result<Data> {
    use data_source::Specifier;
    let DataSource {
        // Files are looked at again by their time of change, wherever they are.
        watched_directory: _,
        specifier,
    } = value;
    Ok(match specifier {
        None => return Err(Error::new("is empty")),
        Some(Specifier::Filename(path)) => Data::File(path.into()),
        Some(Specifier::InlineBytes(bytes)) => Data::Inline(bytes),
        Some(Specifier::InlineString(text)) => Data::Inline(text.into_bytes()),
        Some(Specifier::EnvironmentVariable(name)) => Data::Inline(
            std::env::var(&name)
                .map_err(|_| Error::new(format!("{name} is not set")))
                .at("environment_variable")?
                .into_bytes(),
        ),
    })
}

pub fn certificate_source(value: proto::TlsCertificate) -> Result<SecretSource> {
    let proto::TlsCertificate {
        certificate_chain,
        private_key,
        pkcs12,
        watched_directory,
        private_key_provider,
        password,
        ocsp_staple,
        signed_certificate_timestamp,
        tls_params,
    } = value;
    refuse!(
        pkcs12,
        private_key_provider,
        password,
        signed_certificate_timestamp,
        tls_params
    );
    harmless!(watched_directory);
    Ok(SecretSource::Certificate {
        chain: certificate_chain
            .ok_or_else(|| Error::missing("certificate_chain"))
            .and_then(|value| data(value).at("certificate_chain"))?,
        key: private_key
            .ok_or_else(|| Error::missing("private_key"))
            .and_then(|value| data(value).at("private_key"))?,
        staple: ocsp_staple.map(staple).transpose().at("ocsp_staple")?,
    })
}

fn staple(value: DataSource) -> Result<Data> {
    if let Some(data_source::Specifier::InlineString(_)) = value.specifier {
        // Envoy refuses it, too.
        return Err(
            Error::new("is DER: give it as filename or inline_bytes").at_field("inline_string")
        );
    }
    data(value)
}

/// `trusted_ca` and the fields that belong to it.
pub fn trust_source(
    value: DataSource,
    crl: Option<DataSource>,
    only_leaf: bool,
    watched_directory: Option<pb::core::WatchedDirectory>,
) -> Result<SecretSource> {
    harmless!(watched_directory);
    let lists = crl.map(data).transpose().at("crl")?;
    Ok(SecretSource::Trust {
        roots: data(value).at("trusted_ca")?,
        crl: lists.map(|lists| Crl { lists, only_leaf }),
    })
}

/// Where the content of a discovered `Secret` is: inline mostly, or in files.
pub fn secret_source(value: proto::Secret) -> Result<SecretSource> {
    use proto::secret::Type;
    let proto::Secret { name: _, r#type } = value;
    match r#type {
        None => Err(Error::new("is empty")),
        Some(Type::TlsCertificate(value)) => certificate_source(value).at("tls_certificate"),
        Some(Type::ValidationContext(mut value)) => {
            let trusted_ca = value.trusted_ca.take();
            let system = value.system_root_certs.take();
            let watched = value.watched_directory.take();
            let crl = value.crl.take();
            let only_leaf = std::mem::take(&mut value.only_verify_leaf_cert_crl);
            if value != proto::CertificateValidationContext::default() {
                return Err(Error::new(
                    "only trusted_ca and crl are supported in a discovered validation context",
                )
                .at_field("validation_context"));
            }
            match trusted_ca {
                Some(data) => trust_source(data, crl, only_leaf, watched).at("validation_context"),
                None if crl.is_some() => {
                    Err(Error::new("needs a trusted_ca").at_field("validation_context.crl"))
                }
                None if system.is_some() => Ok(SecretSource::SystemRoots),
                None => Err(Error::missing("validation_context.trusted_ca")),
            }
        }
        Some(Type::SessionTicketKeys(_)) => Err(Error::unsupported("session_ticket_keys")),
        Some(Type::GenericSecret(_)) => Err(Error::unsupported("generic_secret")),
    }
}

/// Reads and parses what the source points at; `None` for discovered ones.
pub fn load(source: &SecretSource) -> std::result::Result<Option<Secret>, String> {
    match source {
        SecretSource::Certificate { chain, key, staple } => {
            let chain = certificates(&chain.read()?)?;
            let key = PrivateKeyDer::from_pem_slice(&key.read()?)
                .map_err(|error| format!("private key: {error}"))?;
            let staple = staple.as_ref().map(Data::read).transpose()?;
            let staple = staple
                .filter(|response| !response.is_empty())
                .map(Staple::parse)
                .transpose()
                .map_err(|error| format!("ocsp_staple: {error}"))?;
            Ok(Some(Secret::Certificate { chain, key, staple }))
        }
        SecretSource::Trust { roots, crl } => Ok(Some(Secret::Trust {
            roots: certificates(&roots.read()?)?,
            revocation: crl.as_ref().map(revocation).transpose()?,
        })),
        SecretSource::SystemRoots => Ok(Some(Secret::Trust {
            roots: certificates(&system_roots()?)?,
            revocation: None,
        })),
        SecretSource::Fixed | SecretSource::Ads | SecretSource::Sds { .. } => Ok(None),
    }
}

fn certificates(pem: &[u8]) -> std::result::Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| format!("certificates: {error}"))?;
    if chain.is_empty() {
        return Err("holds no PEM certificate".to_owned());
    }
    Ok(chain)
}

fn revocation(crl: &Crl) -> std::result::Result<Revocation, String> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&crl.lists.read()?)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| format!("revocation lists: {error}"))?;
    if lists.is_empty() {
        return Err("holds no PEM revocation list".to_owned());
    }
    Ok(Revocation {
        lists,
        only_leaf: crl.only_leaf,
    })
}

/// The bundle files of the common distributions, in Envoy's order.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn system_roots() -> std::result::Result<Vec<u8>, String> {
    SYSTEM_ROOTS
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .ok_or_else(|| format!("no system trust store in any of {SYSTEM_ROOTS:?}"))
}
