//! Questions derived from a configuration: for every chain of every listener, for every
//! name and route, what matches and what just does not.

use super::examples;
use super::question::{Input, Question, Request, Tls};
use super::routes;
use super::world::Mark;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The workload itself.
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 251, 0, 7);
/// An address that no listener and no service has.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 20);
/// A port that no listener has.
const OTHER_PORT: u16 = 7777;
/// Questions by each further way to a chain.
const OTHER_WAYS: usize = 4;
const ADDRESS: &str = "/address/socket_address/address";
const PORT: &str = "/address/socket_address/port_value";

pub fn questions(listeners: &[Value]) -> Vec<Question> {
    listeners.iter().flat_map(of_listener).collect()
}

fn of_listener(listener: &Value) -> Vec<Question> {
    let name = text(&listener["name"]);
    let address: Ipv4Addr = listener.pointer(ADDRESS).map_or("", text).parse().unwrap();
    let port = listener.pointer(PORT).and_then(Value::as_u64).unwrap() as u16;
    let mark = match name {
        "virtualInbound" => Mark::Inbound,
        "virtualOutbound" => Mark::Outbound,
        _ if listener["bind_to_port"] == false => Mark::Outbound,
        _ => Mark::Direct,
    };
    let place = match name {
        "virtualInbound" => SocketAddrV4::new(OWN, OTHER_PORT),
        "virtualOutbound" => SocketAddrV4::new(ELSEWHERE, OTHER_PORT),
        _ if address.is_unspecified() && mark == Mark::Direct => SocketAddrV4::new(OWN, port),
        _ if address.is_unspecified() => SocketAddrV4::new(ELSEWHERE, port),
        _ => SocketAddrV4::new(address, port),
    };
    let chains = listener["filter_chains"].as_array().into_iter().flatten();
    let fallback = listener.get("default_filter_chain");
    let mut questions = Vec::new();
    for (index, chain) in chains.chain(fallback).enumerate() {
        let name = format!("{name}[{index}]");
        questions.extend(of_chain(&name, chain, mark, place));
    }
    // What no chain may have been made for.
    for (what, tls) in [
        ("bytes", None),
        (
            "TLS for a strange name",
            Some(tls(Some("strange.test"), &[])),
        ),
        ("TLS without a name", Some(tls(None, &[]))),
    ] {
        questions.push(Question {
            name: format!("{name}: {what}"),
            mark,
            destination: place,
            tls,
            input: Input::Bytes,
        });
    }
    questions
}

fn of_chain(name: &str, chain: &Value, mark: Mark, place: SocketAddrV4) -> Vec<Question> {
    let wanted = &chain["filter_chain_match"];
    let port = wanted["destination_port"].as_u64();
    let destination = SocketAddrV4::new(*place.ip(), port.map_or(place.port(), |port| port as u16));
    let transports = transports(chain);
    let manager = chain["filters"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|filter| {
            let config = &filter["typed_config"];
            text(&config["@type"])
                .ends_with(".HttpConnectionManager")
                .then_some(config)
        });
    let mut questions = Vec::new();
    for (index, (label, tls)) in transports.iter().enumerate() {
        let ask = |what: &str, destination: SocketAddrV4, input: Input| Question {
            name: format!("{name} {label}: {what}"),
            mark,
            destination,
            tls: tls.clone(),
            input,
        };
        let Some(manager) = manager else {
            questions.push(ask("bytes", destination, Input::Bytes));
            let request = Input::Http1(request("some.test", "/x"));
            questions.push(ask("a request", destination, request));
            continue;
        };
        let speaks = |protocol: &str| {
            let mut protocols = tls.iter().flat_map(|tls| &tls.protocols);
            protocols.any(|name| name == protocol)
        };
        let requests = routes::requests(manager).into_iter();
        // The routes are the same, however a connection came to them.
        let few = if index == 0 { usize::MAX } else { OTHER_WAYS };
        for (what, request) in requests.take(few) {
            let h2 = what.ends_with(routes::HTTP2);
            if h2 && speaks("http/1.1") {
                continue;
            }
            // A name that is an address is asked for there.
            let ip = request.host.parse().unwrap_or(*destination.ip());
            let destination = SocketAddrV4::new(ip, destination.port());
            let input = match h2 || speaks("h2") {
                true => Input::Http2(request),
                false => Input::Http1(request),
            };
            questions.push(ask(&what, destination, input));
        }
    }
    questions
}

pub fn request(host: &str, target: &str) -> Request {
    Request {
        method: "GET".into(),
        target: target.into(),
        host: host.into(),
        headers: Vec::new(),
        body: "",
    }
}

/// The ways in which a connection comes to match a chain.
fn transports(chain: &Value) -> Vec<(String, Option<Tls>)> {
    let wanted = &chain["filter_chain_match"];
    let names: Vec<&str> = list(&wanted["server_names"]).collect();
    let terminated = chain.get("transport_socket").is_some();
    if !terminated && names.is_empty() && wanted["transport_protocol"] != "tls" {
        return vec![("plain".into(), None)];
    }
    let names: Vec<Option<String>> = match names.is_empty() {
        true => vec![Some("some.test".into())],
        false => names
            .iter()
            .map(|name| Some(examples::host(name)))
            .collect(),
    };
    let mut protocols: Vec<Vec<&str>> = list(&wanted["application_protocols"])
        .map(|name| vec![name])
        .collect();
    if protocols.is_empty() {
        protocols.push(vec![]);
        if terminated {
            protocols.push(vec!["h2"]);
            protocols.push(vec!["http/1.1"]);
        }
    }
    let mut ways = Vec::new();
    for name in &names {
        for protocols in &protocols {
            let label = format!(
                "TLS {} {}",
                name.as_deref().unwrap_or("-"),
                protocols.join(",")
            );
            let tls = tls(name.as_deref(), protocols);
            let without = Tls {
                certified: false,
                ..tls.clone()
            };
            ways.push((label.clone(), Some(tls)));
            if terminated {
                ways.push((format!("{label}, no certificate"), Some(without)));
            }
        }
    }
    ways
}

fn tls(name: Option<&str>, protocols: &[&str]) -> Tls {
    Tls {
        name: name.map(str::to_owned),
        protocols: protocols.iter().map(|&name| name.to_owned()).collect(),
        certified: true,
    }
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn list(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().map(text)
}
