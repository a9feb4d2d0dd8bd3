//! Values that operators name with arguments.

use super::render::clean;
use crate::clock;
use crate::model::{Address, AddressPart, End, Moment, PathForm, PathOf, StatusForm};
use crate::telemetry::trace::Context;
use crate::telemetry::{Ending, StreamInfo};
use crate::text::{ip, number, socket};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// Names of gRPC's statuses by their number.
const STATUSES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

// Each answers false when the value is not known: nothing was written.

pub(super) fn address(out: &mut String, end: End, part: AddressPart, info: &StreamInfo) -> bool {
    let connection = &info.connection;
    let upstream = || match &info.endpoint.as_ref()?.address {
        Address::Socket(address) => Some(*address),
        Address::Pipe(_) => None,
    };
    let address: Option<SocketAddr> = match end {
        // Of a connection that there is.
        End::UpstreamRemote => info
            .upstream_local
            .and_then(|_| info.upstream_remote.or_else(upstream)),
        End::UpstreamLocal => info.upstream_local,
        End::Remote => Some(info.client),
        End::DirectRemote => Some(connection.facts.peer),
        End::Local => Some(connection.facts.destination),
        End::DirectLocal => Some(connection.local),
    };
    let Some(address) = address else {
        return false;
    };
    match part {
        AddressPart::Whole => socket(out, address),
        AddressPart::Ip => ip(out, address.ip()),
        AddressPart::Network(bits) => network(out, address.ip(), bits),
        AddressPart::Port => number(out, address.port().into()),
    }
    true
}

fn network(out: &mut String, address: IpAddr, bits: u8) {
    let (masked, bits) = match address {
        IpAddr::V4(address) => {
            let bits = bits.min(32);
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            (IpAddr::V4((address.to_bits() & mask).into()), bits)
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            (IpAddr::V6((address.to_bits() & mask).into()), bits)
        }
    };
    ip(out, masked);
    out.push('/');
    number(out, bits.into());
}

pub(super) fn between(
    out: &mut String,
    (from, to): (Moment, Moment),
    unit: u64,
    info: &StreamInfo,
) -> bool {
    let at = |moment| -> Option<Instant> {
        match moment {
            Moment::RequestBegan => Some(info.started),
            Moment::RequestEnded => info.request_complete,
            Moment::UpstreamBegan => info.first_upstream_byte,
            Moment::UpstreamEnded => info.last_upstream_byte,
            Moment::Ended => Some(clock::now()),
        }
    };
    // Moments in the wrong order have nothing between them, as in Envoy.
    let took = at(from)
        .zip(at(to))
        .and_then(|(from, to)| to.checked_duration_since(from));
    let Some(took) = took else {
        return false;
    };
    number(
        out,
        (took.as_nanos() / u128::from(1_000_000_000 / unit)) as u64,
    );
    true
}

pub(super) fn query(out: &mut String, name: Option<&str>, info: &StreamInfo) -> bool {
    let path = info.request.path.as_deref().unwrap_or_default();
    let Some((_, query)) = path.split_once('?') else {
        return false;
    };
    let query = query.split('#').next().unwrap_or_default();
    let value = match name {
        None => Some(query),
        Some(name) => query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        }),
    };
    if let Some(value) = value {
        clean(out, value.as_bytes());
    }
    value.is_some()
}

pub(super) fn path(out: &mut String, form: PathForm, info: &StreamInfo) -> bool {
    let sent = || info.request.path.as_deref();
    let original = || {
        let value = info.request.headers.get("x-envoy-original-path");
        value.and_then(|value| value.to_str().ok())
    };
    let path = match form.of {
        PathOf::OriginalOrSent => original().or_else(sent),
        PathOf::Original => original(),
        PathOf::Sent => sent(),
    };
    let Some(path) = path else {
        return false;
    };
    let path = match form.query {
        true => path,
        false => path.split('?').next().unwrap_or_default(),
    };
    clean(out, path.as_bytes());
    true
}

pub(super) fn trace(
    out: &mut String,
    info: &StreamInfo,
    write: impl FnOnce(&Context, &mut String),
) -> bool {
    let trace = info.trace.as_ref();
    if let Some(trace) = trace {
        write(&trace.span.context, out);
    }
    trace.is_some()
}

pub(super) fn log_type(info: &StreamInfo) -> &'static str {
    match info.ending {
        Ending::Request => "DownstreamEnd",
        Ending::Connection => "TcpConnectionEnd",
        Ending::AtListener => "NotSet",
    }
}

/// The endpoint's name, where it has one.
pub(super) fn host_name(info: &StreamInfo) -> Option<&str> {
    let name = info.endpoint.as_ref().map(|endpoint| &*endpoint.hostname);
    name.filter(|name| !name.is_empty())
}

/// A host without its port, if it has one: colons within brackets belong to the address.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u32>().is_ok() => name,
        _ => host,
    }
}

pub(super) fn grpc_status(out: &mut String, form: StatusForm, info: &StreamInfo) -> bool {
    let Some(status) = info.grpc_status else {
        return false;
    };
    let name = STATUSES.get(status as usize);
    match (form, name) {
        (StatusForm::Camel, Some(name)) => out.push_str(name),
        // The words of the other form, in capitals.
        (StatusForm::Snake, Some(name)) => {
            for (index, c) in name.char_indices() {
                if index > 0 && c.is_ascii_uppercase() && *name != "OK" {
                    out.push('_');
                }
                out.push(c.to_ascii_uppercase());
            }
        }
        (StatusForm::Number, _) | (_, None) => number(out, status.into()),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_ports_and_networks() {
        for (host, bare) in [
            ("service.test:80", "service.test"),
            ("service.test", "service.test"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("/run/a:b", "/run/a:b"),
        ] {
            assert_eq!(without_port(host), bare);
        }
        for (address, bits, wanted) in [
            ("10.1.2.3", 8, "10.0.0.0/8"),
            ("10.1.2.3", 0, "0.0.0.0/0"),
            ("10.1.2.3", 128, "10.1.2.3/32"),
            ("2001:db8::1", 32, "2001:db8::/32"),
            ("2001:db8::1", 0, "::/0"),
        ] {
            let mut out = String::new();
            network(&mut out, address.parse().unwrap(), bits);
            assert_eq!(out, wanted);
        }
    }
}
