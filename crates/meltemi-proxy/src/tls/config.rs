//! rustls configurations from TLS contexts and secrets. A rotated secret makes a new
//! configuration, and with it new ticket keys and an empty session cache: sessions are never
//! resumed across a change of certificate or trust.

use super::known::KnownChains;
use super::staple::{self, Action, Staple};
use super::verify::{ClientVerifier, ServerVerifier};
use super::{Secret, identity, sessions, suites};
use crate::model::{ClientTlsConfigs, CommonTls, Pin, ServerTls, StaplePolicy, Validation};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Finds a secret by its name; `None` while it has not arrived.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Arc<Secret>>;

/// Tickets sent after a TLS 1.3 handshake: a proxy resumes with one (rustls: 2).
const TICKETS: usize = 1;
/// Sessions that a server keeps for resumption when tickets are off.
const SESSIONS: usize = 1024;

/// Istio's `istio.alpn` override of an HTTP/1.1 and an HTTP/2 upstream connection.
pub const ISTIO_HTTP11: &[&[u8]] = &[b"istio-http/1.1", b"istio", b"http/1.1"];
pub const ISTIO_HTTP2: &[&[u8]] = &[b"istio-h2", b"istio", b"h2"];

/// The server side of a context.
///
/// # Errors
/// A secret that is missing or of the wrong sort, a key that does not fit its certificate,
/// an unknown cipher suite: by name, with what to do.
pub fn server_config(tls: &ServerTls, lookup: Lookup<'_>) -> Result<Arc<ServerConfig>, String> {
    let common = &tls.spec.common;
    let provider = suites::provider(common)?;
    let keys = keys(common, lookup, &provider)?;
    if keys.is_empty() {
        return Err(
            "a server needs a certificate: tls_certificates or tls_certificate_sds_secret_configs"
                .into(),
        );
    }
    let keys = server_keys(common, keys, tls.spec.staple_policy, lookup)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(suites::versions(common)?)
        .map_err(|error| error.to_string())?;
    let validation = &common.validation;
    let trust = trust(common, lookup)?;
    let builder = match trust {
        None if !tls.requires_client_cert && !validation.accept_untrusted => {
            builder.with_no_client_auth()
        }
        trust => {
            let known = known_chains(trust.as_ref());
            let inner = match trust {
                Some(trust) if !validation.accept_untrusted => {
                    let mut verifier =
                        WebPkiClientVerifier::builder_with_provider(trust.roots, provider.clone());
                    if let Secret::Trust {
                        revocation: Some(revocation),
                        ..
                    } = &*trust.secret
                    {
                        verifier = verifier
                            .with_crls(revocation.lists.iter().cloned())
                            .enforce_revocation_expiration();
                        if revocation.only_leaf {
                            verifier = verifier.only_check_end_entity_revocation();
                        }
                    }
                    let verifier = if tls.requires_client_cert {
                        verifier
                    } else {
                        verifier.allow_unauthenticated()
                    };
                    Some(
                        verifier
                            .build()
                            .map_err(|error| format!("trust bundle: {error}"))?,
                    )
                }
                _ => None,
            };
            builder.with_client_cert_verifier(Arc::new(ClientVerifier {
                inner,
                known,
                names: validation.names.clone(),
                pins: pins(validation),
                mandatory: tls.requires_client_cert,
                algorithms: provider.signature_verification_algorithms,
            }))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(ServerKeys(keys)));
    config.alpn_protocols = common.alpn.clone();
    config.enable_secret_extraction = true;
    config.send_tls13_tickets = TICKETS;
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
    if tls.spec.stateless_resumption {
        config.ticketer =
            aws_lc_rs::Ticketer::new().map_err(|error| format!("session tickets: {error}"))?;
    }
    Ok(Arc::new(config))
}

/// The client side of a context. `generation` counts the changes of its secrets.
///
/// # Errors
/// As [`server_config`].
pub fn client_configs(
    common: &CommonTls,
    lookup: Lookup<'_>,
    generation: u64,
) -> Result<ClientTlsConfigs, String> {
    let provider = suites::provider(common)?;
    let keys = keys(common, lookup, &provider)?;
    let trust = trust(common, lookup)?.filter(|_| !common.validation.accept_untrusted);
    let known = known_chains(trust.as_ref());
    let inner = trust.map(|trust| server_verifier(trust, &provider));
    let inner = inner.transpose()?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(suites::versions(common)?)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier {
            inner,
            known,
            names: common.validation.names.clone(),
            pins: pins(&common.validation),
            algorithms: provider.signature_verification_algorithms,
        }));
    let end = keys.iter().filter_map(|key| key.not_after).min();
    let mut own = if keys.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(ClientKeys(keys)))
    };
    own.resumption = sessions::resumption(end);
    own.enable_secret_extraction = true;
    own.alpn_protocols = common.alpn.clone();
    let with = |protocols: &[&[u8]]| {
        let mut config = own.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // A session belongs to its protocol: a store of its own.
        config.resumption = sessions::resumption(end);
        Arc::new(config)
    };
    let listed = !common.alpn.is_empty();
    let shared = Arc::new(own.clone());
    let fallback = |protocols: &[&[u8]]| match listed {
        true => shared.clone(),
        false => with(protocols),
    };
    Ok(ClientTlsConfigs {
        generation,
        istio_http11: with(ISTIO_HTTP11),
        istio_http2: with(ISTIO_HTTP2),
        plain_http11: fallback(&[b"http/1.1"]),
        plain_http2: fallback(&[b"h2"]),
        plain_either: fallback(&[b"h2", b"http/1.1"]),
        own: shared,
    })
}

