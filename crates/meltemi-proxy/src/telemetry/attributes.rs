//! Envoy's attributes of an exchange or connection, for expressions.

use super::{Protocol, StreamInfo, TlsInfo, log};
use crate::clock;
use crate::http::grpc;
use crate::model::{Address, Direction};
use http::StatusCode;
use meltemi_cel::{Attribute, Attributes, Certificate, PeerField, Value};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

/// gRPC's status for what has none.
pub(super) const UNKNOWN: u32 = 2;

/// Attributes of what ended.
pub(super) struct Of<'a>(pub &'a StreamInfo);

/// Whether the data path must keep headers for it.
pub(crate) fn needs_headers(attribute: &Attribute) -> bool {
    use Attribute as A;
    match attribute {
        A::RequestHeader(name) => !name.starts_with(':'),
        A::ResponseHeader(_)
        | A::ResponseTrailer(_)
        | A::RequestSize
        | A::RequestTotalSize
        | A::RequestHeadersBytes
        | A::ResponseGrpcStatus
        | A::ResponseTotalSize
        | A::ResponseHeadersBytes
        | A::VirtualHostName => true,
        _ => false,
    }
}

/// Whether the data path must keep trailers for it.
pub(crate) fn needs_trailers(attribute: &Attribute) -> bool {
    use Attribute as A;
    matches!(attribute, A::ResponseTrailer(_) | A::ResponseTotalSize)
}

/// Of the answer's trailers, its headers, or what its status stands for.
pub(super) fn grpc_status(info: &StreamInfo) -> Option<u32> {
    let header = || grpc::status(&info.response_headers);
    info.grpc_status.or_else(header).or(match info.status {
        0 => None,
        // An answer without a status of gRPC's is no success.
        200 => Some(UNKNOWN),
        status => StatusCode::from_u16(status).ok().map(grpc::status_of),
    })
}

impl<'a> Attributes<'a> for Of<'a> {
    fn get(&self, attribute: &Attribute) -> Option<Value<'a>> {
        use Attribute as A;
        let info = self.0;
        let request = &info.request;
        let connection = &*info.connection;
        let facts = &connection.facts;
        let http = info.protocol != Protocol::Tcp;
        Some(match attribute {
            A::RequestHeader(name) => Value::Text(request_header(info, name)?),
            A::ResponseHeader(name) if &**name == ":status" => {
                Value::Text(status(info)?.to_string().into())
            }
            A::ResponseHeader(name) => Value::Text(log::joined(&info.response_headers, name)?),
            A::ResponseTrailer(name) => {
                let trailers = info.response_trailers.as_deref()?;
                Value::Text(log::joined(trailers, name)?)
            }
            A::RequestPath => Value::text(request.path.as_deref()?),
            A::RequestUrlPath => {
                let path = request.path.as_deref().filter(|_| http)?;
                Value::text(path.split('?').next().unwrap_or_default())
            }
            A::RequestQuery => {
                let path = request.path.as_deref().filter(|_| http)?;
                let query = path.split_once('?').map_or("", |(_, query)| query);
                Value::text(query.split('#').next().unwrap_or_default())
            }
            A::RequestHost => Value::text(request.authority.as_deref()?),
            A::RequestScheme => Value::Text(request_header(info, ":scheme")?),
            A::RequestMethod => Value::Text(request_header(info, ":method")?),
            A::RequestProtocol => Value::text(Some(info.protocol.as_str()).filter(|_| http)?),
            A::RequestTime => {
                let since = info.started_at.duration_since(UNIX_EPOCH).ok()?;
                Value::Timestamp(since.as_nanos() as i128)
            }
            A::RequestDuration => {
                let took = clock::now().saturating_duration_since(info.started);
                Value::Duration(took.as_nanos() as i128)
            }
            A::RequestSize => match request.headers.get("content-length") {
                Some(length) => Value::Int(length.to_str().ok()?.parse().ok()?),
                None => number(info.bytes_received),
            },
            A::RequestTotalSize => number(info.bytes_received + request_bytes(info)),
            A::RequestHeadersBytes => number(request_bytes(info)),
            A::ResponseCode => Value::Int(status(info)?.into()),
            A::ResponseCodeDetails => text(&info.details)?,
            A::ResponseFlags => Value::Int(info.flags.0.into()),
            A::ResponseGrpcStatus => Value::Int(grpc_status(info)?.into()),
            A::ResponseSize => number(info.bytes_sent),
            A::ResponseTotalSize => {
                let trailers = info.response_trailers.as_deref().map_or(0, log::bytes);
                number(info.bytes_sent + response_bytes(info) + trailers)
            }
            A::ResponseHeadersBytes => number(response_bytes(info)),
            A::ConnectionMtls => {
                let tls = connection.tls.as_ref();
                Value::Bool(tls.is_some_and(|tls| !tls.peer_chain.is_empty()))
            }
            A::ConnectionId => Value::Uint(connection.id),
            A::RequestedServerName => Value::text(facts.server_name.as_deref().unwrap_or("")),
            A::ConnectionTerminationDetails => text(&info.termination)?,
            A::Tls(side, of) => certificate(self.tls(*side)?, *of)?,
            A::UpstreamAddress => match upstream(info)? {
                Address::Socket(address) => address_text(address),
                Address::Pipe(path) => Value::Text(path.to_string_lossy().into_owned().into()),
            },
            A::UpstreamPort => match upstream(info)? {
                Address::Socket(address) => Value::Int(address.port().into()),
                Address::Pipe(_) => return None,
            },
            A::UpstreamLocalAddress => address_text(info.upstream_local?),
            A::UpstreamTransportFailureReason => {
                Value::text(info.upstream_failure.as_deref().unwrap_or(""))
            }
            A::UpstreamRequestAttemptCount => Value::Uint(info.attempts.into()),
            A::SourceAddress => address_text(info.client),
            A::SourcePort => Value::Int(info.client.port().into()),
            A::DestinationAddress => address_text(facts.destination),
            A::DestinationPort => Value::Int(facts.destination.port().into()),
            A::ClusterName => Value::text(&info.cluster.as_ref()?.name),
            A::RouteName => Value::text(&info.route.as_ref()?.name),
            A::VirtualHostName => Value::text(&info.virtual_host.as_ref()?.name),
            A::FilterChainName => Value::text(&connection.filter_chain),
            A::ListenerDirection => Value::Int(match connection.direction {
                Direction::Unspecified => 0,
                Direction::Inbound => 1,
                Direction::Outbound => 2,
            }),
            A::Peer(side, field) => text(peer(info, *side, *field)?)?,
            A::Absent(_) => return None,
        })
    }
}

