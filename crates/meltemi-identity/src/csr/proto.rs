//! The messages of `istio.v1.auth` (Istio's `security/v1alpha1/ca.proto`).

/// `IstioCertificateRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// PKCS #10 request, PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Wanted lifetime in seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// What the caller says about itself.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<prost_types::Struct>,
}

/// `IstioCertificateResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM: the leaf, intermediates, and last the root or roots.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}

/// Name of the service.
pub const SERVICE: &str = "istio.v1.auth.IstioCertificateService";
/// Path of its only method.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
