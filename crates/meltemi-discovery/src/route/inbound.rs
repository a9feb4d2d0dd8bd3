//! The inline routes of inbound chains: everything goes to the workload.

use crate::pb::{self, route};

/// Routes for a workload's port; port 0 stands for all that no service names.
pub fn translate(cluster: &str, port: u16, host: &str) -> route::RouteConfiguration {
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(
            cluster.to_owned(),
        )),
        // The client decides how long it waits.
        timeout: Some(pb::seconds(0)),
        max_stream_duration: Some(route::route_action::MaxStreamDuration {
            max_stream_duration: Some(pb::seconds(0)),
            grpc_timeout_header_max: Some(pb::seconds(0)),
            ..Default::default()
        }),
        // A pooled connection that the application closed at that moment.
        retry_policy: Some(route::RetryPolicy {
            retry_on: "reset-before-request".to_owned(),
            num_retries: pb::u32v(2),
            ..Default::default()
        }),
        ..Default::default()
    };
    let route = route::Route {
        name: "default".to_owned(),
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..Default::default()
        }),
        decorator: Some(route::Decorator {
            operation: format!("{host}:{port}/*"),
            ..Default::default()
        }),
        action: Some(route::route::Action::Route(action)),
        ..Default::default()
    };
    route::RouteConfiguration {
        name: cluster.to_owned(),
        validate_clusters: pb::boolv(false),
        virtual_hosts: vec![route::VirtualHost {
            name: format!("inbound|http|{port}"),
            domains: vec!["*".to_owned()],
            routes: vec![route],
            ..Default::default()
        }],
        ..Default::default()
    }
}
