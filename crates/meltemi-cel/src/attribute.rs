//! Envoy's attributes, and those of Istio's metrics: what an expression can ask about.

/// What an expression names, for example `request.headers['x']`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A header; its name is in lower case, and may be HTTP/2's (`:path`).
    RequestHeader(Box<str>),
    ResponseHeader(Box<str>),
    ResponseTrailer(Box<str>),
    /// With query.
    RequestPath,
    RequestUrlPath,
    RequestQuery,
    RequestHost,
    RequestScheme,
    RequestMethod,
    RequestProtocol,
    RequestTime,
    /// From the first byte to the end of the exchange.
    RequestDuration,
    RequestSize,
    RequestTotalSize,
    RequestHeadersBytes,
    ResponseCode,
    ResponseCodeDetails,
    /// Envoy's bits.
    ResponseFlags,
    ResponseGrpcStatus,
    ResponseSize,
    ResponseTotalSize,
    ResponseHeadersBytes,
    ConnectionMtls,
    ConnectionId,
    RequestedServerName,
    ConnectionTerminationDetails,
    /// Of TLS with the client or with the upstream.
    Tls(Direction, Certificate),
    UpstreamAddress,
    UpstreamPort,
    UpstreamLocalAddress,
    UpstreamTransportFailureReason,
    UpstreamRequestAttemptCount,
    SourceAddress,
    SourcePort,
    DestinationAddress,
    DestinationPort,
    ClusterName,
    RouteName,
    VirtualHostName,
    FilterChainName,
    ListenerDirection,
    /// Istio's peer of a connection (`downstream_peer`, `upstream_peer`, and `filter_state`'s).
    Peer(Direction, PeerField),
    /// One of Envoy's that has no value here.
    Absent(Box<str>),
}

/// Whose connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Downstream,
    Upstream,
}

/// What TLS tells of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    Version,
    LocalSubject,
    PeerSubject,
    LocalUriSan,
    PeerUriSan,
    LocalDnsSan,
    PeerDnsSan,
    PeerDigest,
}

/// What is known of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerField {
    Workload,
    Namespace,
    Service,
    Revision,
    App,
    Version,
    Cluster,
}

