//! AuthorizationPolicy: which requests and connections a workload lets through.

use crate::proto::{enumeration, message};
use crate::scope::{LabelSelector, PolicyTargetReference};

message! {
    /// A policy (Istio: `AuthorizationPolicy`). Without rules nothing matches: ALLOW then lets
    /// nothing through.
    pub struct AuthorizationPolicy {
        /// Workloads; the whole namespace (or mesh, in the root namespace) when absent.
        pub selector: Option<LabelSelector>,
        /// Deprecated form of `targetRefs`.
        pub target_ref: Option<PolicyTargetReference>,
        /// Objects the policy is attached to; excludes `selector`.
        pub target_refs: Vec<PolicyTargetReference>,
        /// What matches; one rule is enough. An empty rule matches everything.
        pub rules: Vec<Rule>,
        /// What happens to a match.
        pub action: AuthorizationAction,
        /// Who decides, for CUSTOM.
        pub provider: Option<ExtensionProvider>,
    }

    /// A provider of MeshConfig (Istio: `AuthorizationPolicy.ExtensionProvider`).
    pub struct ExtensionProvider {
        /// Its name in `MeshConfig.extensionProviders`.
        pub name: String,
    }

    /// Sources, operations and conditions that must all hold (Istio: `Rule`).
    pub struct Rule {
        /// Any of them; everyone when empty.
        pub from: Vec<From>,
        /// Any of them; everything when empty.
        pub to: Vec<To>,
        /// All of them.
        pub when: Vec<Condition>,
    }

    /// Where a request comes from (Istio: `Rule.From`).
    pub struct From {
        /// Required.
        pub source: Option<Source>,
    }

    /// What a request does (Istio: `Rule.To`).
    pub struct To {
        /// Required.
        pub operation: Option<Operation>,
    }

    /// Properties of the source; those that are set must all hold (Istio: `Source`). Values are
    /// exact, `prefix*`, `*suffix` or `*` (present).
    pub struct Source {
        /// Peer identities, `TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT`; needs mutual TLS.
        pub principals: Vec<String>,
        /// None of these.
        pub not_principals: Vec<String>,
        /// JWT identities, `ISSUER/SUBJECT`.
        pub request_principals: Vec<String>,
        /// None of these.
        pub not_request_principals: Vec<String>,
        /// Peer namespaces; needs mutual TLS.
        pub namespaces: Vec<String>,
        /// None of these.
        pub not_namespaces: Vec<String>,
        /// Peer service accounts, `NAMESPACE/ACCOUNT` or `ACCOUNT` of the policy's own
        /// namespace; no wildcards. Excludes principals and namespaces.
        pub service_accounts: Vec<String>,
        /// None of these.
        pub not_service_accounts: Vec<String>,
        /// Addresses and CIDRs of the connection.
        pub ip_blocks: Vec<String>,
        /// None of these.
        pub not_ip_blocks: Vec<String>,
        /// Addresses and CIDRs of the original client, from `X-Forwarded-For` or the PROXY
        /// protocol.
        pub remote_ip_blocks: Vec<String>,
        /// None of these.
        pub not_remote_ip_blocks: Vec<String>,
        /// Peer trust domains; needs mutual TLS.
        pub trust_domains: Vec<String>,
        /// None of these.
        pub not_trust_domains: Vec<String>,
    }

    /// Properties of the request; those that are set must all hold (Istio: `Operation`). All but
    /// ports are of HTTP only.
    pub struct Operation {
        /// Authorities, compared without regard to case.
        pub hosts: Vec<String>,
        /// None of these.
        pub not_hosts: Vec<String>,
        /// Ports of the workload, as text.
        pub ports: Vec<String>,
        /// None of these.
        pub not_ports: Vec<String>,
        /// Methods.
        pub methods: Vec<String>,
        /// None of these.
        pub not_methods: Vec<String>,
        /// Paths, or templates with `{*}` (one segment) and `{**}` (any number).
        pub paths: Vec<String>,
        /// None of these.
        pub not_paths: Vec<String>,
    }

    /// An attribute and its values (Istio: `Condition`).
    pub struct Condition {
        /// Name, for example `request.headers[version]` or `source.ip`.
        pub key: String,
        /// Any of them.
        pub values: Vec<String>,
        /// None of these.
        pub not_values: Vec<String>,
    }
}

enumeration! {
    /// What happens to a match (Istio: `AuthorizationPolicy.Action`).
    pub enum AuthorizationAction {
        /// Let through; with any ALLOW policy in force, what none of them matches is denied.
        Allow = "ALLOW",
        /// Denied, whatever ALLOW policies say.
        Deny = "DENY",
        /// Logged.
        Audit = "AUDIT",
        /// The provider decides, before DENY and ALLOW policies.
        Custom = "CUSTOM",
    }
}