fn find(lookup: Lookup<'_>, name: &str) -> Result<Arc<Secret>, String> {
    lookup(name).ok_or_else(|| format!("secret `{name}` has not arrived"))
}

fn server_verifier(
    trust: Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut verifier = WebPkiServerVerifier::builder_with_provider(trust.roots, provider.clone());
    if let Secret::Trust {
        revocation: Some(revocation),
        ..
    } = &*trust.secret
    {
        verifier = verifier
            .with_crls(revocation.lists.iter().cloned())
            .enforce_revocation_expiration();
        if revocation.only_leaf {
            verifier = verifier.only_check_end_entity_revocation();
        }
    }
    verifier
        .build()
        .map_err(|error| format!("trust bundle: {error}"))
}

/// A trust bundle, ready to verify with.
struct Trust {
    roots: Arc<RootCertStore>,
    secret: Arc<Secret>,
}

/// Where a verifier may remember what it found good: not beside revocation lists, which end.
fn known_chains(trust: Option<&Trust>) -> Option<KnownChains> {
    let lists = |trust: &Trust| {
        matches!(
            &*trust.secret,
            Secret::Trust {
                revocation: Some(_),
                ..
            }
        )
    };
    trust
        .is_some_and(|trust| !lists(trust))
        .then(KnownChains::default)
}

/// As in Envoy, who accepts untrusted certificates accepts those that are not pinned.
fn pins(validation: &Validation) -> Vec<Pin> {
    match validation.accept_untrusted {
        true => Vec::new(),
        false => validation.pins.clone(),
    }
}

fn trust(common: &CommonTls, lookup: Lookup<'_>) -> Result<Option<Trust>, String> {
    let Some(name) = &common.validation.trust else {
        if !common.validation.names.is_empty() {
            // Envoy refuses it, too: anybody can make a certificate with any name.
            return Err("match_typed_subject_alt_names without a trusted_ca verifies nothing; name a trust bundle".into());
        }
        return Ok(None);
    };
    let secret = find(lookup, name)?;
    let Secret::Trust { roots, .. } = &*secret else {
        return Err(format!(
            "secret `{name}` is a certificate, a trust bundle is needed"
        ));
    };
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        store
            .add(root.clone())
            .map_err(|error| format!("trust bundle `{name}`: certificate {index}: {error}"))?;
    }
    if store.is_empty() {
        return Err(format!("trust bundle `{name}` is empty"));
    }
    Ok(Some(Trust {
        roots: Arc::new(store),
        secret,
    }))
}

fn keys(
    common: &CommonTls,
    lookup: Lookup<'_>,
    provider: &CryptoProvider,
) -> Result<Vec<Key>, String> {
    common
        .certificates
        .iter()
        .map(|name| {
            let secret = find(lookup, name)?;
            let Secret::Certificate { chain, key, .. } = &*secret else {
                return Err(format!(
                    "secret `{name}` is a trust bundle, a certificate is needed"
                ));
            };
            let signing = provider
                .key_provider
                .load_private_key(key.clone_key())
                .map_err(|error| format!("certificate `{name}`: private key: {error}"))?;
            let certified = CertifiedKey::new(chain.clone(), signing);
            certified
                .keys_match()
                .map_err(|error| format!("certificate `{name}`: {error}"))?;
            let leaf = chain.first().and_then(identity::parse);
            let not_after = leaf.as_ref().map(|leaf| leaf.not_after);
            let (names, uri) = leaf.map_or_else(Default::default, |leaf| (leaf.dns, leaf.uri));
            Ok(Key {
                certified: Arc::new(certified),
                names,
                uri,
                not_after,
            })
        })
        .collect()
}

#[derive(Debug)]
struct Key {
    certified: Arc<CertifiedKey>,
    names: Vec<Arc<str>>,
    uri: Option<Arc<str>>,
    /// Seconds since 1970.
    not_after: Option<i64>,
}

