//! The format of a file of tests. Unknown fields are refused: a misspelt expectation must not
//! pass.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use meltemi_api::{FieldPath, Segment};
use meltemi_config::yaml;
use serde::Deserialize;

use crate::call::Tls;
use crate::journey::Request;

const API_VERSION: &str = "meltemi.dev/v1alpha1";
const KIND: &str = "ConfigurationTest";
/// The line by which such a file is told from configuration.
pub(super) const KIND_LINE: &str = "kind: ConfigurationTest";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Suite {
    /// `meltemi.dev/v1alpha1`.
    api_version: String,
    /// `ConfigurationTest`.
    kind: String,
    /// Files and directories (from the file's own directory) or text, for all tests.
    #[serde(default)]
    pub configuration: Vec<Source>,
    /// Who calls, where a test does not say.
    #[serde(default)]
    pub from: Option<Client>,
    pub tests: Vec<Case>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Source {
    Path(PathBuf),
    Inline { inline: String },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Client {
    /// `NAME` or `NAMESPACE/NAME`.
    Workload(String),
    Described(Described),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Described {
    #[serde(default)]
    pub kind: Kind,
    #[serde(default = "default_name")]
    pub namespace: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default = "test_address")]
    pub ips: Vec<IpAddr>,
    #[serde(default = "default_name")]
    pub service_account: String,
    /// `REGION/ZONE/SUBZONE`.
    #[serde(default)]
    pub locality: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    #[default]
    Sidecar,
    Gateway,
}

fn default_name() -> String {
    "default".to_owned()
}

/// A range for documentation (RFC 5737, TEST-NET-3).
fn test_address() -> Vec<IpAddr> {
    vec![Ipv4Addr::new(203, 0, 113, 1).into()]
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    pub name: String,
    #[serde(default)]
    pub from: Option<Client>,
    /// Beside the file's.
    #[serde(default)]
    pub configuration: Vec<Source>,
    pub call: CallSpec,
    pub expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CallSpec {
    pub url: String,
    #[serde(default)]
    pub method: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub tls: Option<Tls>,
    #[serde(default)]
    pub sni: Option<String>,
    #[serde(default)]
    pub alpn: Option<Vec<String>>,
    /// The client's address.
    #[serde(default)]
    pub source: Option<IpAddr>,
}

impl CallSpec {
    pub fn request(&self) -> Request {
        Request {
            url: self.url.clone(),
            method: self.method.clone(),
            headers: self.headers.clone().into_iter().collect(),
            tls: self.tls,
            sni: self.sni.clone(),
            alpn: self.alpn.clone(),
            source: self.source,
        }
    }
}

/// What is not given is not looked at, except that a call must come through unless `refused`
/// says otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Expect {
    pub listener: Option<String>,
    pub filter_chain: Option<String>,
    pub route_config: Option<String>,
    pub virtual_host: Option<String>,
    pub route: Option<String>,
    pub cluster: Option<String>,
    pub destination: Option<To>,
    /// All of them, in any order.
    pub destinations: Option<Vec<To>>,
    /// `KIND NAMESPACE/NAME`, with the field or without.
    pub rule: Option<String>,
    /// Why the call does not come through.
    pub refused: Option<String>,
    /// Of an answer that the proxy gives itself.
    pub status: Option<u16>,
    pub redirect: Option<RedirectTo>,
    /// `5s`, `500ms`; `none`.
    pub timeout: Option<String>,
    /// After the first attempt.
    pub retries: Option<u32>,
    pub host_rewrite: Option<String>,
    pub path_rewrite: Option<String>,
    pub request_headers: Option<Headers>,
    pub response_headers: Option<Headers>,
    /// Clusters or hosts.
    pub mirrors: Option<Vec<String>>,
    pub fault: Option<FaultSpec>,
    /// What the connection to the server is.
    pub server_tls: Option<Tls>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct To {
    /// In full, or as short as it is unambiguous: `reviews`, `reviews.default`.
    pub host: String,
    #[serde(default)]
    pub subset: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub weight: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct RedirectTo {
    pub status: Option<u16>,
    pub scheme: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Headers {
    pub set: BTreeMap<String, String>,
    pub add: BTreeMap<String, String>,
    pub remove: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct FaultSpec {
    pub delay: Option<String>,
    /// HTTP status, or `grpc N`.
    pub abort: Option<String>,
}

impl Suite {
    pub fn parse(text: &str) -> Result<Self, String> {
        let suite: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if suite.api_version != API_VERSION || suite.kind != KIND {
            return Err(format!(
                "{} {} is no file of tests; write apiVersion: {API_VERSION} and kind: {KIND}",
                suite.api_version, suite.kind
            ));
        }
        Ok(suite)
    }
}

/// The lines on which the tests begin.
pub(super) fn lines(text: &str) -> Vec<u32> {
    let Some(Ok(document)) = yaml::parse(text.as_bytes()).into_iter().next() else {
        return Vec::new();
    };
    let tests = FieldPath(vec![Segment::Field("tests".to_owned())]);
    let start = document.root.position(&tests);
    (0..)
        .map(|index| document.root.position(&tests.index(index)))
        // Beyond the last one the list itself is found.
        .take_while(|position| *position != start)
        .map(|position| position.line)
        .collect()
}
