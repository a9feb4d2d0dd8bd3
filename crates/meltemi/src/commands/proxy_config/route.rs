//! Route tables as a table.

use super::cluster::object_name;
use crate::output::table;
use serde_json::Value;

pub fn text(tables: &[Value]) -> String {
    let mut rows = Vec::new();
    for routes in tables {
        let name = routes["name"].as_str().unwrap_or("");
        for host in list(&routes["virtual_hosts"]) {
            let domains: Vec<_> = list(&host["domains"]).filter_map(Value::as_str).collect();
            let domains = match domains.len() {
                0..=2 => domains.join(", "),
                count => format!("{}, {} + {} more", domains[0], domains[1], count - 2),
            };
            for route in list(&host["routes"]) {
                rows.push(vec![
                    name.to_owned(),
                    host["name"].as_str().unwrap_or("").to_owned(),
                    domains.clone(),
                    matching(&route["match"]),
                    target(route),
                    route
                        .pointer("/metadata/filter_metadata/istio/config")
                        .and_then(Value::as_str)
                        .map_or_else(|| "-".to_owned(), object_name),
                ]);
            }
        }
    }
    table(
        &[
            "NAME",
            "VIRTUAL HOST",
            "DOMAINS",
            "MATCH",
            "TARGET",
            "VIRTUAL SERVICE",
        ],
        &rows,
    )
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn matching(rule: &Value) -> String {
    let mut text = match rule {
        rule if rule["path"].is_string() => rule["path"].as_str().unwrap_or("").to_owned(),
        rule if rule["prefix"].is_string() => format!("{}*", rule["prefix"].as_str().unwrap_or("")),
        rule => match rule.pointer("/safe_regex/regex").and_then(Value::as_str) {
            Some(expression) => format!("regex {expression}"),
            None => rule["path_separated_prefix"]
                .as_str()
                .unwrap_or("*")
                .to_owned(),
        },
    };
    for header in list(&rule["headers"]) {
        let invert = header["invert_match"].as_bool().unwrap_or(false);
        let value = header
            .pointer("/string_match")
            .and_then(Value::as_object)
            .and_then(|test| test.iter().next())
            .map_or_else(String::new, |(kind, value)| match value.as_str() {
                Some(value) if kind == "exact" => format!("={value}"),
                Some(value) => format!(" {kind} {value}"),
                None => format!(" {kind}"),
            });
        let not = if invert { "not " } else { "" };
        text.push_str(&format!(
            " {not}{}{value}",
            header["name"].as_str().unwrap_or("")
        ));
    }
    for parameter in list(&rule["query_parameters"]) {
        text.push_str(&format!(" ?{}", parameter["name"].as_str().unwrap_or("")));
    }
    text
}

fn target(route: &Value) -> String {
    if let Some(redirect) = route.get("redirect") {
        let to = ["host_redirect", "path_redirect", "prefix_rewrite"]
            .iter()
            .find_map(|key| redirect[*key].as_str());
        return format!("redirect {}", to.unwrap_or("https"));
    }
    if let Some(direct) = route.get("direct_response") {
        return format!("answer {}", direct["status"]);
    }
    let action = &route["route"];
    if let Some(cluster) = action["cluster"].as_str() {
        return cluster.to_owned();
    }
    let weighted: Vec<_> = list(&action["weighted_clusters"]["clusters"])
        .map(|cluster| {
            format!(
                "{} {}",
                cluster["weight"],
                cluster["name"].as_str().unwrap_or("")
            )
        })
        .collect();
    weighted.join(", ")
}
