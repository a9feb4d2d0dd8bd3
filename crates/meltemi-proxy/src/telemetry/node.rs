//! The node that this process is, as its bootstrap says.

use envoy_types::pb::envoy::config::core::v3::Node;
use std::sync::OnceLock;

static NODE: OnceLock<Node> = OnceLock::new();

/// Sets the node that collectors are told; the first call counts.
pub fn set_node(node: &Node) {
    let _ = NODE.set(node.clone());
}

/// The node, once [`set_node`] was called.
pub fn node() -> &'static Node {
    static UNKNOWN: OnceLock<Node> = OnceLock::new();
    NODE.get()
        .unwrap_or_else(|| UNKNOWN.get_or_init(Node::default))
}

/// Its zone.
pub fn zone() -> &'static str {
    let locality = node().locality.as_ref();
    locality.map_or("", |locality| &locality.zone)
}
