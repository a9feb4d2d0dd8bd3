//! The name table: what NDS says, indexed for queries.

use arc_swap::ArcSwap;
use meltemi_xds::nds::NameTable;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The table that the config manager replaces and the server reads.
pub type SharedTable = Arc<ArcSwap<Table>>;

/// Where the workload itself is: short names are completed with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The workload's namespace.
    pub namespace: String,
    /// `cluster.local`.
    pub domain: String,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            domain: "cluster.local".into(),
        }
    }
}

impl Zone {
    /// The suffixes that a pod's resolv.conf searches, with leading dots.
    pub fn search(&self) -> [String; 3] {
        [
            format!(".{}.svc.{}", self.namespace, self.domain),
            format!(".svc.{}", self.domain),
            format!(".{}", self.domain),
        ]
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
}

/// Names in lower case without the final dot.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<Box<str>, Arc<Host>>,
    /// `*.example.com` as `example.com`.
    wildcard: HashMap<Box<str>, Arc<Host>>,
    zone: Zone,
}

impl Table {
    /// An empty table, before NDS has answered.
    pub fn empty(zone: Zone) -> Self {
        Self {
            zone,
            ..Self::default()
        }
    }

    /// Indexes a name table. A Kubernetes service gets its short forms as Istio's agent
    /// gives them: `name` (own namespace only), `name.namespace`, `name.namespace.svc`.
    /// Addresses that do not parse are named in the error list; the rest is used.
    pub fn from_nds(table: &NameTable, zone: Zone) -> (Self, Vec<String>) {
        let mut built = Self::empty(zone);
        let mut errors = Vec::new();
        for (name, info) in &table.table {
            let mut host = Host::default();
            for ip in &info.ips {
                match ip.parse() {
                    Ok(IpAddr::V4(ip)) => host.v4.push(ip),
                    Ok(IpAddr::V6(ip)) => host.v6.push(ip),
                    Err(_) => {
                        errors.push(format!("name table: `{name}`: `{ip}` is not an IP address"))
                    }
                }
            }
            let host = Arc::new(host);
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            if let Some(suffix) = name.strip_prefix("*.") {
                built.wildcard.insert(suffix.into(), host.clone());
            } else {
                built.exact.insert(name.as_str().into(), host.clone());
            }
            for alias in &info.alt_hosts {
                let alias = alias.trim_end_matches('.').to_ascii_lowercase();
                built
                    .exact
                    .entry(alias.into())
                    .or_insert_with(|| host.clone());
            }
            if info.registry == "Kubernetes" {
                built.add_short_names(&name, &info.shortname, &info.namespace, &host);
            }
        }
        (built, errors)
    }

    /// Short forms never displace a name that the table has in full.
    fn add_short_names(&mut self, name: &str, short: &str, namespace: &str, host: &Arc<Host>) {
        // A headless service's pods come as `pod.service.namespace.svc.domain` with the
        // service's short name: their own short forms keep the pod's label.
        let Some(base) = name.strip_suffix(&format!(".svc.{}", self.zone.domain)) else {
            return;
        };
        let Some(in_namespace) = base.strip_suffix(&format!(".{namespace}")) else {
            return;
        };
        if in_namespace != short && !in_namespace.ends_with(&format!(".{short}")) {
            return;
        }
        let mut forms = vec![base.to_owned(), format!("{base}.svc")];
        if namespace == self.zone.namespace {
            forms.push(in_namespace.to_owned());
        }
        for form in forms {
            self.exact
                .entry(form.into())
                .or_insert_with(|| host.clone());
        }
    }

    /// The host of a name (lower case, no final dot), also when a resolver has appended one
    /// of the pod's search domains to it.
    ///
    /// Istio's agent answers those with a CNAME to the name without the domain; the address
    /// itself, under the name that was asked, is one record less and understood by all.
    pub fn find(&self, name: &str) -> Option<&Arc<Host>> {
        self.find_as_is(name).or_else(|| {
            self.zone.search().iter().find_map(|suffix| {
                let stripped = name.strip_suffix(suffix.as_str())?;
                // A short name of one label belongs to its own namespace alone.
                if stripped.contains('.') {
                    self.find_as_is(stripped)
                } else {
                    None
                }
            })
        })
    }

    fn find_as_is(&self, name: &str) -> Option<&Arc<Host>> {
        if let Some(host) = self.exact.get(name) {
            return Some(host);
        }
        if self.wildcard.is_empty() {
            return None;
        }
        // The longest suffix wins; a wildcard stands for one label or more.
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(host) = self.wildcard.get(parent) {
                return Some(host);
            }
            rest = parent;
        }
        None
    }

    /// True for a name that can only be the mesh's own: nobody outside can know it.
    pub fn is_mesh_name(&self, name: &str) -> bool {
        name == self.zone.domain || name.ends_with(&format!(".{}", self.zone.domain))
    }

    pub fn len(&self) -> usize {
        self.exact.len() + self.wildcard.len()
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meltemi_xds::nds::NameInfo;

    fn info(ips: &[&str], registry: &str, short: &str, namespace: &str) -> NameInfo {
        NameInfo {
            ips: ips.iter().map(|ip| ip.to_string()).collect(),
            registry: registry.into(),
            shortname: short.into(),
            namespace: namespace.into(),
            alt_hosts: Vec::new(),
        }
    }

    fn table() -> Table {
        let nds = NameTable {
            table: HashMap::from([
                (
                    "reviews.default.svc.cluster.local".into(),
                    info(
                        &["10.99.0.1", "fd00::1"],
                        "Kubernetes",
                        "reviews",
                        "default",
                    ),
                ),
                (
                    "ratings.other.svc.cluster.local".into(),
                    info(&["10.99.0.2"], "Kubernetes", "ratings", "other"),
                ),
                (
                    "db-0.db.default.svc.cluster.local".into(),
                    info(&["10.98.0.7"], "Kubernetes", "db", "default"),
                ),
                (
                    "*.wild.example.com".into(),
                    info(&["240.240.0.1"], "External", "", ""),
                ),
                (
                    "Api.Example.com".into(),
                    info(&["240.240.0.2", "nonsense"], "External", "", ""),
                ),
            ]),
        };
        let (table, errors) = Table::from_nds(&nds, Zone::default());
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("nonsense"));
        table
    }

    #[test]
    fn short_and_full_names_resolve_from_the_own_namespace() {
        let table = table();
        for name in [
            "reviews",
            "reviews.default",
            "reviews.default.svc",
            "reviews.default.svc.cluster.local",
            "ratings.other",
            "ratings.other.svc.cluster.local",
            "db-0.db",
            "db-0.db.default.svc.cluster.local",
            "api.example.com",
            "a.b.wild.example.com",
            "api.example.com.default.svc.cluster.local",
            "ratings.other.svc.svc.cluster.local",
        ] {
            assert!(table.find(name).is_some(), "{name}");
        }
        for name in [
            "ratings",
            "ratings.default.svc.cluster.local",
            "wild.example.com",
            "example.com",
            "nobody",
            "",
            "reviews.other.svc.cluster.local",
        ] {
            assert!(table.find(name).is_none(), "{name}");
        }
        assert_eq!(table.find("reviews").unwrap().v6.len(), 1);
        assert!(table.is_mesh_name("nobody.default.svc.cluster.local"));
        assert!(!table.is_mesh_name("example.com"));
    }
}