impl<'a> Of<'a> {
    fn tls(&self, side: meltemi_cel::Direction) -> Option<&'a TlsInfo> {
        match side {
            meltemi_cel::Direction::Downstream => self.0.connection.tls.as_ref(),
            meltemi_cel::Direction::Upstream => self.0.upstream_tls.as_deref(),
        }
    }
}

/// The peer whose metadata are exchanged: the client's inbound, the upstream's elsewhere.
fn peer(info: &StreamInfo, side: meltemi_cel::Direction, field: PeerField) -> Option<&str> {
    let inbound = info.connection.direction == Direction::Inbound;
    if inbound != (side == meltemi_cel::Direction::Downstream) {
        return None;
    }
    let peer = info.peer.as_deref();
    let configured = || info.endpoint.as_deref()?.workload.as_ref();
    let workload = peer.and_then(|peer| peer.workload.as_ref());
    let workload = workload.or_else(|| configured().filter(|_| !inbound));
    Some(match field {
        PeerField::App => &peer?.app,
        PeerField::Version => &peer?.version,
        PeerField::Workload => &workload?.name,
        PeerField::Namespace => &workload?.namespace,
        PeerField::Service => &workload?.canonical_name,
        PeerField::Revision => &workload?.canonical_revision,
        PeerField::Cluster => &workload?.cluster,
    })
}

fn status(info: &StreamInfo) -> Option<u16> {
    Some(info.status).filter(|status| *status > 0)
}

fn number<'a>(value: u64) -> Value<'a> {
    Value::Int(value.try_into().unwrap_or(i64::MAX))
}

fn text(value: &str) -> Option<Value<'_>> {
    (!value.is_empty()).then(|| Value::text(value))
}

fn address_text<'a>(address: SocketAddr) -> Value<'a> {
    let mut out = String::new();
    crate::text::socket(&mut out, address);
    Value::Text(out.into())
}

fn upstream(info: &StreamInfo) -> Option<Address> {
    let remote = info.upstream_remote.map(Address::Socket);
    remote.or_else(|| Some(info.endpoint.as_ref()?.address.clone()))
}

fn request_header<'a>(info: &'a StreamInfo, name: &str) -> Option<Cow<'a, str>> {
    let request = &info.request;
    match name {
        ":method" => request.method.as_ref().map(|method| method.as_str().into()),
        ":authority" | "host" => request.authority.as_deref().map(Cow::Borrowed),
        ":path" => request.path.as_deref().map(Cow::Borrowed),
        ":scheme" => Some(request.scheme.into()).filter(|scheme: &Cow<'_, str>| !scheme.is_empty()),
        name => log::joined(&request.headers, name),
    }
}

fn request_bytes(info: &StreamInfo) -> u64 {
    match info.protocol {
        Protocol::Tcp => 0,
        _ => log::request_bytes(info),
    }
}

fn response_bytes(info: &StreamInfo) -> u64 {
    match info.status {
        0 => 0,
        status => {
            let line = ":status".len() + status.to_string().len();
            log::bytes(&info.response_headers) + line as u64
        }
    }
}

fn certificate(tls: &TlsInfo, of: Certificate) -> Option<Value<'_>> {
    Some(Value::text(match of {
        Certificate::Version => tls.version,
        Certificate::PeerSubject => tls.peer_subject.as_deref().unwrap_or(""),
        Certificate::LocalUriSan => tls.local_uri.as_deref()?,
        Certificate::PeerUriSan => tls.peer_uri.as_deref()?,
        Certificate::PeerDnsSan => tls.peer_dns.first()?,
        Certificate::PeerDigest => tls.peer_hash.as_deref()?,
        Certificate::LocalSubject | Certificate::LocalDnsSan => return None,
    }))
}
