//! Updates over a real ADS stream: warming, refusals, last good versions, order.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

mod update_support;

use meltemi_proxy::config::{Handle, Kind, Options, Query, Readiness, State};
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use update_support::{Mesh, cluster, endpoints, listener, table, within};

fn policy_listener(name: &str, port: u16) -> Value {
    let mut listener = listener(name, port, "r");
    listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        .as_array_mut()
        .unwrap()
        .insert(
            0,
            json!({"name": "jwt", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"}}),
        );
    listener
}

fn named(handle: &Handle, name: &str) -> Option<Arc<meltemi_proxy::model::Cluster>> {
    let snapshot = handle.snapshot();
    let found = snapshot
        .clusters
        .iter()
        .flatten()
        .find(|cluster| &*cluster.config.name == name);
    found.cloned()
}

fn endpoint_count(handle: &Handle, name: &str) -> usize {
    named(handle, name).map_or(0, |cluster| {
        cluster
            .endpoints
            .priorities
            .iter()
            .map(|p| p.endpoints.len())
            .sum()
    })
}

fn listeners(handle: &Handle) -> Vec<String> {
    let snapshot = handle.snapshot();
    snapshot
        .listeners
        .all
        .iter()
        .map(|l| l.name.to_string())
        .collect()
}

fn failure(handle: &Handle, kind: Kind, name: &str) -> Option<String> {
    handle
        .records(kind)
        .into_iter()
        .find(|record| &*record.name == name)?
        .failure
        .map(|failure| failure.details)
}

#[tokio::test]
async fn listeners_wait_for_their_routes_and_clusters_for_their_endpoints() {
    let mesh = Mesh::start();
    mesh.source.set(Kind::Cluster, &[cluster("c", "1s")]);
    mesh.until(|handle| !handle.records(Kind::Cluster).is_empty() && handle.problems().len() == 1)
        .await;
    let (kind, record) = mesh.handle.problems().remove(0);
    assert_eq!(
        (kind, &*record.name, record.state),
        (Kind::Cluster, "c", State::Warming)
    );
    assert!(named(&mesh.handle, "c").is_none());

    mesh.source
        .set(Kind::Endpoints, &[endpoints("c", &[80, 81])]);
    mesh.until(|handle| endpoint_count(handle, "c") == 2).await;

    mesh.source.set(Kind::Listener, &[listener("l", 80, "r")]);
    mesh.until(|handle| {
        handle
            .records(Kind::Listener)
            .iter()
            .any(|record| record.state == State::Warming)
    })
    .await;
    assert!(listeners(&mesh.handle).is_empty());
    let waiting = mesh.handle.readiness().borrow().clone();
    assert!(matches!(waiting, Readiness::Initializing(_)), "{waiting:?}");

    mesh.source.set(Kind::Route, &[table("r", "c")]);
    mesh.live().await;
    assert_eq!(listeners(&mesh.handle), ["l"]);
    let snapshot = mesh.handle.snapshot();
    assert!(
        snapshot
            .routes
            .iter()
            .flatten()
            .any(|table| &*table.name == "r")
    );
    let dump = mesh
        .handle
        .config_dump(&Query {
            endpoints: true,
            ..Query::default()
        })
        .unwrap();
    let route = &dump["configs"][4]["dynamic_route_configs"][0]["route_config"];
    assert_eq!(
        route["virtual_hosts"][0]["routes"][0]["route"]["cluster"],
        "c"
    );
}

#[tokio::test]
async fn a_refused_resource_keeps_its_last_good_version_and_the_others_go_on() {
    let mut mesh = Mesh::start();
    mesh.source.set(
        Kind::Endpoints,
        &[endpoints("c", &[80]), endpoints("d", &[80])],
    );
    mesh.source.set(Kind::Route, &[table("r", "c")]);
    mesh.source.set(Kind::Listener, &[listener("l", 80, "r")]);
    mesh.source.set(Kind::Cluster, &[cluster("c", "1s")]);
    mesh.live().await;
    let before = named(&mesh.handle, "c").unwrap();

    let mut bad = cluster("c", "2s");
    bad["use_tcp_for_dns_lookups"] = json!(true);
    mesh.source.set(Kind::Cluster, &[bad, cluster("d", "1s")]);
    let nack = within(mesh.nacks.recv()).await.unwrap();
    assert_eq!(
        nack,
        "cluster \"c\": use_tcp_for_dns_lookups: is not supported"
    );
    mesh.until(|handle| endpoint_count(handle, "d") == 1).await;
    let after = named(&mesh.handle, "c").unwrap();
    assert!(
        Arc::ptr_eq(&before.config, &after.config),
        "the last good version is in force"
    );
    let details = failure(&mesh.handle, Kind::Cluster, "c").unwrap();
    assert_eq!(details, "use_tcp_for_dns_lookups: is not supported");

    mesh.source.set(
        Kind::Listener,
        &[policy_listener("l", 80), listener("m", 81, "r")],
    );
    let nack = within(mesh.nacks.recv()).await.unwrap();
    assert!(nack.starts_with("listener \"l\": filter_chains[0].filters[0].typed_config.http_filters[0]: policy filter \"jwt\""), "{nack}");
    mesh.until(|handle| listeners(handle) == ["l", "m"]).await;
    let dump = mesh.handle.config_dump(&Query::default()).unwrap();
    let entry = &dump["configs"][2]["dynamic_listeners"][0];
    assert_eq!(entry["active_state"]["listener"]["name"], "l");
    assert!(
        entry["error_state"]["details"]
            .as_str()
            .unwrap()
            .contains("jwt")
    );

    // A good version ends the refusal.
    mesh.source
        .set(Kind::Cluster, &[cluster("c", "3s"), cluster("d", "1s")]);
    mesh.until(|handle| {
        named(handle, "c").is_some_and(|c| c.config.connect_timeout == Duration::from_secs(3))
    })
    .await;
    assert_eq!(failure(&mesh.handle, Kind::Cluster, "c"), None);
}

#[tokio::test]
async fn what_did_not_change_is_shared_and_counters_survive() {
    let mesh = Mesh::start();
    mesh.source.set(
        Kind::Endpoints,
        &[endpoints("c", &[80, 81]), endpoints("d", &[80])],
    );
    mesh.source.set(Kind::Listener, &[]);
    mesh.source
        .set(Kind::Cluster, &[cluster("c", "1s"), cluster("d", "1s")]);
    mesh.live().await;
    let (c, d) = (
        named(&mesh.handle, "c").unwrap(),
        named(&mesh.handle, "d").unwrap(),
    );

    mesh.source.set(
        Kind::Endpoints,
        &[endpoints("c", &[81, 82, 83]), endpoints("d", &[80])],
    );
    mesh.until(|handle| endpoint_count(handle, "c") == 3).await;
    let now = named(&mesh.handle, "c").unwrap();
    assert!(Arc::ptr_eq(&c.config, &now.config));
    assert!(Arc::ptr_eq(&c.shared, &now.shared));
    let kept = &c.endpoints.priorities[0].endpoints[1].state;
    assert!(Arc::ptr_eq(
        kept,
        &now.endpoints.priorities[0].endpoints[0].state
    ));
    assert!(Arc::ptr_eq(&d, &named(&mesh.handle, "d").unwrap()));

    mesh.source.set(Kind::Cluster, &[cluster("c", "9s")]);
    mesh.until(|handle| named(handle, "d").is_none()).await;
    let now = named(&mesh.handle, "c").unwrap();
    assert_eq!(now.config.connect_timeout, Duration::from_secs(9));
    assert!(
        Arc::ptr_eq(&c.shared, &now.shared),
        "counters survive a new configuration"
    );
    assert_eq!(now.id, c.id);
}

/// What the workers would see, without pointers and generations.
fn summary(handle: &Handle) -> String {
    let snapshot = handle.snapshot();
    let mut routes: Vec<_> = snapshot
        .routes
        .iter()
        .flatten()
        .map(|table| {
            let records = handle.records(Kind::Route);
            let mut records = records.into_iter();
            let record = records.find(|record| *record.name == *table.name);
            format!("{} {:?}", table.name, record.map(|record| record.body))
        })
        .collect();
    routes.sort();
    // The control plane's own cluster names a directory of this run.
    let mut clusters: Vec<_> = snapshot
        .clusters
        .iter()
        .flatten()
        .filter(|cluster| &*cluster.config.name != "xds-grpc")
        .map(|cluster| format!("{} {}", cluster.config.name, cluster.config.hash))
        .collect();
    clusters.sort();
    let text = handle.clusters_text();
    let endpoints: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("xds-grpc"))
        .collect();
    format!(
        "{endpoints:?}{}{routes:?}{clusters:?}",
        handle.listeners_text()
    )
}

#[tokio::test]
async fn the_order_of_updates_does_not_change_the_outcome() {
    let last: [(Kind, Vec<Value>); 4] = [
        (Kind::Cluster, vec![cluster("c", "1s"), cluster("e", "1s")]),
        (
            Kind::Endpoints,
            vec![endpoints("c", &[80, 81]), endpoints("e", &[90])],
        ),
        (
            Kind::Listener,
            vec![listener("l", 80, "r"), listener("n", 82, "s")],
        ),
        (Kind::Route, vec![table("r", "c"), table("s", "e")]),
    ];
    let first: [(Kind, Vec<Value>); 4] = [
        (Kind::Cluster, vec![cluster("c", "7s"), cluster("d", "1s")]),
        (
            Kind::Endpoints,
            vec![endpoints("c", &[79]), endpoints("d", &[80])],
        ),
        (
            Kind::Listener,
            vec![listener("l", 80, "q"), listener("m", 81, "r")],
        ),
        (Kind::Route, vec![table("q", "d"), table("r", "d")]),
    ];
    let mut outcomes = Vec::new();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        for history in [false, true] {
            let mesh = Mesh::start();
            if history {
                for index in order {
                    mesh.source.set(first[index].0, &first[index].1);
                }
                mesh.live().await;
            }
            for index in order {
                mesh.source.set(last[index].0, &last[index].1);
                tokio::task::yield_now().await;
            }
            mesh.live().await;
            mesh.until(|handle| {
                let snapshot = handle.snapshot();
                handle.problems().is_empty()
                    && listeners(handle) == ["l", "n"]
                    && endpoint_count(handle, "c") == 2
                    && endpoint_count(handle, "e") == 1
                    && named(handle, "d").is_none()
                    && named(handle, "c").is_some_and(|c| c.config.connect_timeout.as_secs() == 1)
                    && snapshot.routes.iter().flatten().count() == 2
            })
            .await;
            outcomes.push(summary(&mesh.handle));
        }
    }
    for outcome in &outcomes {
        assert_eq!(outcome, &outcomes[0]);
    }
}

