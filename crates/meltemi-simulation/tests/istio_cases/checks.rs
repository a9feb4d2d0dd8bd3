//! Comparing what came out with what Istio demands.

use std::collections::BTreeMap;

use meltemi_discovery::Resources;
use meltemi_discovery::pb::{cluster, core, descriptor, endpoint, route};
use meltemi_simulation::{Action, Refusal, Verdict};
use serde_json::{Value, json};

use super::Outcome;

fn equal(what: &str, wanted: &Value, found: &Value) -> Outcome {
    if wanted == found {
        Ok(())
    } else {
        Err(format!("{what} is {found}, Istio has {wanted}"))
    }
}

fn error(verdict: &Verdict) -> &'static str {
    match (&verdict.refusal, &verdict.action) {
        // Istio's cases do without the services that their routes lead to.
        (Some(Refusal::NoCluster), _) => "",
        (Some(refusal), _) => refusal.code(),
        (None, Some(Action::Redirect(redirect))) if verdict.route.is_none() => {
            assert_eq!(redirect.status, 301);
            "tls_redirect"
        }
        _ => "",
    }
}

pub fn call(verdict: &Verdict, expect: &Value) -> Outcome {
    let strict = expect["strictMatch"] == json!(true);
    equal("the error", &expect["error"], &json!(error(verdict)))
        .map_err(|why| format!("{why}; {:?} {:?}", verdict.listener, verdict.filter_chain))?;
    for (key, found) in [
        ("listener", verdict.listener.as_deref()),
        ("filterChain", verdict.filter_chain.as_deref()),
        ("routeConfig", verdict.route_config.as_deref()),
        ("virtualHost", verdict.virtual_host.as_deref()),
        ("route", verdict.route.as_deref()),
        ("cluster", verdict.cluster()),
    ] {
        match expect.get(key) {
            Some(wanted) => equal(key, wanted, &json!(found.unwrap_or("")))?,
            None if strict => equal(key, &json!(""), &json!(found.unwrap_or("")))?,
            None => {}
        }
    }
    if let Some(wanted) = expect.get("downstreamTls") {
        let found = verdict.downstream.as_ref();
        let requires = found.is_some_and(|tls| tls.requires_client_certificate);
        equal(
            "requireClientCertificate",
            &wanted["requireClientCertificate"],
            &json!(requires),
        )?;
    }
    Ok(())
}

/// The clusters of every virtual host, by domain.
fn by_domain(table: &route::RouteConfiguration) -> BTreeMap<&str, Vec<&str>> {
    let mut found = BTreeMap::new();
    for host in &table.virtual_hosts {
        let mut clusters: Vec<&str> = host.routes.iter().flat_map(clusters).collect();
        clusters.sort_unstable();
        for domain in &host.domains {
            found.insert(domain.as_str(), clusters.clone());
        }
    }
    found
}

fn clusters(route: &route::Route) -> Vec<&str> {
    use route::route_action::ClusterSpecifier;
    let Some(route::route::Action::Route(action)) = &route.action else {
        return Vec::new();
    };
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![name],
        Some(ClusterSpecifier::WeightedClusters(all)) => {
            all.clusters.iter().map(|one| one.name.as_str()).collect()
        }
        _ => Vec::new(),
    }
}

pub fn routes(resources: &Resources, expected: &Value) -> Outcome {
    let name = expected["routeConfig"].as_str().unwrap();
    let Some(hosts) = expected["hosts"].as_object() else {
        return Ok(());
    };
    let table = resources.routes.iter().find(|table| table.name == name);
    let found = table.map(by_domain).unwrap_or_default();
    for (domain, wanted) in hosts {
        equal(domain, wanted, &json!(found.get(domain.as_str())))?;
    }
    Ok(())
}

fn address(endpoint: &endpoint::LbEndpoint) -> String {
    use core::address::Address;
    let Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier
    else {
        return String::new();
    };
    match endpoint.address.as_ref().and_then(|a| a.address.as_ref()) {
        Some(Address::SocketAddress(socket)) => match socket.port_specifier {
            Some(core::socket_address::PortSpecifier::PortValue(port)) => {
                format!("{}:{port}", socket.address)
            }
            _ => socket.address.clone(),
        },
        Some(Address::Pipe(pipe)) => pipe.path.clone(),
        _ => String::new(),
    }
}

fn endpoints(cluster: &cluster::Cluster) -> Vec<String> {
    let groups = cluster.load_assignment.iter().flat_map(|a| &a.endpoints);
    groups
        .flat_map(|group| &group.lb_endpoints)
        .map(address)
        .collect()
}

pub fn inbound_clusters(resources: &Resources, expected: &Value) -> Outcome {
    let mut found = serde_json::Map::new();
    for cluster in &resources.clusters {
        if !cluster.name.starts_with("inbound|") {
            continue;
        }
        let endpoints = endpoints(cluster);
        let message = descriptor::to_json(cluster).unwrap();
        let services = message["metadata"]["filter_metadata"]["istio"]["services"].as_array();
        let mut hosts: Vec<&str> = services
            .into_iter()
            .flatten()
            .filter_map(|service| service["host"].as_str())
            .collect();
        hosts.sort_unstable();
        let or_null = |list: Value| match list.as_array() {
            Some(list) if list.is_empty() => Value::Null,
            _ => list,
        };
        found.insert(
            cluster.name.clone(),
            json!({
                "endpoints": or_null(json!(endpoints)),
                "telemetryServices": or_null(json!(hosts)),
            }),
        );
    }
    equal("inbound clusters", expected, &Value::Object(found))
}

pub fn assertion(resources: &Resources, assertion: &Value) -> Outcome {
    let text = |key: &str| assertion[key].as_str().unwrap_or("");
    let cluster = || {
        let found = resources
            .clusters
            .iter()
            .find(|c| c.name == text("cluster"));
        found.ok_or_else(|| format!("there is no cluster {}", text("cluster")))
    };
    match text("type") {
        "listenersOnPort" => {
            let suffix = format!("_{}", assertion["port"]);
            let number = resources
                .listeners
                .iter()
                .filter(|listener| listener.name.ends_with(&suffix))
                .count();
            let least = assertion["atLeast"].as_u64().unwrap();
            if number as u64 >= least {
                Ok(())
            } else {
                Err(format!("{number} listeners on the port, Istio has {least}"))
            }
        }
        "clusterType" => {
            let message = descriptor::to_json(cluster()?).unwrap();
            equal("the type", &assertion["equals"], &message["type"])
        }
        "endpointPriorities" => {
            let groups = cluster()?.load_assignment.iter().flat_map(|a| &a.endpoints);
            let mut found = serde_json::Map::new();
            for group in groups {
                for endpoint in &group.lb_endpoints {
                    let address = address(endpoint);
                    let host = address.split(':').next().unwrap().to_owned();
                    found.insert(host, json!(group.priority));
                }
            }
            equal(
                "priorities",
                &assertion["priorities"],
                &Value::Object(found),
            )
        }
        other => Err(format!("{other} is not known here")),
    }
}