impl Attribute {
    pub(crate) fn find(path: &[String]) -> Result<Self, String> {
        let mut names = [""; 4];
        let known = path.len() <= names.len();
        for (name, part) in names.iter_mut().zip(path) {
            *name = part;
        }
        let [root, field, key, rest] = names;
        let found = match (known, path.len(), root) {
            (true, 3, "request") if field == "headers" => header(key).map(Self::RequestHeader),
            (true, 3, "response") if field == "headers" => header(key).map(Self::ResponseHeader),
            (true, 3, "response") if field == "trailers" => header(key).map(Self::ResponseTrailer),
            (true, 2, "request") => request(field),
            (true, 2, "response") => response(field),
            (true, 2, "connection") => connection(field),
            (true, 2, "upstream") => upstream(field),
            (true, 2, "source" | "destination") => peer_address(root == "source", field),
            (true, 2, "xds") => xds(field),
            (true, 2, "downstream_peer") => peer(Direction::Downstream, field),
            (true, 2, "upstream_peer") => peer(Direction::Upstream, field),
            (true, 3, "filter_state") if rest.is_empty() => match field {
                "downstream_peer" => peer(Direction::Downstream, key),
                "upstream_peer" => peer(Direction::Upstream, key),
                _ => None,
            },
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let name = path.join(".");
        match is_envoys(root, field, path.len()) {
            true => Ok(Self::Absent(name.into())),
            false => Err(format!("there is no attribute {name}")),
        }
    }
}

fn header(name: &str) -> Option<Box<str>> {
    let name = name.to_ascii_lowercase();
    let token = name.strip_prefix(':').unwrap_or(&name);
    let valid = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    (!token.is_empty() && token.bytes().all(valid)).then(|| name.into())
}

fn request(field: &str) -> Option<Attribute> {
    let named = |name: &str| Attribute::RequestHeader(name.into());
    Some(match field {
        "path" => Attribute::RequestPath,
        "url_path" => Attribute::RequestUrlPath,
        "query" => Attribute::RequestQuery,
        "host" => Attribute::RequestHost,
        "scheme" => Attribute::RequestScheme,
        "method" => Attribute::RequestMethod,
        "protocol" => Attribute::RequestProtocol,
        "referer" => named("referer"),
        "id" => named("x-request-id"),
        "useragent" => named("user-agent"),
        "time" => Attribute::RequestTime,
        "duration" => Attribute::RequestDuration,
        "size" => Attribute::RequestSize,
        "total_size" => Attribute::RequestTotalSize,
        "headers_bytes" => Attribute::RequestHeadersBytes,
        _ => return None,
    })
}

fn response(field: &str) -> Option<Attribute> {
    Some(match field {
        "code" => Attribute::ResponseCode,
        "code_details" => Attribute::ResponseCodeDetails,
        "flags" => Attribute::ResponseFlags,
        "grpc_status" => Attribute::ResponseGrpcStatus,
        "size" => Attribute::ResponseSize,
        "total_size" => Attribute::ResponseTotalSize,
        "headers_bytes" => Attribute::ResponseHeadersBytes,
        _ => return None,
    })
}

fn connection(field: &str) -> Option<Attribute> {
    Some(match field {
        "mtls" => Attribute::ConnectionMtls,
        "id" => Attribute::ConnectionId,
        "requested_server_name" => Attribute::RequestedServerName,
        "termination_details" => Attribute::ConnectionTerminationDetails,
        _ => return certificate(field).map(|of| Attribute::Tls(Direction::Downstream, of)),
    })
}

fn upstream(field: &str) -> Option<Attribute> {
    Some(match field {
        "address" => Attribute::UpstreamAddress,
        "port" => Attribute::UpstreamPort,
        "local_address" => Attribute::UpstreamLocalAddress,
        "transport_failure_reason" => Attribute::UpstreamTransportFailureReason,
        "request_attempt_count" => Attribute::UpstreamRequestAttemptCount,
        _ => return certificate(field).map(|of| Attribute::Tls(Direction::Upstream, of)),
    })
}

fn certificate(field: &str) -> Option<Certificate> {
    Some(match field {
        "tls_version" => Certificate::Version,
        "subject_local_certificate" => Certificate::LocalSubject,
        "subject_peer_certificate" => Certificate::PeerSubject,
        "uri_san_local_certificate" => Certificate::LocalUriSan,
        "uri_san_peer_certificate" => Certificate::PeerUriSan,
        "dns_san_local_certificate" => Certificate::LocalDnsSan,
        "dns_san_peer_certificate" => Certificate::PeerDnsSan,
        "sha256_peer_certificate_digest" => Certificate::PeerDigest,
        _ => return None,
    })
}

fn peer_address(source: bool, field: &str) -> Option<Attribute> {
    Some(match (source, field) {
        (true, "address") => Attribute::SourceAddress,
        (true, "port") => Attribute::SourcePort,
        (false, "address") => Attribute::DestinationAddress,
        (false, "port") => Attribute::DestinationPort,
        _ => return None,
    })
}

fn xds(field: &str) -> Option<Attribute> {
    Some(match field {
        "cluster_name" => Attribute::ClusterName,
        "route_name" => Attribute::RouteName,
        "virtual_host_name" => Attribute::VirtualHostName,
        "filter_chain_name" => Attribute::FilterChainName,
        "listener_direction" => Attribute::ListenerDirection,
        _ => return None,
    })
}

/// The names that Istio's object of a workload has.
fn peer(side: Direction, field: &str) -> Option<Attribute> {
    let field = match field {
        "workload" => PeerField::Workload,
        "namespace" => PeerField::Namespace,
        "service" => PeerField::Service,
        "revision" => PeerField::Revision,
        "app" => PeerField::App,
        "version" => PeerField::Version,
        "cluster" => PeerField::Cluster,
        _ => return None,
    };
    Some(Attribute::Peer(side, field))
}

/// What Envoy or Istio's proxy knows and this program has no value for.
fn is_envoys(root: &str, field: &str, length: usize) -> bool {
    match root {
        "metadata" | "filter_state" | "upstream_filter_state" => true,
        // Of Istio's metrics.
        "node" | "downstream_peer" | "upstream_peer" => true,
        "response" => field == "backend_latency",
        "connection" => ["transport_failure_reason", "peer_certificate"].contains(&field),
        "upstream" => {
            [
                "cx_pool_ready_duration",
                "num_endpoints",
                "peer_certificate",
            ]
            .contains(&field)
                || field == "locality" && length == 3
        }
        "xds" => [
            "node",
            "cluster_metadata",
            "route_metadata",
            "virtual_host_metadata",
            "upstream_host_metadata",
            "upstream_host_locality_metadata",
            "listener_metadata",
        ]
        .contains(&field),
        _ => false,
    }
}