#[tokio::test]
async fn a_listener_whose_address_is_taken_is_refused_until_it_is_free() {
    let taken = Arc::new(AtomicBool::new(true));
    let probe = {
        let taken = taken.clone();
        move |address: SocketAddr| match address.port() == 81 && taken.load(Ordering::Relaxed) {
            true => Err("the port is taken".to_owned()),
            false => Ok(()),
        }
    };
    let mut mesh = Mesh::start_with(Options {
        probe: Some(Arc::new(probe)),
        ..Options::default()
    });
    mesh.source.set(Kind::Cluster, &[]);
    mesh.source.set(Kind::Route, &[table("r", "c")]);
    mesh.source.set(Kind::Listener, &[listener("l", 80, "r")]);
    mesh.live().await;

    mesh.source.set(Kind::Listener, &[listener("l", 81, "r")]);
    let nack = within(mesh.nacks.recv()).await.unwrap();
    assert!(nack.contains("cannot bind 10.0.0.1:81"), "{nack}");
    let details = failure(&mesh.handle, Kind::Listener, "l").unwrap();
    assert!(details.contains("the port is taken"), "{details}");
    let port = |handle: &Handle| handle.snapshot().listeners.all[0].addresses[0].port();
    assert_eq!(port(&mesh.handle), 80);

    taken.store(false, Ordering::Relaxed);
    mesh.until(|handle| port(handle) == 81).await;
    assert_eq!(failure(&mesh.handle, Kind::Listener, "l"), None);
    // Other tests of the process count as well.
    let stats = meltemi_proxy::telemetry::stats_text(None);
    for name in [
        "listener_manager.lds.update_rejected",
        "listener_manager.lds.update_success",
        "listener_manager.lds.update_attempt",
        "listener_manager.listener_create_failure",
        "listener_manager.listener_added",
        "listener_manager.listener_modified",
        "cluster_manager.cds.update_success",
    ] {
        let line = stats.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.strip_prefix(": ")?.parse::<u64>().ok());
        assert!(value.is_some_and(|value| value > 0), "{name}: {value:?}");
    }
}

#[tokio::test]
async fn a_listener_may_take_the_address_of_one_that_goes_with_the_same_update() {
    let mut mesh = Mesh::start();
    mesh.source.set(Kind::Cluster, &[]);
    mesh.source.set(Kind::Route, &[table("r", "c")]);
    mesh.source.set(Kind::Listener, &[listener("l", 80, "r")]);
    mesh.live().await;
    mesh.source.set(Kind::Listener, &[listener("m", 80, "r")]);
    mesh.until(|handle| listeners(handle) == ["m"]).await;
    assert!(mesh.nacks.try_recv().is_err());
}
