//! DNS for the workload: its queries are redirected to this server, which answers the names
//! of the mesh from the control plane's name table and passes others on, or refuses them.
//!
//! The server's sockets are made in the workload's namespace, the forwarder's in the
//! host's; both are served on the main thread, so that workers do traffic only.

mod answer;
mod forward;
mod server;
mod table;

pub use answer::{Verdict, answer};
pub use forward::{Forwarder, ResolverConfig};
pub use server::serve;
pub use table::{Host, SharedTable, Table, Zone};
