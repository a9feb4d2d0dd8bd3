//! Network namespaces, the links between them, and the rules that steer an application's
//! traffic into its sidecar.
//!
//! Everything is done with system calls and netlink messages made here: neither `ip` nor
//! `nft` nor `iptables` is needed on the machine. The calls block for microseconds, and none
//! needs a runtime, so that a single-threaded helper process may use them and still fork.
//!
//! * [`Netns`]: a network namespace held by a descriptor; code and sockets inside it.
//! * [`Fabric`]: a hub namespace with a bridge; one veth pair a workload.
//! * [`RuleSet`]: what is intercepted, from Istio's annotations; [`Ruleset::apply`] replaces a
//!   namespace's rules in one transaction.
//!
//! [`Ruleset::apply`]: RuleSet::apply
//!
//! The creator needs `CAP_NET_ADMIN` and `CAP_SYS_ADMIN` over the namespaces: root, or the
//! root of a user namespace.

#![deny(unsafe_code)]

mod cidr;
mod error;
mod fabric;
mod link;
mod netlink;
mod netns;
mod nft;
mod original_dst;
mod program;
mod rules;
mod sysctl;

pub use cidr::{Cidr, CidrError};
pub use error::CaptureError;
pub use fabric::{Fabric, MeshNetwork};
pub use netns::Netns;
pub use original_dst::original_destination;
pub use program::Program;
pub use rules::{Cidrs, PASSTHROUGH_SOURCE, PROXY_MARK, PROXY_OWNER, Ports, RuleError, RuleSet};
