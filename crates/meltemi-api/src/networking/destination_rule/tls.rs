//! TLS towards the endpoints.

use crate::proto::{enumeration, message};

message! {
    /// TLS of the client side (Istio: `ClientTLSSettings`).
    pub struct ClientTlsSettings {
        /// Kind of TLS.
        pub mode: ClientTlsMode,
        /// Path of the certificate chain (MUTUAL).
        pub client_certificate: String,
        /// Path of the key (MUTUAL).
        pub private_key: String,
        /// Path of the CA certificates; the system's when empty.
        pub ca_certificates: String,
        /// Path of the revocation list.
        pub ca_crl: String,
        /// Secret with key, certificate and CA; excludes the paths.
        pub credential_name: String,
        /// Names, one of which the server's certificate must have.
        pub subject_alt_names: Vec<String>,
        /// Server name sent.
        pub sni: String,
        /// Do not verify the server's certificate.
        pub insecure_skip_verify: Option<bool>,
    }
}

enumeration! {
    /// Kind of TLS towards the endpoints.
    pub enum ClientTlsMode {
        /// Plaintext.
        Disable = "DISABLE",
        /// Server certificate only.
        Simple = "SIMPLE",
        /// With a client certificate of the user's.
        Mutual = "MUTUAL",
        /// With the workload's identity.
        IstioMutual = "ISTIO_MUTUAL",
    }
}
