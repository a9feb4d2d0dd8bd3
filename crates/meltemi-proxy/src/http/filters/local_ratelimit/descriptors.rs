//! Descriptors: what a request is, as far as limits tell requests apart.

use crate::http::filters::Call;
use crate::http::{head::Head, matching};
use crate::model::{Action, IpPrefix, RateLimit, RateLimitAction, RateLimitValue};
use http::HeaderValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::IpAddr;

/// Entries in the order of the actions.
pub type Descriptor<'a> = SmallVec<[(&'a str, Cow<'a, [u8]>); 2]>;
pub type Descriptors<'a> = SmallVec<[Descriptor<'a>; 2]>;

/// How a virtual host's `rate_limits` go with those of its route (`vh_rate_limits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VirtualHostLimits {
    /// Where the route has none.
    Override,
    Include,
    Ignore,
}

/// What the request's route and virtual host make of it; nothing without a route that forwards.
pub fn of_route<'a>(call: &'a Call<'_>, stage: u32, option: VirtualHostLimits) -> Descriptors<'a> {
    let mut all = Descriptors::new();
    let Some((matched, _)) = call.matched else {
        return all;
    };
    let Action::Forward(forward) = &matched.route.action else {
        return all;
    };
    add(&mut all, &forward.rate_limits, stage, call);
    let host = match option {
        _ if forward.include_host_rate_limits => true,
        VirtualHostLimits::Include => true,
        VirtualHostLimits::Ignore => false,
        VirtualHostLimits::Override => forward.rate_limits.is_empty(),
    };
    if host {
        add(&mut all, &matched.host().rate_limits, stage, call);
    }
    all
}

/// Adds what these make of a request.
pub fn add<'a>(all: &mut Descriptors<'a>, limits: &'a [RateLimit], stage: u32, call: &'a Call<'_>) {
    let limits = limits.iter().filter(|limit| limit.stage == stage);
    all.extend(limits.filter_map(|limit| descriptor(limit, call)));
}

fn descriptor<'a>(limit: &'a RateLimit, call: &'a Call<'_>) -> Option<Descriptor<'a>> {
    let mut entries = Descriptor::new();
    for RateLimitAction { key, value } in &limit.actions {
        match self::value(value, call) {
            Value::Is(value) => entries.push((key, value)),
            Value::Skip => {}
            Value::None => return None,
        }
    }
    (!entries.is_empty()).then_some(entries)
}

enum Value<'a> {
    Is(Cow<'a, [u8]>),
    /// The entry is left out.
    Skip,
    /// There is no descriptor.
    None,
}

fn value<'a>(value: &'a RateLimitValue, call: &'a Call<'_>) -> Value<'a> {
    let head: &Head = call.head;
    let client = call.exchange.client.ip();
    let or = |value: Option<&'a [u8]>, skip: bool| match (value, skip) {
        (Some(value), _) => Value::Is(value.into()),
        (None, true) => Value::Skip,
        (None, false) => Value::None,
    };
    match value {
        RateLimitValue::Text(text) => Value::Is(text.as_bytes().into()),
        RateLimitValue::DestinationCluster => or(
            call.cluster().map(|cluster| cluster.config.name.as_bytes()),
            false,
        ),
        RateLimitValue::RemoteAddress => Value::Is(client.to_string().into_bytes().into()),
        RateLimitValue::MaskedRemoteAddress(v4, v6) => {
            let length = if client.is_ipv4() { *v4 } else { *v6 };
            Value::Is(masked(client, length).into_bytes().into())
        }
        RateLimitValue::Header { name, skip } => {
            or(head.headers.get(name).map(HeaderValue::as_bytes), *skip)
        }
        RateLimitValue::QueryParameter { name, skip } => {
            let mut pairs = head.path.query().unwrap_or("").split('&');
            let value = pairs.find_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (key == &**name).then_some(value.as_bytes())
            });
            or(value.filter(|value| !value.is_empty()), *skip)
        }
        RateLimitValue::IfHeaders {
            text,
            headers,
            matching,
        } => {
            let all = headers
                .iter()
                .all(|matcher| matching::header(matcher, head));
            or((all == *matching).then_some(text.as_bytes()), false)
        }
        RateLimitValue::IfQuery {
            text,
            query,
            matching,
        } => {
            let of = head.path.query().unwrap_or("");
            let all = query.iter().all(|matcher| matching::query(matcher, of));
            or((all == *matching).then_some(text.as_bytes()), false)
        }
    }
}

/// `10.1.0.0/16`.
fn masked(ip: IpAddr, length: u8) -> String {
    let prefix = IpPrefix {
        address: ip,
        length,
    };
    format!("{}/{length}", prefix.network())
}
