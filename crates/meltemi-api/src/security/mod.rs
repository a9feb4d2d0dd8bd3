//! The kinds of `security.istio.io`.

mod authorization_policy;
mod peer_authentication;
mod request_authentication;

pub use authorization_policy::{
    AuthorizationAction, AuthorizationPolicy, Condition, ExtensionProvider, From, Operation, Rule,
    Source, To,
};
pub use peer_authentication::{MutualTls, MutualTlsMode, PeerAuthentication};
pub use request_authentication::{
    ClaimToHeader, JwtHeader, JwtPresence, JwtRule, RequestAuthentication,
};
