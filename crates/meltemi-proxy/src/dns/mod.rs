//! DNS, for the workload and for the proxy itself.
//!
//! The workload's queries are redirected to a server, which answers the names of the mesh from
//! the control plane's name table and passes others on, or refuses them. The proxy resolves the
//! names of its clusters, and in a [`DnsCache`] those that requests name.
//!
//! The server's sockets are made in the workload's namespace, the forwarder's and the resolver's
//! in the host's; all are served on the main thread, so that workers do traffic only.

mod answer;
mod cache;
mod forward;
mod resolver;
mod server;
mod table;
#[cfg(test)]
pub(crate) mod testkit;

pub use answer::{Verdict, answer};
pub use cache::{CacheError, DnsCache, Lookups, host_key};
pub use forward::{Forwarder, ResolverConfig};
pub use resolver::Resolver;
pub use server::serve;
pub use table::{Host, SharedTable, Table, Zone};
