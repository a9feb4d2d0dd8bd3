//! What becomes of a call.

use std::fmt;

use serde::Serialize;

use crate::effects::{Action, Destination, Effects};
use crate::rule::Rule;

/// Everything that decides about a call, as far as it comes.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub listener: Option<String>,
    /// Empty where the chain has no name.
    pub filter_chain: Option<String>,
    /// The TLS that the proxy ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downstream: Option<Downstream>,
    pub route_config: Option<String>,
    pub virtual_host: Option<String>,
    /// Empty where the route has no name.
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What else the route does.
    #[serde(skip_serializing_if = "Effects::is_empty")]
    pub effects: Effects,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Which rule decided; `None` where no object of the user's has a say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// The rules that come first and do not take the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// The rules that come after the one that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_reached: Vec<Rule>,
}

impl Verdict {
    /// The clusters that the call may go to, with their weights.
    pub fn destinations(&self) -> &[Destination] {
        match &self.action {
            Some(Action::Forward { clusters }) => clusters,
            _ => &[],
        }
    }

    /// The only cluster that the call goes to.
    pub fn cluster(&self) -> Option<&str> {
        match self.destinations() {
            [only] => Some(&only.cluster),
            _ => None,
        }
    }
}

/// A downstream TLS context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Downstream {
    /// Secrets or files of the certificates it shows.
    pub certificates: Vec<String>,
    pub requires_client_certificate: bool,
    pub alpn: Vec<String>,
}

impl Downstream {
    /// Whether only workloads of the mesh come in.
    pub fn is_mesh(&self) -> bool {
        self.requires_client_certificate
            && self.certificates.first().is_some_and(|n| n == "default")
    }
}

/// A rule that did not take a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// `None` for what no rule made.
    pub rule: Option<Rule>,
    /// The condition that the request does not meet.
    pub reason: String,
}

/// Why a call does not come through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "code", content = "detail")]
pub enum Refusal {
    /// The client's DNS knows no such name.
    NoSuchHost,
    /// The proxy does not listen there.
    NoListener,
    /// The only cluster that the call may go to does not exist.
    NoCluster,
    NoFilterChain,
    /// The client speaks plaintext where TLS is wanted.
    TlsError,
    /// The client's mTLS meets other TLS, or the other way round.
    MtlsError,
    /// The proxy expects HTTP and gets something else, or TLS it does not end.
    ProtocolError,
    /// The proxy refuses the request by itself: status, reason.
    BadRequest(u16, String),
    /// The listener's routes are missing.
    NoRouteConfig,
    NoVirtualHost,
    NoRoute,
    /// A policy denies the request: Envoy's details name it.
    Denied(String),
    /// A policy closes the connection: likewise.
    ConnectionDenied(String),
}

impl Refusal {
    /// Istio's name of it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchHost => "no_such_host",
            Self::NoListener => "no_listener",
            Self::NoCluster => "no_cluster",
            Self::NoFilterChain => "no_filter_chain",
            Self::TlsError => "tls_error",
            Self::MtlsError => "mtls_error",
            Self::ProtocolError => "protocol_error",
            Self::BadRequest(..) => "bad_request",
            Self::NoRouteConfig => "no_route_config",
            Self::NoVirtualHost => "no_virtual_host",
            Self::NoRoute => "no_route",
            Self::Denied(_) | Self::ConnectionDenied(_) => "denied",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchHost => f.write_str("the name does not resolve"),
            Self::NoCluster => f.write_str("the route leads to what does not exist (503)"),
            Self::NoListener => f.write_str("the proxy does not listen at this address and port"),
            Self::NoFilterChain => {
                f.write_str("the listener has no filter chain for such a connection")
            }
            Self::TlsError => f.write_str("the client speaks plaintext where TLS is required"),
            Self::MtlsError => {
                f.write_str("one side wants the mesh's mutual TLS and the other does not")
            }
            Self::ProtocolError => f.write_str("the proxy expects HTTP here and gets other bytes"),
            Self::BadRequest(status, reason) => write!(f, "the proxy answers {status} ({reason})"),
            Self::NoRouteConfig => f.write_str("the listener's routes are missing"),
            Self::NoVirtualHost => f.write_str("no virtual host has the request's host (404)"),
            Self::NoRoute => f.write_str("no route takes the request (404)"),
            Self::Denied(details) => {
                write!(
                    f,
                    "an authorization policy denies the request (403, {details})"
                )
            }
            Self::ConnectionDenied(details) => {
                write!(
                    f,
                    "an authorization policy closes the connection ({details})"
                )
            }
        }
    }
}
