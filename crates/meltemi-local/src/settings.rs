//! `meltemi.yaml`: what a mesh on this machine needs to know beyond Kubernetes and Istio objects.

use meltemi_capture::{Cidr, MeshNetwork};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Name of the settings file in a configuration directory's root.
pub const FILE_NAME: &str = "meltemi.yaml";
const API_VERSION: &str = "meltemi.dev/v1alpha1";

/// The settings of a local mesh (`kind: LocalMesh`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalMesh {
    /// `meltemi.dev/v1alpha1`.
    pub api_version: String,
    /// `LocalMesh`.
    pub kind: String,
    /// Which command stands for which image; the first match wins.
    #[serde(default)]
    pub images: Vec<Image>,
    /// Image of the proxies of workloads and gateways that name none
    /// (`sidecar.istio.io/proxyImage`); without the field, Meltemi's own proxy. What it stands
    /// for is Envoy.
    #[serde(default)]
    pub proxy_image: Option<String>,
    /// The gateways to run; without the field, one ingress gateway; `[]` for none.
    #[serde(default = "default_gateways")]
    pub gateways: Vec<Gateway>,
    /// Addresses of workloads and services.
    #[serde(default)]
    pub network: Network,
    /// Names outside the mesh.
    #[serde(default)]
    pub dns: Dns,
    /// The host's address that gateways are reachable at.
    #[serde(default = "loopback")]
    pub publish: IpAddr,
}

/// The local program for an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The image's name; `*` stands for any characters.
    pub image: String,
    /// Program and first arguments (the image's ENTRYPOINT). `meltemi` is this program.
    pub command: Vec<String>,
    /// Arguments (the image's CMD), replaced by a container's own `args`.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables that the image would set.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory; relative to the configuration directory.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// Port the program listens on, told to it as PORT.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A gateway that runs with the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// Name of its Service and Deployment; its label `istio` is the name without `istio-`.
    pub name: String,
    /// Its namespace.
    #[serde(default = "root_namespace")]
    pub namespace: String,
    /// Its ports.
    pub ports: Vec<GatewayPort>,
}

/// A port of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayPort {
    /// Name, with the protocol as its prefix.
    pub name: String,
    /// Port of the Service.
    pub port: u16,
    /// Port the gateway listens on.
    pub target_port: u16,
    /// Wanted port on the host; none: not published. Another free one is taken if it is in use.
    #[serde(default)]
    pub publish: Option<u16>,
}

/// Address ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// Workloads' addresses, IPv4, /8 to /24. The first address is the hub's.
    pub pods: Cidr,
    /// Services' addresses, IPv4, /16.
    pub services: Cidr,
}

/// DNS for names the mesh does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dns {
    /// What happens to them.
    pub unknown: UnknownNames,
}

/// What happens to a name the mesh does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnknownNames {
    /// The host's resolver is asked.
    #[default]
    Forward,
    /// The query is refused.
    Refuse,
}

impl UnknownNames {
    /// The word in the settings and on the proxy's command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Refuse => "refuse",
        }
    }
}

/// What is wrong with the settings file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct SettingsError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong, and what to do.
    pub message: String,
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn root_namespace() -> String {
    "istio-system".into()
}

fn default_gateways() -> Vec<Gateway> {
    let port = |name: &str, port, target_port| GatewayPort {
        name: name.into(),
        port,
        target_port,
        publish: Some(target_port),
    };
    vec![Gateway {
        name: "istio-ingressgateway".into(),
        namespace: root_namespace(),
        ports: vec![port("http2", 80, 8080), port("https", 443, 8443)],
    }]
}

impl Default for Network {
    fn default() -> Self {
        let range = |third| Cidr::new(Ipv4Addr::new(10, third, 0, 0).into(), 16);
        Self {
            pods: range(98),
            services: range(99),
        }
    }
}

impl Network {
    /// The fabric's form: the hub has the first address.
    pub fn mesh(&self) -> MeshNetwork {
        let hub = match self.pods.address() {
            IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + 1),
            // `check` refuses IPv6 ranges before anything is built from them.
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        MeshNetwork {
            pods: self.pods,
            hub,
        }
    }
}

impl Default for LocalMesh {
    fn default() -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: "LocalMesh".into(),
            images: Vec::new(),
            proxy_image: None,
            gateways: default_gateways(),
            network: Network::default(),
            dns: Dns::default(),
            publish: loopback(),
        }
    }
}

