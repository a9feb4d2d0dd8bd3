//! Kubernetes' Gateway API (`gateway.networking.k8s.io`): all fields of both channels.

mod backend;
mod duration;
mod filter;
mod gateway;
mod grpc_route;
mod http_route;
mod l4_route;
mod reference;
mod session;

pub use backend::Backend;
pub use duration::GatewayDuration;
pub use filter::*;
pub use gateway::*;
pub use grpc_route::*;
pub use http_route::*;
pub use l4_route::*;
pub use reference::*;
pub use session::*;

/// The API group.
pub const GROUP: &str = "gateway.networking.k8s.io";
