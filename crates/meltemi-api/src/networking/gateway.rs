//! Gateway: ports and certificates of an edge proxy.

use std::collections::BTreeMap;

use super::Port;
use crate::proto::{enumeration, message};

message! {
    /// Servers of an edge proxy (Istio: `Gateway`).
    pub struct Gateway {
        /// Labels of the gateway workloads.
        pub selector: BTreeMap<String, String>,
        /// Servers.
        pub servers: Vec<Server>,
    }

    /// A port with its hosts (Istio: `Server`).
    pub struct Server {
        /// Where it listens.
        pub port: Option<Port>,
        /// Address to listen on; all when empty.
        pub bind: String,
        /// `host`, `namespace/host`, `./host`, `*/host`; `*.` wildcards allowed.
        pub hosts: Vec<String>,
        /// TLS; required for HTTPS and TLS ports.
        pub tls: Option<ServerTlsSettings>,
        /// Not implemented by Istio.
        pub default_endpoint: String,
        /// Optional name, unique in the mesh, used in statistics.
        pub name: String,
    }

    /// TLS of the server side (Istio: `ServerTLSSettings`).
    pub struct ServerTlsSettings {
        /// Answer 301 to https on a plaintext port.
        pub https_redirect: bool,
        /// Kind of TLS.
        pub mode: ServerTlsMode,
        /// Path of the certificate chain.
        pub server_certificate: String,
        /// Path of the key.
        pub private_key: String,
        /// Path of the CA certificates for clients.
        pub ca_certificates: String,
        /// Path of the revocation list.
        pub ca_crl: String,
        /// Secret with key and certificate.
        pub credential_name: String,
        /// Several secrets (for example RSA and ECDSA).
        pub credential_names: Vec<String>,
        /// Secret or ConfigMap with the CA certificates for clients.
        pub ca_cert_credential_name: String,
        /// Several certificates by path.
        pub tls_certificates: Vec<TlsCertificate>,
        /// Names, one of which the client's certificate must have.
        pub subject_alt_names: Vec<String>,
        /// Base64 SHA-256 of accepted client keys.
        pub verify_certificate_spki: Vec<String>,
        /// Hex SHA-256 of accepted client certificates.
        pub verify_certificate_hash: Vec<String>,
        /// Lowest TLS version.
        pub min_protocol_version: TlsProtocol,
        /// Highest TLS version.
        pub max_protocol_version: TlsProtocol,
        /// Cipher suites by OpenSSL name.
        pub cipher_suites: Vec<String>,
        /// Key exchange groups.
        pub ecdh_curves: Vec<String>,
        /// Do not verify the client's certificate.
        pub insecure_skip_verify: Option<bool>,
    }

    /// A certificate by path (Istio: `ServerTLSSettings.TLSCertificate`).
    pub struct TlsCertificate {
        /// Path of the certificate chain.
        pub server_certificate: String,
        /// Path of the key.
        pub private_key: String,
        /// Path of the CA certificates.
        pub ca_certificates: String,
    }
}

enumeration! {
    /// Kind of TLS of a server.
    pub enum ServerTlsMode {
        /// Routed by SNI, not terminated.
        Passthrough = "PASSTHROUGH",
        /// Server certificate only.
        Simple = "SIMPLE",
        /// Client certificate required.
        Mutual = "MUTUAL",
        /// Routed by SNI to a mesh service without a VirtualService.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// Client must have a mesh identity.
        IstioMutual = "ISTIO_MUTUAL",
        /// Client certificate verified if sent.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }

    /// TLS versions.
    pub enum TlsProtocol {
        /// Chosen by the proxy.
        TlsAuto = "TLS_AUTO",
        /// TLS 1.0.
        TlsV10 = "TLSV1_0",
        /// TLS 1.1.
        TlsV11 = "TLSV1_1",
        /// TLS 1.2.
        TlsV12 = "TLSV1_2",
        /// TLS 1.3.
        TlsV13 = "TLSV1_3",
    }
}