/// A server's certificate, and how it goes with an OCSP response.
#[derive(Debug)]
struct ServerKey {
    key: Key,
    staple: Option<Staple>,
    /// The certificate with its response; rustls sends it to those who ask.
    stapled: Option<Arc<CertifiedKey>>,
    policy: StaplePolicy,
}

impl ServerKey {
    fn action(&self) -> Action {
        staple::action(self.policy, self.staple.as_ref())
    }
}

fn server_keys(
    common: &CommonTls,
    keys: Vec<Key>,
    policy: StaplePolicy,
    lookup: Lookup<'_>,
) -> Result<Vec<ServerKey>, String> {
    let named = common.certificates.iter().zip(keys);
    named
        .map(|(name, key)| {
            let secret = find(lookup, name)?;
            let staple = match &*secret {
                Secret::Certificate { staple, .. } => staple.clone(),
                Secret::Trust { .. } => None,
            };
            server_key(key, staple, policy)
                .map_err(|error| format!("certificate `{name}`: {error}"))
        })
        .collect()
}

fn server_key(
    key: Key,
    staple: Option<Staple>,
    policy: StaplePolicy,
) -> Result<ServerKey, &'static str> {
    let leaf = key.certified.cert.first();
    let leaf = leaf.and_then(|leaf| X509Certificate::from_der(leaf).ok());
    let leaf = leaf.as_ref().map(|(_, leaf)| leaf);
    let must = leaf.is_some_and(staple::is_must_staple);
    match &staple {
        None if must => return Err("is a must-staple certificate: it needs an ocsp_staple"),
        None if policy == StaplePolicy::Must => {
            return Err("needs an ocsp_staple, because ocsp_staple_policy is MUST_STAPLE");
        }
        Some(staple) if !leaf.is_some_and(|leaf| staple.is_for(leaf)) => {
            return Err("its ocsp_staple is about another certificate");
        }
        _ => {}
    }
    let stapled = staple.as_ref().map(|staple| {
        let mut stapled = CertifiedKey::clone(&key.certified);
        stapled.ocsp = Some(staple.response.clone());
        Arc::new(stapled)
    });
    Ok(ServerKey {
        key,
        staple,
        stapled,
        policy: if must { StaplePolicy::Must } else { policy },
    })
}

/// What became of the choice of a server's certificate.
pub(super) struct Choice {
    /// The certificate's URI name.
    pub uri: Option<Arc<str>>,
    /// `None` for a client that does not ask for an OCSP response.
    pub staple: Option<Action>,
}

thread_local! {
    static CHOICE: RefCell<Option<Choice>> = const { RefCell::new(None) };
    static ASKS: Cell<bool> = const { Cell::new(false) };
}

/// What the last handshake started on this thread chose. rustls does not tell which
/// certificate it was, but it asks the resolver while it takes the ClientHello in, so reading
/// this right after is exact.
pub(super) fn take_choice() -> Option<Choice> {
    CHOICE.take()
}

/// Whether the client whose ClientHello this thread takes in next asks for an OCSP response:
/// rustls does not tell the resolver.
pub(super) fn asks_for_staple(asks: bool) {
    ASKS.set(asks);
}

impl Key {
    fn can_sign(&self, schemes: &[SignatureScheme]) -> bool {
        self.certified.key.choose_scheme(schemes).is_some()
    }

    fn is_for(&self, server_name: &str) -> bool {
        self.names
            .iter()
            .any(|name| super::verify::dns_matches(name, server_name))
    }
}

/// Of several certificates: one with the requested name and a key the client can verify,
/// else the first with such a key, else the first. One that lacks the OCSP response that it
/// should have gives way to another with the requested name only, as in Envoy.
#[derive(Debug)]
struct ServerKeys(Vec<ServerKey>);

impl ResolvesServerCert for ServerKeys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = |key: &&ServerKey| !ASKS.get() || key.action() != Action::Refuse;
        let fits = |key: &&ServerKey| key.key.can_sign(hello.signature_schemes());
        let named = hello.server_name().and_then(|name| {
            let mut usable = self.0.iter().filter(fits).filter(shown);
            usable.find(|key| key.key.is_for(name))
        });
        let key = named.or_else(|| self.0.iter().find(fits).or(self.0.first()))?;
        let staple = ASKS.get().then(|| key.action());
        CHOICE.set(Some(Choice {
            uri: key.key.uri.clone(),
            staple,
        }));
        match (staple, &key.stapled) {
            (Some(Action::Refuse), _) => None,
            (Some(Action::Staple), Some(stapled)) => Some(stapled.clone()),
            _ => Some(key.key.certified.clone()),
        }
    }
}

#[derive(Debug)]
struct ClientKeys(Vec<Key>);

impl ResolvesClientCert for ClientKeys {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0
            .iter()
            .find(|key| key.can_sign(schemes))
            .map(|key| key.certified.clone())
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
