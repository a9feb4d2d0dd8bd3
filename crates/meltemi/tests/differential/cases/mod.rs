//! The questions, by subject. Each subject is one configuration.

mod access_service;
mod addresses;
mod announced;
mod certificates;
mod clusters;
mod coding;
mod expressions;
mod filters;
mod framing;
mod grpc_web;
mod headers;
mod http2;
mod limits;
mod listener_logs;
mod local;
mod log_filters;
mod mutation;
mod names;
mod network;
mod overload;
mod paths;
mod resilience;
mod rewriting;
mod routing;
mod staple;
mod tcp;
mod tracing;
mod upgrade;

use super::case::Group;

pub use tracing::GIVEN as TRACE_IDS;

pub fn groups() -> Vec<Group> {
    let mut groups = vec![
        routing::group(),
        rewriting::group(),
        local::group(),
        headers::group(),
        addresses::group(),
        announced::group(),
        paths::group(),
        resilience::group(),
        expressions::group(),
        filters::group(),
        upgrade::group(),
        http2::group(),
        grpc_web::group(),
        framing::group(),
        framing::limits(),
        tcp::group(),
        staple::group(),
        certificates::group(),
        network::group(),
        limits::group(),
        mutation::group(),
        coding::group(),
        clusters::group(),
        names::group(),
        tracing::group(),
        access_service::group(),
        listener_logs::group(),
        log_filters::group(),
    ];
    groups.extend(overload::groups());
    groups
}
