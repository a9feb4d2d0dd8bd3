//! Listeners as a table: a row a filter chain.

use crate::output::table;
use serde_json::Value;

pub fn text(listeners: &[Value]) -> String {
    let mut rows = Vec::new();
    for listener in listeners {
        let socket = &listener["address"]["socket_address"];
        let address = socket["address"].as_str().unwrap_or("-").to_owned();
        let port = socket["port_value"].to_string();
        let chains = listener["filter_chains"].as_array().into_iter().flatten();
        let default = listener.get("default_filter_chain");
        for (chain, is_default) in chains.map(|c| (c, false)).chain(default.map(|c| (c, true))) {
            rows.push(vec![
                address.clone(),
                port.clone(),
                if is_default {
                    "default".to_owned()
                } else {
                    matching(&chain["filter_chain_match"])
                },
                destination(chain),
            ]);
        }
    }
    table(&["ADDRESS", "PORT", "MATCH", "DESTINATION"], &rows)
}

fn matching(rule: &Value) -> String {
    let mut parts = Vec::new();
    let mut put = |label: &str, key: &str| {
        let values: Vec<_> = rule[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !values.is_empty() {
            parts.push(format!("{label}: {}", values.join(",")));
        }
    };
    put("SNI", "server_names");
    put("App", "application_protocols");
    if let Some(transport) = rule["transport_protocol"].as_str() {
        parts.push(format!("Trans: {transport}"));
    }
    let prefixes: Vec<_> = rule["prefix_ranges"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|range| {
            format!(
                "{}/{}",
                range["address_prefix"].as_str().unwrap_or(""),
                range["prefix_len"]
            )
        })
        .collect();
    if !prefixes.is_empty() {
        parts.push(format!("Addr: {}", prefixes.join(",")));
    }
    if let Some(port) = rule["destination_port"].as_u64() {
        parts.push(format!("Port: {port}"));
    }
    if parts.is_empty() {
        "ALL".to_owned()
    } else {
        parts.join("; ")
    }
}

fn destination(chain: &Value) -> String {
    for filter in chain["filters"].as_array().into_iter().flatten() {
        let config = &filter["typed_config"];
        if let Some(name) = config
            .pointer("/rds/route_config_name")
            .and_then(Value::as_str)
        {
            return format!("Route: {name}");
        }
        if let Some(routes) = config.get("route_config") {
            return format!("Inline route: {}", routes["name"].as_str().unwrap_or("-"));
        }
        if let Some(cluster) = config["cluster"].as_str() {
            return format!("Cluster: {cluster}");
        }
        if let Some(clusters) = config
            .pointer("/weighted_clusters/clusters")
            .and_then(Value::as_array)
        {
            let names: Vec<_> = clusters.iter().filter_map(|c| c["name"].as_str()).collect();
            return format!("Clusters: {}", names.join(", "));
        }
    }
    "-".to_owned()
}
