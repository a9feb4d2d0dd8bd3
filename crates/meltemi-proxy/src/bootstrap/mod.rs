//! Envoy's bootstrap: the file a proxy process starts from.
//!
//! JSON, YAML and binary protobuf are read, as strictly as Envoy reads them: an unknown
//! field is an error that names its path. Static resources stay encoded until the
//! configuration manager compiles them, one by one.

mod parse;
mod split;

pub use parse::BootstrapError;

use crate::compile::Notice;
use crate::overload::Overload;
use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a bootstrap says, as far as the proxy acts on it.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// Introduces the proxy to its control plane.
    pub node: Node,
    pub admin: Option<AdminAddress>,
    pub overload: Option<Overload>,
    /// Encoded `Listener`s, `Cluster`s and `Secret`s.
    pub listeners: Vec<Bytes>,
    pub clusters: Vec<Bytes>,
    pub secrets: Vec<Bytes>,
    /// The ADS stream.
    pub ads: Option<AdsSource>,
    /// Listeners and clusters come by ADS; how long start-up waits for the first ones (0:
    /// for ever).
    pub lds: Option<Duration>,
    pub cds: Option<Duration>,
    /// What the bootstrap is honoured without.
    pub notices: Vec<Notice>,
    /// The message without its static resources, encoded, for `/config_dump`.
    pub rest: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    Socket(SocketAddr),
    Pipe(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdsSource {
    /// Static cluster that leads to the server.
    pub cluster: String,
    /// Delta or state of the world.
    pub delta: bool,
}

/// The forms a bootstrap comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Protobuf,
}

impl Format {
    /// By the file's suffix, as Envoy decides; JSON and YAML are told apart by content
    /// when there is none.
    pub fn of(path: &Path, content: &[u8]) -> Self {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            Some("pb") => Self::Protobuf,
            _ if content.trim_ascii_start().starts_with(b"{") => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// Place and problem, without the excerpt that follows.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl Bootstrap {
    /// Reads a bootstrap file.
    ///
    /// # Errors
    /// When it cannot be read or is no valid bootstrap; the error names the field.
    pub fn read(path: &Path) -> Result<Self, BootstrapError> {
        let content = std::fs::read(path).map_err(BootstrapError::Read)?;
        Self::parse(&content, Format::of(path, &content))
    }

    /// Reads a bootstrap from memory.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(content: &[u8], format: Format) -> Result<Self, BootstrapError> {
        let parts = match format {
            Format::Protobuf => split::protobuf(content)?,
            Format::Json => split::text(parse::utf8(content)?)?,
            Format::Yaml => {
                let value: serde_json::Value = serde_saphyr::from_str(parse::utf8(content)?)
                    .map_err(|error| BootstrapError::Yaml(first_line(&error)))?;
                split::text(&value.to_string())?
            }
        };
        parse::bootstrap(parts)
    }

    /// The node's `METADATA.KEY` as text.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        use envoy_types::pb::google::protobuf::value::Kind;
        match &self.node.metadata.as_ref()?.fields.get(key)?.kind {
            Some(Kind::StringValue(text)) => Some(text),
            _ => None,
        }
    }
}
