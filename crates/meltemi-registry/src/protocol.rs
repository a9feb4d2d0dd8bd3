//! What a port speaks, and how that is known: `appProtocol`, the port's name, well-known
//! ports, in Istio's order; otherwise the proxy looks at the first bytes.

use std::fmt;

use k8s_openapi::api::core::v1::ServicePort;

/// A port's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Udp,
    Mongo,
    Mysql,
    Redis,
    /// Not declared: HTTP is recognised from the first bytes, anything else is TCP.
    Sniffed,
}

impl Protocol {
    /// Istio's name of a protocol, in any case ("HTTP2", "grpc-web"); `None` for unknown ones.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" | "grpc_web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "mongo" => Self::Mongo,
            "mysql" => Self::Mysql,
            "redis" => Self::Redis,
            _ => return None,
        })
    }

    /// The protocol of a port of a Kubernetes Service.
    pub fn of_kubernetes(port: &ServicePort) -> Self {
        Self::of_service_port(
            u16::try_from(port.port).unwrap_or_default(),
            port.name.as_deref().unwrap_or_default(),
            port.protocol.as_deref().unwrap_or("TCP"),
            port.app_protocol.as_deref(),
        )
    }

    /// The protocol of a port, by what is said of it.
    pub(crate) fn of_service_port(
        port: u16,
        name: &str,
        transport: &str,
        app_protocol: Option<&str>,
    ) -> Self {
        if transport.eq_ignore_ascii_case("UDP") {
            return Self::Udp;
        }
        if let Some(declared) = app_protocol {
            // KEP-3726 and the names that Istio reads as their plain protocol.
            match declared {
                "kubernetes.io/h2c" => return Self::Http2,
                "kubernetes.io/ws" => return Self::Http,
                "kubernetes.io/wss" => return Self::Https,
                _ => {}
            }
            if let Some(protocol) = Self::parse(declared) {
                return protocol;
            }
        }
        if let Some(protocol) = Self::from_port_name(name) {
            return protocol;
        }
        // Server-first protocols: the client waits for the server's greeting, and waiting for
        // the client's first bytes would hang the connection (Istio's well-known ports).
        match port {
            25 | 53 | 3306 | 27017 => Self::Tcp,
            _ => Self::Sniffed,
        }
    }

    /// `name` or `name-suffix`, the name being a protocol's.
    fn from_port_name(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        if lower == "grpc-web" || lower.starts_with("grpc-web-") {
            return Some(Self::GrpcWeb);
        }
        Self::parse(lower.split('-').next().unwrap_or_default())
    }

    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Speaks HTTP/2 without negotiation.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Encrypted by the application: routed by SNI, not looked into.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    pub fn is_sniffed(self) -> bool {
        self == Self::Sniffed
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::GrpcWeb => "GRPC-Web",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Mongo => "Mongo",
            Self::Mysql => "MySQL",
            Self::Redis => "Redis",
            Self::Sniffed => "auto",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocol_beats_the_name_and_the_name_beats_the_port() {
        let of = Protocol::of_service_port;
        assert_eq!(of(9080, "http", "TCP", None), Protocol::Http);
        assert_eq!(of(9080, "http-web", "TCP", None), Protocol::Http);
        assert_eq!(of(9080, "grpc-web-x", "TCP", None), Protocol::GrpcWeb);
        assert_eq!(of(9080, "grpc-api", "TCP", None), Protocol::Grpc);
        assert_eq!(of(9080, "http", "TCP", Some("tcp")), Protocol::Tcp);
        assert_eq!(
            of(9080, "x", "TCP", Some("kubernetes.io/h2c")),
            Protocol::Http2
        );
        assert_eq!(of(3306, "db", "TCP", None), Protocol::Tcp);
        assert_eq!(of(3306, "http", "TCP", None), Protocol::Http);
        assert_eq!(of(9080, "", "TCP", None), Protocol::Sniffed);
        assert_eq!(of(9080, "httpx", "TCP", None), Protocol::Sniffed);
        assert_eq!(of(53, "dns", "UDP", None), Protocol::Udp);
    }
}
