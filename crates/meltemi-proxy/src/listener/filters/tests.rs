//! What filters say to new connections.

use super::NetworkFilter;
use crate::compile::{Cx, Names, any, pb::wkt};
use crate::model::{ConnectionFacts, Direction, Transport};
use crate::telemetry::stats::{Counter, Gauge};
use crate::telemetry::{ConnectionInfo, TlsInfo};
use serde_json::{Value, json};
use std::time::Duration;

fn compile(names: &mut Names, kind: &str, fields: Value) -> Result<NetworkFilter, String> {
    let kind = format!("envoy.extensions.filters.network.{kind}");
    let value = meltemi_schema::encode(&kind, &fields).unwrap();
    let type_url = format!("type.googleapis.com/{kind}");
    let typed = any::open(Some(wkt::Any { type_url, value })).unwrap();
    let filter = NetworkFilter::compile(typed, &mut Cx::new(names)).expect("a known filter");
    filter.map_err(|error| error.to_string())
}

fn connection(from: &str, identity: Option<&str>) -> ConnectionInfo {
    let local = "10.1.0.1:9000".parse().unwrap();
    let mut info = ConnectionInfo::new(
        ConnectionFacts {
            destination: local,
            source: from.parse().unwrap(),
            // As if a load balancer had announced the client.
            peer: "192.0.2.1:4711".parse().unwrap(),
            server_name: Some("one.test".into()),
            transport: Transport::Tls,
            application_protocols: Vec::new(),
        },
        local,
        Direction::Inbound,
        "",
    );
    info.tls = identity.map(|identity| TlsInfo {
        peer_uri: Some(identity.into()),
        ..TlsInfo::default()
    });
    info
}

fn rbac(prefix: &str, rules: Value) -> Value {
    json!({ "stat_prefix": prefix, "rules": rules })
}

fn policy(action: &str, permission: Value, principal: Value) -> Value {
    json!({ "action": action, "policies": {
        "p": { "permissions": [permission], "principals": [principal] },
    } })
}

#[test]
fn policies_look_at_addresses_ports_names_and_identities() {
    let any = json!({ "any": true });
    let of = |name: &str| json!({ "authenticated": { "principal_name": { "exact": name } } });
    let by =
        |kind: &str, prefix: &str| json!({ kind: { "address_prefix": prefix, "prefix_len": 8 } });
    let web = "spiffe://cluster.local/ns/shop/sa/web";
    for (permission, principal, matches) in [
        (any.clone(), of(web), true),
        (
            any.clone(),
            of("spiffe://cluster.local/ns/shop/sa/db"),
            false,
        ),
        (any.clone(), by("remote_ip", "10.0.0.0"), true),
        (any.clone(), by("remote_ip", "192.0.0.0"), false),
        (any.clone(), by("source_ip", "10.0.0.0"), true),
        (any.clone(), by("direct_remote_ip", "10.0.0.0"), false),
        (any.clone(), by("direct_remote_ip", "192.0.0.0"), true),
        (json!({ "destination_port": 9000 }), any.clone(), true),
        (json!({ "destination_port": 9001 }), any.clone(), false),
        (
            json!({ "requested_server_name": { "exact": "one.test" } }),
            any.clone(),
            true,
        ),
    ] {
        for (action, admits) in [("ALLOW", matches), ("DENY", !matches)] {
            let rules = policy(action, permission.clone(), principal.clone());
            let names = &mut Names::default();
            let filter = compile(names, "rbac.v3.RBAC", rbac("looks", rules)).unwrap();
            let verdict = filter.admit(&connection("10.9.0.1:4711", Some(web)));
            assert_eq!(verdict.is_ok(), admits, "{action} {permission} {principal}");
        }
    }
}

#[test]
fn denials_are_counted_and_held() {
    let mut fields = rbac(
        "tcp.",
        policy(
            "ALLOW",
            json!({ "any": true }),
            json!({ "not_id": { "any": true } }),
        ),
    );
    fields["delay_deny"] = json!("2s");
    let filter = compile(&mut Names::default(), "rbac.v3.RBAC", fields).unwrap();
    let denied = Counter::new("tcp.rbac.denied");
    let before = denied.value();
    let closed = filter.admit(&connection("10.9.0.1:1", None)).unwrap_err();
    assert_eq!(closed.details, "rbac_access_denied_matched_policy[none]");
    assert_eq!(closed.delay, Duration::from_secs(2));
    assert_eq!(denied.value(), before + 1);
}

#[test]
fn rules_about_requests_are_refused() {
    let header = json!({ "header": { "name": "x", "present_match": true } });
    let rules = policy(
        "DENY",
        json!({ "not_rule": header }),
        json!({ "any": true }),
    );
    let refused = compile(&mut Names::default(), "rbac.v3.RBAC", rbac("r", rules));
    let reason = refused.map(drop).unwrap_err();
    assert_eq!(reason, "rules: connections have no headers and no path");
}

#[test]
fn connections_count_until_they_have_ended() {
    let fields = json!({ "stat_prefix": "c", "max_connections": 2, "delay": "0.5s" });
    let kind = "connection_limit.v3.ConnectionLimit";
    let filter = compile(&mut Names::default(), kind, fields.clone()).unwrap();
    let connection = connection("10.9.0.1:1", None);
    let active = Gauge::scoped("connection_limit", "c", "active_connections");
    let first = filter.admit(&connection).unwrap();
    let second = filter.admit(&connection).unwrap();
    let third = filter.admit(&connection).unwrap_err();
    assert_eq!(third.delay, Duration::from_millis(500));
    drop(second);
    // The third still counts, as long as it is held.
    assert!(filter.admit(&connection).is_err());
    drop(third);
    assert_eq!(active.value(), 1);
    let again = filter.admit(&connection).unwrap();
    assert!(first.is_some() && again.is_some());
    let limited = Counter::scoped("connection_limit", "c", "limited_connections");
    assert_eq!(limited.value(), 2);

    let mut off = fields;
    off["runtime_enabled"] = json!({ "default_value": false, "runtime_key": "x" });
    off["max_connections"] = json!(1);
    let filter = compile(&mut Names::default(), kind, off.clone()).unwrap();
    assert!((0..3).all(|_| filter.admit(&connection).is_ok()));
    off["max_connections"] = json!(0);
    let refused = compile(&mut Names::default(), kind, off).map(drop);
    assert_eq!(refused.unwrap_err(), "max_connections: must be at least 1");
}

#[test]
fn a_share_key_and_a_rate_make_one_limit() {
    let names = &mut Names::default();
    let mut limit = |key: &str, tokens: u32| {
        let bucket = json!({ "max_tokens": tokens, "fill_interval": "3600s" });
        let fields = json!({ "stat_prefix": "l", "token_bucket": bucket, "share_key": key });
        compile(names, "local_ratelimit.v3.LocalRateLimit", fields).unwrap()
    };
    let (one, same, other, own) = (limit("k", 1), limit("k", 1), limit("k", 2), limit("", 1));
    let connection = connection("10.9.0.1:1", None);
    assert!(one.admit(&connection).is_ok());
    assert!(
        same.admit(&connection).is_err(),
        "the bucket is the first one's"
    );
    assert!(other.admit(&connection).is_ok() && own.admit(&connection).is_ok());
}
