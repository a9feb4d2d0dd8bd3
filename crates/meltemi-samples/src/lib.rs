//! The sample services: Istio's bookinfo with the same HTTP contract, and small helpers
//! (an httpbin subset, tcp-echo, helloworld, an idle process), all in one library so that
//! the one binary can start any of them as an ordinary process of a local mesh.
//!
//! A sample knows nothing of the mesh: it calls `http://reviews:9080` by its plain name,
//! forwards the tracing headers it was given, and leaves the rest to the sidecar.

#![forbid(unsafe_code)]

mod books;
mod client;
mod details;
mod files;
mod forward;
mod helloworld;
mod httpbin;
mod idle;
mod metrics;
mod options;
mod page;
mod productpage;
mod ratings;
mod reply;
mod reviews;
mod server;
mod tcp_echo;
mod websocket;

#[cfg(test)]
mod contract_tests;

pub use files::{bookinfo_files, routing_files};
pub use options::USAGE;

use anyhow::{Result, bail};
use options::{Env, Options};

/// Names that [`run`] accepts.
pub const NAMES: &[&str] = &[
    "productpage",
    "details",
    "reviews",
    "ratings",
    "httpbin",
    "helloworld",
    "tcp-echo",
    "sleep",
    "curl",
];

/// Runs the sample `name` until SIGTERM or SIGINT, then finishes the requests in flight
/// (at most 5 seconds) and returns.
///
/// `args` take precedence over the environment (`PORT`, `SERVICE_VERSION`, `BIND_ADDRESS`
/// and what the original services read: `*_HOSTNAME`, `*_SERVICE_PORT`, `SERVICES_DOMAIN`,
/// `ENABLE_RATINGS`, `STAR_COLOR`, `HOSTNAME`, `CLUSTER_NAME`).
///
/// # Errors
/// An unknown name, version or argument, or a port that cannot be listened on.
pub async fn run(name: &str, args: &[String]) -> Result<()> {
    let options = || Options::parse(args, Env::of_process());
    match name {
        "productpage" => productpage::run(options()?).await,
        "details" => details::run(options()?).await,
        "reviews" => reviews::run(options()?).await,
        "ratings" => ratings::run(options()?).await,
        "httpbin" => httpbin::run(options()?).await,
        "helloworld" => helloworld::run(options()?).await,
        "tcp-echo" => tcp_echo::run(options()?).await,
        "sleep" | "curl" => idle::run(options()?).await,
        _ => bail!(
            "no sample is called {name:?}; there are {}",
            NAMES.join(", ")
        ),
    }
}
