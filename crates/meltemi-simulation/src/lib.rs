//! What a configuration does with a call, found out without a mesh: the configuration is
//! translated for a proxy as the control plane does it, and the call is led through the proxy's
//! own matching code on the compiled result.
//!
//! Nothing is matched here; this crate asks, names what comes back in the words of the
//! configuration, and says which object decided.

#![forbid(unsafe_code)]

mod call;
mod effects;
mod explain;
mod journey;
mod mesh;
mod pods;
mod reasons;
mod rule;
mod simulation;
pub mod suite;
mod upstream;
mod verdict;

pub use call::{BadCall, Call, Protocol, Tls};
pub use effects::{
    Action, Change, Destination, Effects, Fault, HeaderChange, Mirror, Redirect, Retries, State,
};
pub use explain::{Evidence, Explanation, Part};
pub use journey::{BadRequest, Hop, Journey, Request, Role};
pub use meltemi_proxy::model::Direction;
pub use mesh::{Mesh, NoWorkload};
pub use rule::Rule;
pub use simulation::{Endpoint, Simulation};
pub use verdict::{Downstream, PassedOver, Refusal, Verdict};
