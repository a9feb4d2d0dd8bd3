//! Virtual hosts that come apart from their route tables (VHDS), over a real ADS stream.

// The configuration that allows it in tests does not see helper functions.
#![allow(clippy::unwrap_used)]

mod update_support;

use meltemi_proxy::config::{Handle, Kind, Query, Readiness};
use meltemi_proxy::model::{Action, ClusterChoice, RouteTable};
use serde_json::{Value, json};
use std::sync::Arc;
use update_support::{Mesh, cluster, endpoints, listener, within};

fn table(name: &str) -> Value {
    json!({
        "name": name,
        "vhds": {"config_source": {"ads": {}, "initial_fetch_timeout": "0s"}},
        "virtual_hosts": [{"name": "own", "domains": ["own"]}],
    })
}

fn host(name: &str, domains: &[&str], cluster: &str) -> (String, Value) {
    let (_, short) = name.split_once('/').unwrap();
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": cluster}});
    let host = json!({"name": short, "domains": domains, "routes": [route]});
    (name.to_owned(), host)
}

fn in_force(handle: &Handle, name: &str) -> Option<Arc<RouteTable>> {
    let snapshot = handle.snapshot();
    let mut tables = snapshot.routes.iter().flatten();
    tables.find(|table| &*table.name == name).cloned()
}

/// Domains of a table, and where they lead: the number of the cluster.
fn domains(handle: &Handle, name: &str) -> Vec<(String, Option<u32>)> {
    let Some(table) = in_force(handle, name) else {
        return Vec::new();
    };
    let cluster = |host: u32| {
        let route = table.hosts[host as usize].routes.first()?;
        match &route.action {
            Action::Forward(forward) => match &forward.cluster {
                ClusterChoice::One(id) => Some(id.0),
                _ => None,
            },
            _ => None,
        }
    };
    let domains = table.domains.exact.iter();
    let mut domains: Vec<_> = domains
        .map(|(domain, host)| (domain.to_string(), cluster(*host)))
        .collect();
    domains.sort();
    domains
}

fn has(handle: &Handle, name: &str, wanted: &[&str]) -> bool {
    let domains = domains(handle, name);
    domains
        .iter()
        .map(|(domain, _)| &**domain)
        .eq(wanted.iter().copied())
}

async fn mesh(hosts: Vec<(String, Value)>) -> Mesh {
    let mesh = Mesh::start();
    let all = ["c", "d"].map(|name| endpoints(name, &[80]));
    mesh.source.set(Kind::Endpoints, &all);
    mesh.source.set_named(Kind::VirtualHost, hosts);
    mesh.source.set(Kind::Route, &[table("r")]);
    mesh.source.set(Kind::Listener, &[listener("l", 80, "r")]);
    let all = ["c", "d"].map(|name| cluster(name, "1s"));
    mesh.source.set(Kind::Cluster, &all);
    mesh.live().await;
    mesh
}

#[tokio::test]
async fn a_table_has_its_own_virtual_hosts_and_those_discovered() {
    let hosts = vec![
        host("r/a", &["a"], "c"),
        host("r/b", &["b"], "c"),
        host("s/a", &["x"], "c"),
    ];
    let mesh = mesh(hosts.clone()).await;
    assert!(has(&mesh.handle, "r", &["a", "b", "own"]));
    let dump = mesh.handle.config_dump(&Query::default()).unwrap();
    let route = &dump["configs"][3]["dynamic_route_configs"][0]["route_config"];
    let hosts = route["virtual_hosts"].as_array().unwrap();
    let names: Vec<_> = hosts.iter().map(|host| host["name"].as_str()).collect();
    assert_eq!(names, [Some("own"), Some("a"), Some("b")]);
}

#[tokio::test]
async fn a_listener_waits_for_the_first_virtual_hosts() {
    let mesh = Mesh::start();
    mesh.source.set(Kind::Cluster, &[]);
    mesh.source.set(Kind::Route, &[table("r")]);
    mesh.source.set(Kind::Listener, &[listener("l", 80, "r")]);
    // The control plane says that there are none: that is an answer.
    mesh.live().await;
    assert!(has(&mesh.handle, "r", &["own"]));
    let hosts = vec![host("r/a", &["a"], "c")];
    mesh.source.set_named(Kind::VirtualHost, hosts);
    mesh.until(|handle| has(handle, "r", &["a", "own"])).await;
}

#[tokio::test]
async fn a_change_of_one_host_leaves_the_others_as_they_are() {
    let hosts = |cluster| vec![host("r/a", &["a"], "c"), host("r/b", &["b"], cluster)];
    let mesh = mesh(hosts("c")).await;
    let before = in_force(&mesh.handle, "r").unwrap();
    mesh.source.set_named(Kind::VirtualHost, hosts("d"));
    mesh.until(|handle| {
        let domains = domains(handle, "r");
        domains[0].1 != domains[1].1
    })
    .await;
    let after = in_force(&mesh.handle, "r").unwrap();
    assert!(
        Arc::ptr_eq(&before.hosts[1], &after.hosts[1]),
        "a is the same"
    );
    assert!(Arc::ptr_eq(&before.domains, &after.domains));
    mesh.source
        .set_named(Kind::VirtualHost, vec![host("r/c", &["b", "c"], "d")]);
    mesh.until(|handle| has(handle, "r", &["b", "c", "own"]))
        .await;
    mesh.source.set_named(Kind::VirtualHost, Vec::new());
    mesh.until(|handle| has(handle, "r", &["own"])).await;
}

#[tokio::test]
async fn a_refused_host_keeps_its_last_good_version_and_the_others_go_on() {
    let mut mesh = mesh(vec![host("r/a", &["a"], "c"), host("r/b", &["b"], "c")]).await;
    let before = in_force(&mesh.handle, "r").unwrap();
    let mut bad = host("r/a", &["a"], "c");
    bad.1["hedge_policy"] = json!({});
    // One takes what another one has.
    let more = vec![bad, host("r/b", &["b", "e"], "c"), host("r/z", &["b"], "c")];
    mesh.source.set_named(Kind::VirtualHost, more);
    let nack = within(mesh.nacks.recv()).await.unwrap();
    assert_eq!(
        nack,
        "virtual host \"r/a\": hedge_policy: is not supported; \
         virtual host \"r/z\": domains: \"b\" stands in two virtual hosts"
    );
    mesh.until(|handle| has(handle, "r", &["a", "b", "e", "own"]))
        .await;
    let after = in_force(&mesh.handle, "r").unwrap();
    assert!(Arc::ptr_eq(&before.hosts[1], &after.hosts[1]));
}

#[tokio::test]
async fn a_changed_frame_is_inherited_by_the_hosts_that_are_there() {
    let mesh = mesh(vec![host("r/a", &["a"], "c")]).await;
    let mut changed = table("r");
    changed["virtual_hosts"][0]["domains"] = json!(["other"]);
    changed["request_mirror_policies"] = json!([{"cluster": "d"}]);
    mesh.source.set(Kind::Route, &[changed]);
    mesh.until(|handle| has(handle, "r", &["a", "other"])).await;
    let table = in_force(&mesh.handle, "r").unwrap();
    let Action::Forward(forward) = &table.hosts[1].routes[0].action else {
        panic!("not forwarded");
    };
    assert_eq!(forward.mirrors.len(), 1);
    assert_eq!(*mesh.handle.readiness().borrow(), Readiness::Live);
}
