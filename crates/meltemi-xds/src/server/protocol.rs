//! What the two variants of the protocol have in common, seen from the server:
//! the state of one type on one stream.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::rpc;

use super::response::Response;
use crate::{ResourceSet, Subscription};

/// Most names one stream may subscribe to for one type.
pub const MAX_NAMES: usize = 100_000;

/// A request's fields that both variants have.
pub struct Header {
    pub node: Option<Node>,
    pub type_url: String,
    pub nonce: String,
    pub error: Option<rpc::Status>,
}

/// What to send for one type.
pub struct Prepared {
    pub response: Response,
    pub version: Arc<str>,
    /// Names of the resources in the response that the client did not have in
    /// this version; none in the first response to a client that had nothing.
    pub changed: Vec<Arc<str>>,
    pub removed: usize,
}

/// What became of comparing a set with what the client has.
pub struct Comparison {
    /// None when the client is up to date.
    pub prepared: Option<Prepared>,
    /// Removals were kept back because the caller asked so.
    pub held: bool,
}

/// State of one type on one stream.
pub trait TypeState: Default + Send + Sync + 'static {
    type Request: prost::Message + Default + 'static;

    /// Takes the common fields out of a request.
    fn header(request: &mut Self::Request) -> Header;

    /// Applies the request's subscription. `first` is the first request of the
    /// type on the stream; `stale` marks the answer to a response that is not
    /// the latest. Returns whether something may have to be sent for it, or the
    /// reason why the stream has to end.
    fn subscribe(
        &mut self,
        type_url: &str,
        request: Self::Request,
        first: bool,
        stale: bool,
    ) -> Result<bool, String>;

    /// What the client wants now.
    fn subscription(&self) -> &Arc<Subscription>;

    /// Replaces the subscription by an equal one that other streams share.
    fn share(&mut self, subscription: Arc<Subscription>);

    /// Sees to it that the named resources are sent (or, where a response
    /// always holds all, that the next request is answered) although unchanged:
    /// their clusters changed and wait for endpoints.
    fn rewarm(&mut self, names: &[Arc<str>]);

    /// Compares the set with what was sent before; on a difference, records it
    /// as sent and returns the response.
    fn compare(
        &mut self,
        type_url: &str,
        set: &ResourceSet,
        nonce: &str,
        hold_removals: bool,
    ) -> Comparison;
}