impl LocalMesh {
    /// The settings of `directory`; the defaults when it has no settings file.
    pub fn load(directory: &Path) -> Result<Self, SettingsError> {
        let file = directory.join(FILE_NAME);
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text, &file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(SettingsError {
                file,
                line: None,
                message: error.to_string(),
            }),
        }
    }

    /// Reads `text`, whose place is `file`.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsError> {
        let fail = |line, message: String| SettingsError {
            file: file.to_owned(),
            line,
            message,
        };
        let settings: Self = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map(|location| location.line());
            let message = error.to_string();
            fail(line, message.lines().next().unwrap_or_default().to_owned())
        })?;
        settings.check().map_err(|(field, message)| {
            let line = text.lines().position(|line| {
                line.trim_start()
                    .trim_start_matches("- ")
                    .starts_with(&format!("{field}:"))
            });
            fail(
                line.map(|line| line as u64 + 1),
                format!("{field}: {message}"),
            )
        })?;
        Ok(settings)
    }

    /// The first broken rule: the field and what is wrong with it.
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.api_version != API_VERSION {
            return Err((
                "apiVersion",
                format!("\"{}\" is not known; write {API_VERSION}", self.api_version),
            ));
        }
        if self.kind != "LocalMesh" {
            return Err((
                "kind",
                format!(
                    "\"{}\" is not LocalMesh, which {FILE_NAME} holds",
                    self.kind
                ),
            ));
        }
        let v4 = |range: Cidr, prefixes: std::ops::RangeInclusive<u8>| {
            range.address().is_ipv4() && prefixes.contains(&range.prefix())
        };
        if !v4(self.network.pods, 8..=24) {
            return Err((
                "pods",
                format!("{} is no IPv4 range between /8 and /24", self.network.pods),
            ));
        }
        if !v4(self.network.services, 16..=16) {
            return Err((
                "services",
                format!("{} is no IPv4 range with /16", self.network.services),
            ));
        }
        let (pods, services) = (self.network.pods, self.network.services);
        if pods.contains(services.address()) || services.contains(pods.address()) {
            return Err((
                "services",
                format!("{services} overlaps the pods' range {pods}"),
            ));
        }
        if let Some(image) = self.images.iter().find(|image| image.command.is_empty()) {
            return Err((
                "command",
                format!("the entry for image {} has an empty command", image.image),
            ));
        }
        Ok(())
    }

    /// The entry for an image.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| glob(&image.image, name))
    }
}

/// Whether `name` fits `pattern`, in which `*` stands for any characters.
fn glob(pattern: &str, name: &str) -> bool {
    // Looked up for every container at every change: no expression is compiled for it.
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, fits) in [
            ("shop/web:1", "shop/web:1", true),
            ("shop/web:1", "shop/web:12", false),
            (
                "*reviews-v2:*",
                "docker.io/istio/examples-bookinfo-reviews-v2:1.2",
                true,
            ),
            ("*reviews-v2:*", "examples-bookinfo-reviews-v1:1.2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, name), fits, "{pattern} on {name}");
        }
    }

    fn parse(text: &str) -> Result<LocalMesh, SettingsError> {
        LocalMesh::parse(text, Path::new("meltemi.yaml"))
    }

    const HEAD: &str = "apiVersion: meltemi.dev/v1alpha1\nkind: LocalMesh\n";

    #[test]
    fn images_match_in_order() {
        let settings = parse(&format!(
            "{HEAD}images:\n- image: \"*reviews:v1\"\n  command: [one]\n- image: \"*reviews*\"\n  command: [two, x]\n  port: 80\n"
        ))
        .unwrap();
        assert_eq!(settings.image("a.b/reviews:v1").unwrap().command, ["one"]);
        assert_eq!(settings.image("reviews:v2").unwrap().command, ["two", "x"]);
        assert!(settings.image("ratings").is_none());
        assert_eq!(settings.gateways.len(), 1);
        assert_eq!(settings.network.mesh(), MeshNetwork::standard());
    }

    #[test]
    fn no_gateways_and_other_ranges() {
        let settings = parse(&format!(
            "{HEAD}gateways: []\nnetwork:\n  pods: 172.20.0.0/16\ndns:\n  unknown: refuse\n"
        ))
        .unwrap();
        assert!(settings.gateways.is_empty());
        assert_eq!(settings.network.mesh().hub, Ipv4Addr::new(172, 20, 0, 1));
        assert_eq!(settings.dns.unknown, UnknownNames::Refuse);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line, word) in [
            (format!("{HEAD}image: []\n"), 3, "image"),
            (
                format!("{HEAD}images:\n- image: x\n  command: []\n"),
                5,
                "empty command",
            ),
            (format!("{HEAD}network:\n  pods: fd00::/8\n"), 4, "IPv4"),
            (
                format!("{HEAD}network:\n  pods: 10.99.0.0/16\n"),
                0,
                "overlaps",
            ),
            (
                "apiVersion: v1\nkind: LocalMesh\n".into(),
                1,
                "meltemi.dev/v1alpha1",
            ),
            (format!("{HEAD}dns: {{unknown: maybe}}\n"), 3, "maybe"),
        ] {
            let error = parse(&text).unwrap_err();
            if line > 0 {
                assert_eq!(error.line, Some(line), "{error}");
            }
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
