//! Small messages that several kinds use.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

use crate::proto::message;

message! {
    /// A share, 0.0 to 100.0 (Istio: `Percent`).
    pub struct Percent {
        /// Percent with decimals; 0.1 is one in a thousand.
        pub value: f64,
    }

    /// A port by number.
    pub struct PortSelector {
        /// 1 to 65535.
        pub number: u32,
    }

    /// A service, and optionally one subset and one port of it.
    pub struct Destination {
        /// Service name, short or fully qualified; short names resolve in the rule's namespace.
        pub host: String,
        /// Subset declared by a DestinationRule; empty for the whole service.
        pub subset: String,
        /// Needed when the service has more than one port.
        pub port: Option<PortSelector>,
    }

    /// A port of a server or a listener.
    pub struct Port {
        /// 1 to 65535.
        pub number: u32,
        /// HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS, ... in any case.
        pub protocol: String,
        /// Label of the port.
        pub name: String,
        /// Deprecated in Gateway; the port of the endpoint.
        pub target_port: u32,
    }

    /// Workloads by exact labels (Istio networking: `WorkloadSelector`).
    pub struct WorkloadSelector {
        /// All of them must be on the workload.
        pub labels: BTreeMap<String, String>,
    }
}

/// How a text is compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StringMatch {
    /// `{}`: no condition on the value. For headers and query parameters: it is present.
    #[default]
    Present,
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// RE2 expression that matches the whole text.
    Regex(String),
}

impl Serialize for StringMatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Present => {}
            Self::Exact(v) => map.serialize_entry("exact", v)?,
            Self::Prefix(v) => map.serialize_entry("prefix", v)?,
            Self::Regex(v) => map.serialize_entry("regex", v)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StringMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Wire {
            exact: Option<String>,
            prefix: Option<String>,
            regex: Option<String>,
        }
        match Wire::deserialize(deserializer)? {
            Wire {
                exact: None,
                prefix: None,
                regex: None,
            } => Ok(Self::Present),
            Wire {
                exact: Some(v),
                prefix: None,
                regex: None,
            } => Ok(Self::Exact(v)),
            Wire {
                exact: None,
                prefix: Some(v),
                regex: None,
            } => Ok(Self::Prefix(v)),
            Wire {
                exact: None,
                prefix: None,
                regex: Some(v),
            } => Ok(Self::Regex(v)),
            _ => Err(de::Error::custom(
                "more than one of exact, prefix, regex is set; keep one",
            )),
        }
    }
}
