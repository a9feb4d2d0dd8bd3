//! Identity: SPIFFE ids, the certificate authority, the service that signs
//! certificate requests, and the client that keeps a workload's certificate
//! fresh.
//!
//! Control-plane side: a [`Store`] keeps the CA's key, an [`Authority`] signs, a
//! [`CsrService`] decides by its [`Authenticator`]s who is asking. Proxy side:
//! [`WorkloadCertificates`] makes keys, asks for certificates and publishes them.
//!
//! Not here: TLS configurations (the proxy builds them from what is published),
//! and any knowledge of where workloads run.

#![deny(unsafe_code)]

mod authority;
mod bundle;
mod csr;
mod spiffe;
mod store;
mod workload;

pub use authority::{
    Authority, AuthorityError, AuthorityOptions, CaState, Count, Issued, RootRole, RootState,
    RotateError, ServingCertificate, SignError, Tally,
};
pub use bundle::{BundleError, TrustBundle, pem};
pub use csr::{
    Authenticator, Caller, CsrService, JoinToken, JoinTokenError, JoinTokens, LocalCredentials,
    LocalWorkload, MutualTls, Peer, PeerAddress, RateLimit, Refusal,
};
pub use spiffe::{SpiffeError, SpiffeId, TrustDomain, spiffe_id_of};
pub use store::{Store, StoreError};
pub use workload::{
    CaEndpoint, CertificateError, Credential, WorkloadCertificates, WorkloadIdentity,
    WorkloadOptions,
};
