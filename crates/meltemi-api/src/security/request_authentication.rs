//! RequestAuthentication: which JSON Web Tokens a workload accepts.

use crate::proto::{Duration, enumeration, message};
use crate::scope::{LabelSelector, PolicyTargetReference};

message! {
    /// Tokens accepted (Istio: `RequestAuthentication`). A request with a token that no rule
    /// accepts is refused; one without a token is not, unless a rule demands it.
    pub struct RequestAuthentication {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// Deprecated form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Objects the policy is attached to; excludes `selector`.
        pub target_refs: Vec<PolicyTargetReference>,
        /// Tokens.
        pub jwt_rules: Vec<JwtRule>,
    }

    /// Tokens of one issuer (Istio: `JWTRule`).
    pub struct JwtRule {
        /// The `iss` claim.
        pub issuer: Option<String>,
        /// Any of them must be in the `aud` claim; not looked at when empty.
        pub audiences: Vec<String>,
        /// Where the keys are, `http://` or `https://`; from the issuer's OpenID discovery
        /// document when neither this nor `jwks` is set.
        #[serde(alias = "jwks_uri")]
        pub jwks_uri: Option<String>,
        /// The keys, RFC 7517.
        pub jwks: String,
        /// Headers with the token; `Authorization: Bearer` when no place is named.
        pub from_headers: Vec<JwtHeader>,
        /// Query parameters with the token.
        pub from_params: Vec<String>,
        /// Cookies with the token.
        pub from_cookies: Vec<String>,
        /// Header in which the payload is passed on, base64url.
        pub output_payload_to_header: String,
        /// Headers in which claims are passed on.
        pub output_claim_to_headers: Vec<ClaimToHeader>,
        /// The token stays on the request; false.
        pub forward_original_token: bool,
        /// Bound on fetching the keys; 5 s by default.
        pub timeout: Option<Duration>,
        /// Further claims that are lists in one text, as `scope` is.
        pub space_delimited_claims: Vec<String>,
        /// Whether a request must have the token.
        pub presence: JwtPresence,
    }

    /// A header with the token (Istio: `JWTHeader`).
    pub struct JwtHeader {
        /// Name.
        pub name: String,
        /// What stands before the token, with its blank: `Bearer `.
        pub prefix: String,
    }

    /// A claim that is passed on (Istio: `ClaimToHeader`).
    pub struct ClaimToHeader {
        /// Header.
        pub header: String,
        /// Claim; `.` leads into nested ones.
        pub claim: String,
    }
}

enumeration! {
    /// Whether a request must have the token (Istio: `JWTRule.Presence`).
    pub enum JwtPresence {
        /// It may come without.
        Optional = "OPTIONAL",
        /// It is refused without.
        Required = "REQUIRED",
    }
}
