//! What consistent hashing hashes.

use super::head::Head;
use crate::model::HashPolicy;
use crate::telemetry::ConnectionInfo;
use bytes::Bytes;
use http::HeaderValue;
use http::header::COOKIE;
use smallvec::SmallVec;
use std::net::IpAddr;
use xxhash_rust::xxh64::xxh64;

/// The request's hash by the route's policies, and cookies to set on the way.
pub(crate) fn of_request(
    policies: &[HashPolicy],
    head: &Head,
    client: IpAddr,
    connection: &ConnectionInfo,
    cookies: &mut Vec<HeaderValue>,
) -> Option<u64> {
    let mut hash: Option<u64> = None;
    for policy in policies {
        let (found, terminal) = match policy {
            HashPolicy::Header {
                name,
                rewrite,
                terminal,
            } => (header(head, name, rewrite.as_ref()), *terminal),
            HashPolicy::Cookie {
                name,
                ttl,
                path,
                attributes,
                terminal,
            } => {
                let found = cookie(head, name).map(|value| xxh64(value.as_bytes(), 0));
                let made = || {
                    let ttl = (*ttl)?;
                    let seed = format!("{}{}", connection.facts.source, connection.local);
                    let value = format!("{:016x}", xxh64(seed.as_bytes(), 0));
                    let mut text = format!("{name}=\"{value}\"");
                    if !ttl.is_zero() {
                        text.push_str(&format!("; Max-Age={}", ttl.as_secs()));
                    }
                    if !path.is_empty() {
                        text.push_str(&format!("; Path={path}"));
                    }
                    text.push_str(attributes);
                    text.push_str("; HttpOnly");
                    cookies.extend(HeaderValue::from_str(&text).ok());
                    Some(xxh64(value.as_bytes(), 0))
                };
                (found.or_else(made), *terminal)
            }
            HashPolicy::SourceIp { terminal } => {
                (Some(xxh64(client.to_string().as_bytes(), 0)), *terminal)
            }
            HashPolicy::QueryParameter { name, terminal } => {
                let query = head.path.query().unwrap_or("");
                let value = query.split('&').find_map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (key == &**name).then_some(value)
                });
                (value.map(|value| xxh64(value.as_bytes(), 0)), *terminal)
            }
        };
        if let Some(found) = found {
            // As Envoy combines them: rotate, then exclusive or.
            hash = Some(hash.map_or(found, |hash| hash.rotate_left(1) ^ found));
        }
        if terminal && hash.is_some() {
            break;
        }
    }
    hash
}

fn header(
    head: &Head,
    name: &http::HeaderName,
    rewrite: Option<&(meltemi_re2::Regex, Box<str>)>,
) -> Option<u64> {
    let rewritten = |value: &HeaderValue| match rewrite {
        None => Some(Bytes::copy_from_slice(value.as_bytes())),
        Some((regex, replacement)) => {
            let text = regex.replace_all(value.to_str().ok()?, &**replacement);
            Some(Bytes::copy_from_slice(text.as_bytes()))
        }
    };
    let mut all = head.headers.get_all(name).iter();
    let (first, second) = match name == http::header::HOST {
        true => (&head.authority, None),
        false => (all.next()?, all.next()),
    };
    if second.is_none() && rewrite.is_none() {
        return Some(xxh64(first.as_bytes(), 0));
    }
    // Several values count all, whatever their order.
    let values = [first].into_iter().chain(second).chain(all);
    let mut values: SmallVec<[Bytes; 2]> = values.map(rewritten).collect::<Option<_>>()?;
    values.sort_unstable();
    let hash = |seed, value: &Bytes| xxh64(value, seed);
    Some(values.iter().fold(0, hash))
}

fn cookie<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    head.headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
        .filter(|value| !value.is_empty())
}
