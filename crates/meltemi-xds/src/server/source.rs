//! What a server of resources has to provide: the [`ResourceSource`].

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::watch;
use tonic::Status;

use super::PeerInfo;
use crate::{ResourceSet, Subscription};

/// Where an [`AdsServer`](super::AdsServer) gets its resources from.
///
/// All methods are synchronous. [`resources`](Self::resources) may take
/// milliseconds the first time a proxy asks (it runs on a blocking thread, as
/// many at once as there are processors); the others must return at once.
pub trait ResourceSource: Send + Sync + 'static {
    /// What the source keeps for one stream, usually the parsed node.
    type Proxy: Send + Sync + 'static;

    /// Admits or refuses a stream. Called once, with the node of the stream's
    /// first request; the refusal's message reaches the client.
    // A tonic::Status is large; this happens once a stream.
    #[allow(clippy::result_large_err)]
    fn connect(&self, node: &Node, peer: &PeerInfo) -> Result<Self::Proxy, Status>;

    /// A counter that moves whenever something other than before may be served
    /// to anyone. Debouncing is the source's business. When its sender is
    /// dropped, all streams end.
    fn watch(&self) -> watch::Receiver<u64>;

    /// The resources of one type for one proxy, as of now. Must be free of side
    /// effects and give equal sets for equal state. Resources outside of the
    /// subscription are left out by the server, so a source may ignore the
    /// subscription where selecting costs more than it saves.
    fn resources(
        &self,
        proxy: &Self::Proxy,
        type_url: &str,
        subscription: &Subscription,
    ) -> ResourceSet;

    /// A response is on its way.
    fn on_push(&self, _proxy: &Self::Proxy, _push: &Push<'_>) {}

    /// The proxy accepted a response.
    fn on_ack(&self, _proxy: &Self::Proxy, _ack: &Ack<'_>) {}

    /// The proxy rejected a response. What was rejected is not sent again
    /// before its content changes.
    fn on_nack(&self, _proxy: &Self::Proxy, _nack: &Nack<'_>) {}

    /// The proxy has told its subscription to a type, usually a changed one.
    fn on_subscribe(&self, _proxy: &Self::Proxy, _type_url: &str, _subscription: &Subscription) {}

    /// The stream has ended.
    fn disconnected(&self, _proxy: &Self::Proxy) {}
}

/// A response that was handed to the transport.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Type of the resources.
    pub type_url: &'a str,
    /// Version of the whole set the proxy has after this response.
    pub version: &'a str,
    /// Identifies the response; the ACK or NACK carries it.
    pub nonce: &'a str,
    /// Number of resources in this response.
    pub resources: usize,
    /// Number of removed resources named in this response (delta only).
    pub removed: usize,
    /// Bytes of the encoded resources.
    pub bytes: usize,
}

/// A response was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    /// Type of the resources.
    pub type_url: &'a str,
    /// Version of the whole set, as in [`Push::version`].
    pub version: &'a str,
    /// As in [`Push::nonce`].
    pub nonce: &'a str,
}

/// A response was rejected.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    /// Type of the resources.
    pub type_url: &'a str,
    /// Version of the whole set that was rejected.
    pub version: &'a str,
    /// The last version of the set that was accepted on this stream.
    pub last_accepted: Option<&'a str>,
    /// As in [`Push::nonce`].
    pub nonce: &'a str,
    /// gRPC status code the proxy gave (`google.rpc.Status.code`).
    pub code: i32,
    /// What the proxy says is wrong, at most 16 KiB of it.
    pub message: &'a str,
    /// Names of the resources in the rejected response. xDS does not tell which
    /// of them were at fault; the message usually does.
    pub resource_names: &'a [std::sync::Arc<str>],
}
