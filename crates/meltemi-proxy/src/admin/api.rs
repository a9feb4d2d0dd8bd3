//! Envoy's admin API, `/config_dump` to `/quitquitquit`.

use super::query::Query;
use super::reply::Reply;
use super::server::Incoming;
use super::{Admin, readiness_name};
use crate::config::dump;
use crate::telemetry;
use http::{Method, StatusCode};
use std::fmt::Write;

/// Path, whether it changes something (and needs POST), and what it is.
const PATHS: &[(&str, bool, &str)] = &[
    ("/certs", false, "certificates and trust bundles in use"),
    (
        "/clusters",
        false,
        "upstream clusters and their endpoints (?format=json)",
    ),
    (
        "/config_dump",
        false,
        "the configuration in force (?resource=, ?name_regex=, ?include_eds)",
    ),
    (
        "/drain_listeners",
        true,
        "end connections gracefully (?graceful keeps accepting meanwhile, ?inboundonly)",
    ),
    (
        "/healthcheck/fail",
        true,
        "make /ready and /healthz/ready fail",
    ),
    ("/healthcheck/ok", true, "undo /healthcheck/fail"),
    ("/help", false, "this text"),
    (
        "/listeners",
        false,
        "listeners and their addresses (?format=json)",
    ),
    (
        "/logging",
        true,
        "log levels (?level=LEVEL, ?paths=NAME:LEVEL,..., ?NAME=LEVEL)",
    ),
    ("/quitquitquit", true, "end the proxy"),
    ("/ready", false, "200 LIVE when the proxy serves, else 503"),
    ("/server_info", false, "version, state, uptime, options"),
    (
        "/stats",
        false,
        "statistics (?filter=REGEX, ?format=json|prometheus)",
    ),
    (
        "/stats/prometheus",
        false,
        "statistics in Prometheus' format",
    ),
];

pub(super) async fn answer(admin: &Admin, request: &Incoming) -> Reply {
    let path = request.uri().path();
    let Some((_, changes, _)) = PATHS.iter().find(|(known, ..)| *known == path) else {
        return match path {
            "/" => Reply::ok(help()),
            _ => Reply::text(StatusCode::NOT_FOUND, format!("invalid path. {}", help())),
        };
    };
    let method = request.method();
    if *changes && method != Method::POST {
        return Reply::method_not_allowed(method, "POST");
    }
    if !changes && method != Method::GET && method != Method::HEAD && method != Method::POST {
        return Reply::method_not_allowed(method, "GET");
    }
    let query = Query::parse(request.uri().query());
    match path {
        "/certs" => Reply::json(&admin.config.certs_json()),
        "/clusters" if query.wants_json() => Reply::json(&admin.config.clusters_json()),
        "/clusters" => Reply::ok(admin.config.clusters_text()),
        "/config_dump" => config_dump(admin, &query),
        "/drain_listeners" => {
            let (graceful, inbound) = (query.has("graceful"), query.has("inboundonly"));
            if inbound && !graceful {
                return Reply::bad_request("inboundonly goes with graceful\n".to_owned());
            }
            admin
                .control
                .drain_listeners(&admin.workers, graceful, inbound);
            Reply::ok("OK\n")
        }
        "/healthcheck/fail" => {
            admin.control.fail_health(true);
            Reply::ok("OK\n")
        }
        "/healthcheck/ok" => {
            admin.control.fail_health(false);
            Reply::ok("OK\n")
        }
        "/listeners" => listeners(admin, &query),
        "/logging" => logging(admin, &query),
        "/quitquitquit" => {
            admin.control.quit();
            Reply::ok("OK\n")
        }
        "/ready" => ready(admin),
        "/server_info" => Reply::json(&server_info(admin)),
        "/stats" => stats(&query),
        "/stats/prometheus" => Reply::prometheus(telemetry::prometheus()),
        _ => Reply::ok(help()),
    }
}

fn help() -> String {
    let mut text = String::from("admin commands are:\n");
    for (path, changes, what) in PATHS {
        let post = if *changes { " (POST)" } else { "" };
        let _ = writeln!(text, "  {path}{post}: {what}");
    }
    text
}

fn config_dump(admin: &Admin, query: &Query) -> Reply {
    let wanted = dump::Query {
        endpoints: query.has("include_eds"),
        resource: query.get("resource").map(str::to_owned),
        name: query.get("name_regex").map(str::to_owned),
    };
    match admin.config.config_dump(&wanted) {
        Ok(dump) => Reply::json(&dump),
        Err(why) => Reply::bad_request(why + "\n"),
    }
}

fn listeners(admin: &Admin, query: &Query) -> Reply {
    let failures = admin.workers.bind_failures().borrow().clone();
    if query.wants_json() {
        let mut value = admin.config.listeners_json();
        if let Some(object) = value.as_object_mut()
            && !failures.is_empty()
        {
            let failures = failures.iter().map(|failure| {
                serde_json::json!({
                    "name": failure.listener,
                    "address": failure.address.to_string(),
                    "details": failure.reason,
                })
            });
            object.insert("bind_failures".into(), failures.collect());
        }
        return Reply::json(&value);
    }
    let mut text = admin.config.listeners_text();
    for failure in failures.iter() {
        let _ = writeln!(text, "error: {failure}");
    }
    Reply::ok(text)
}

fn logging(admin: &Admin, query: &Query) -> Reply {
    for (key, value) in query.iter() {
        let result = match key {
            "level" => admin.levels.set_all(value),
            "paths" => value
                .split(',')
                .try_for_each(|pair| match pair.split_once(':') {
                    Some((name, level)) => admin.levels.set(name, level),
                    None => Err(format!("`{pair}` is not NAME:LEVEL")),
                }),
            name => admin.levels.set(name, value),
        };
        if let Err(why) = result {
            return Reply::bad_request(why + "\n");
        }
    }
    Reply::ok(admin.levels.text())
}

fn ready(admin: &Admin) -> Reply {
    match admin.not_ready() {
        None => Reply::ok("LIVE\n"),
        Some(why) => Reply::text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n{why}\n", state(admin)),
        ),
    }
}

fn state(admin: &Admin) -> &'static str {
    if admin.control.unhealthy().is_some() {
        "DRAINING"
    } else {
        readiness_name(&admin.config)
    }
}

fn server_info(admin: &Admin) -> serde_json::Value {
    let uptime = format!("{}s", crate::worker::process_start().elapsed().as_secs());
    serde_json::json!({
        "version": format!("meltemi/{}", env!("CARGO_PKG_VERSION")),
        "state": state(admin),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "command_line_options": admin.command_line,
        "node": {
            "id": admin.config.bootstrap().node.id,
            "cluster": admin.config.bootstrap().node.cluster,
        },
        "connections": admin.workers.active_connections(),
    })
}

fn stats(query: &Query) -> Reply {
    let filter = match query.get("filter").map(meltemi_re2::partial).transpose() {
        Ok(filter) => filter,
        Err(error) => return Reply::bad_request(format!("Invalid regex: {error}\n")),
    };
    match query.get("format") {
        None | Some("" | "text") => Reply::ok(telemetry::stats_text(filter.as_ref())),
        Some("json") => Reply::json(&telemetry::stats_json(filter.as_ref())),
        Some("prometheus") => Reply::prometheus(telemetry::prometheus()),
        Some(other) => Reply::bad_request(format!(
            "format `{other}` is unknown: text, json or prometheus\n"
        )),
    }
}
