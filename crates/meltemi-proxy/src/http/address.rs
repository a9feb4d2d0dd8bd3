//! Who the client is, by its address: `x-forwarded-for`, `x-forwarded-proto`, and which
//! `x-envoy-*` headers a request may bring (Envoy's `mutateRequestHeaders`).

use super::downstream::{Arrival, Downstream};
use super::head::Head;
use super::names;
use crate::text;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};

/// Removed from requests that are not internal.
static INTERNAL_ONLY: [&HeaderName; 13] = [
    &names::X_ENVOY_EXPECTED_TIMEOUT,
    &names::X_ENVOY_RETRIABLE_CODES,
    &names::X_ENVOY_RETRIABLE_HEADERS,
    &names::X_ENVOY_RETRY_ON,
    &names::X_ENVOY_RETRY_GRPC_ON,
    &names::X_ENVOY_MAX_RETRIES,
    &names::X_ENVOY_ALT_STAT_NAME,
    &names::X_ENVOY_TIMEOUT,
    &names::X_ENVOY_PER_TRY_TIMEOUT,
    &names::X_ENVOY_TIMEOUT_ALT,
    &names::X_ENVOY_FORCE_TRACE,
    &names::X_ENVOY_HEDGE,
    &names::X_ENVOY_IP_TAGS,
];

/// Removed from requests of the outside world as well.
static EDGE_ONLY: [&HeaderName; 6] = [
    &names::X_ENVOY_DECORATOR_OPERATION,
    &names::X_ENVOY_SERVICE_CLUSTER,
    &names::X_ENVOY_SERVICE_NODE,
    &names::X_ENVOY_ORIGINAL_PATH,
    &names::X_ENVOY_ORIGINAL_URL,
    &names::X_ENVOY_ORIGINAL_DST,
];

/// Applies the rules; returns the client's address.
pub(crate) fn apply(arrival: Arrival<'_>, head: &mut Head) -> SocketAddr {
    let options = &arrival.manager.addresses;
    let peer = arrival.info.facts.source;
    let hops = options.trusted_hops as usize;
    let headers = &mut head.headers;
    let client;
    let single;
    if options.use_remote_address {
        single = !headers.contains_key(&names::X_FORWARDED_FOR);
        client = match hops {
            0 => peer,
            _ => forwarded(headers, hops - 1).unwrap_or(peer),
        };
        if !options.skip_xff_append {
            append(headers, peer.ip());
        }
    } else if names::brings(headers, &names::X_FORWARDED_FOR) {
        single = count(headers) == 1;
        client = forwarded(headers, hops).unwrap_or(peer);
    } else {
        (single, client) = (false, peer);
    }
    let trusted = !options.use_remote_address || hops > 0;
    let proto = headers.get(&names::X_FORWARDED_PROTO);
    match proto.filter(|_| trusted).map(HeaderValue::as_bytes) {
        Some(b"https") => head.scheme = "https",
        Some(b"http") => head.scheme = "http",
        Some(_) => {}
        None => {
            head.scheme = arrival.scheme();
            let scheme = names::scheme(head.scheme);
            headers.insert(names::X_FORWARDED_PROTO.clone(), scheme);
        }
    }
    head.internal = single
        && options
            .internal
            .iter()
            .any(|prefix| prefix.contains(client.ip()));
    let edge = options.use_remote_address && !head.internal;
    strip(headers, head.internal, edge);
    if head.internal {
        headers.insert(names::X_ENVOY_INTERNAL.clone(), names::TRUE.clone());
    } else if edge {
        let mut value = String::new();
        text::ip(&mut value, client.ip());
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(names::X_ENVOY_EXTERNAL_ADDRESS.clone(), value);
        }
    }
    client
}

/// Removes what such a request may not bring: one look at the names it has, instead of one for
/// each name that it seldom has.
fn strip(headers: &mut HeaderMap, internal: bool, edge: bool) {
    let is_stripped = |name: &&HeaderName| {
        name.as_str().starts_with("x-envoy-")
            && (**name == names::X_ENVOY_INTERNAL
                || !internal && INTERNAL_ONLY.contains(name)
                || edge && EDGE_ONLY.contains(name))
    };
    let stripped: SmallVec<[HeaderName; 4]> = headers.keys().filter(is_stripped).cloned().collect();
    for name in stripped {
        headers.remove(name);
    }
}

/// `x-request-id`: made when absent; one from outside is replaced unless preserved.
pub(crate) fn request_id(downstream: &Downstream, head: &mut Head) {
    let policy = downstream.manager.request_id;
    let edge = downstream.manager.addresses.use_remote_address && !head.internal;
    if edge && !policy.preserve_external {
        head.headers.remove(&names::X_REQUEST_ID);
    }
    if policy.generate && !names::brings(&head.headers, &names::X_REQUEST_ID) {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut text);
        if let Ok(value) = HeaderValue::from_str(id) {
            head.headers.insert(names::X_REQUEST_ID.clone(), value);
        }
    }
}

fn count(headers: &HeaderMap) -> usize {
    headers
        .get_all(&names::X_FORWARDED_FOR)
        .iter()
        .map(|value| value.as_bytes().split(|byte| *byte == b',').count())
        .sum()
}

/// The address `from_end` places from the end of `x-forwarded-for`.
fn forwarded(headers: &HeaderMap, from_end: usize) -> Option<SocketAddr> {
    let values = headers.get_all(&names::X_FORWARDED_FOR);
    let address = values
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
        .nth(from_end)?;
    let text = std::str::from_utf8(address.trim_ascii()).ok()?;
    let ip: IpAddr = text.parse().ok()?;
    Some(SocketAddr::new(ip, 0))
}

fn append(headers: &mut HeaderMap, ip: IpAddr) {
    let mut all = String::new();
    for value in headers.get_all(&names::X_FORWARDED_FOR) {
        if let Ok(text) = value.to_str() {
            all.push_str(text);
            all.push(',');
        }
    }
    text::ip(&mut all, ip);
    if let Ok(value) = HeaderValue::try_from(all) {
        headers.insert(names::X_FORWARDED_FOR.clone(), value);
    }
}
