//! Istio's name table (`istio.networking.nds.v1`): the host names and addresses
//! that a proxy's DNS server answers from.

use std::collections::HashMap;

/// `istio.networking.nds.v1.NameTable`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameTable {
    /// Host name to its addresses.
    #[prost(map = "string, message", tag = "1")]
    pub table: HashMap<String, NameInfo>,
}

/// `istio.networking.nds.v1.NameTable.NameInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NameInfo {
    /// IPv4 and IPv6 addresses of the host, in text form.
    #[prost(string, repeated, tag = "1")]
    pub ips: Vec<String>,
    /// The registry the host comes from: `Kubernetes` or `External`.
    #[prost(string, tag = "2")]
    pub registry: String,
    /// Name of the Kubernetes service; empty for other registries.
    #[prost(string, tag = "3")]
    pub shortname: String,
    /// Namespace of the Kubernetes service; empty for other registries.
    #[prost(string, tag = "4")]
    pub namespace: String,
    /// Deprecated in Istio, still in its schema.
    #[prost(string, repeated, tag = "5")]
    pub alt_hosts: Vec<String>,
}

impl prost::Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";

    fn type_url() -> String {
        crate::type_url::NAME_TABLE.to_owned()
    }
}
