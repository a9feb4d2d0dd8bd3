//! Clusters and endpoints as tables.

use crate::output::table;
use serde_json::Value;

/// `outbound|9080|v1|reviews.default.svc.cluster.local` in its parts.
fn parts(name: &str) -> [String; 4] {
    let mut parts = name.split('|');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(direction), Some(port), Some(subset), Some(host)) => {
            let or_dash = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
            [
                or_dash(host),
                or_dash(port),
                or_dash(subset),
                or_dash(direction),
            ]
        }
        _ => [name.to_owned(), "-".into(), "-".into(), "-".into()],
    }
}

pub fn text(clusters: &[Value]) -> String {
    let rows: Vec<Vec<String>> = clusters
        .iter()
        .map(|cluster| {
            let [host, port, subset, direction] = parts(cluster["name"].as_str().unwrap_or(""));
            let kind = cluster["type"]
                .as_str()
                .or(cluster
                    .pointer("/cluster_type/name")
                    .and_then(Value::as_str))
                .unwrap_or("STATIC");
            let rule = cluster
                .pointer("/metadata/filter_metadata/istio/config")
                .and_then(Value::as_str)
                .map_or_else(|| "-".to_owned(), object_name);
            vec![host, port, subset, direction, kind.to_owned(), rule]
        })
        .collect();
    table(
        &[
            "SERVICE",
            "PORT",
            "SUBSET",
            "DIRECTION",
            "TYPE",
            "DESTINATION RULE",
        ],
        &rows,
    )
}

/// `/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews` as
/// `default/reviews`.
pub fn object_name(path: &str) -> String {
    let mut tail = path.rsplit('/');
    let name = tail.next().unwrap_or(path);
    match (tail.next(), tail.next()) {
        (Some(_), Some(namespace)) => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    }
}

pub fn endpoints(clusters: &Value) -> String {
    let mut rows = Vec::new();
    for cluster in clusters["cluster_statuses"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for host in cluster["host_statuses"].as_array().into_iter().flatten() {
            let address = &host["address"];
            let address = match address.get("socket_address") {
                Some(socket) => format!(
                    "{}:{}",
                    socket["address"].as_str().unwrap_or(""),
                    socket["port_value"]
                ),
                None => address
                    .pointer("/pipe/path")
                    .and_then(Value::as_str)
                    .unwrap_or("-")
                    .to_owned(),
            };
            let health = &host["health_status"];
            let ejected = health["failed_outlier_check"].as_bool().unwrap_or(false);
            rows.push(vec![
                address,
                health["eds_health_status"]
                    .as_str()
                    .unwrap_or("HEALTHY")
                    .to_owned(),
                if ejected { "FAILED" } else { "OK" }.to_owned(),
                cluster["name"].as_str().unwrap_or("").to_owned(),
            ]);
        }
    }
    table(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        assert_eq!(
            parts("outbound|9080|v1|reviews.default.svc.cluster.local"),
            [
                "reviews.default.svc.cluster.local",
                "9080",
                "v1",
                "outbound"
            ]
        );
        assert_eq!(parts("BlackHoleCluster")[0], "BlackHoleCluster");
        assert_eq!(
            object_name("/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews"),
            "shop/reviews"
        );
    }
}
