//! Unit tests of mesh configuration: files of calls, and what is to become of them.

mod expect;
mod format;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use meltemi_config::read_once;
use meltemi_discovery::{Flavor, Proxy, ProxyKind};
use serde::Serialize;

use crate::explain::Explanation;
use crate::journey::{Journey, Request};
use crate::mesh::Mesh;
use format::{Case, Client, Kind, Source, Suite};

/// Why a file of tests cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    #[error("{0}: cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("{0}: {1}; docs/test.md shows the format")]
    Malformed(PathBuf, String),
}

/// A file's tests, run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub file: PathBuf,
    pub results: Vec<Outcome>,
}

/// One test's outcome.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    pub name: String,
    /// `FILE:LINE` of the test.
    pub place: String,
    /// What is not as expected; empty for a test that passes.
    pub failures: Vec<String>,
    /// What came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journey: Option<Journey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Whether a file says that it holds tests.
pub fn is_suite(text: &str) -> bool {
    text.lines()
        .any(|line| line.trim_end() == format::KIND_LINE)
}

/// Runs the tests of a file whose names contain `filter`.
///
/// # Errors
/// When the file is not of the documented format.
pub fn run(file: &Path, filter: &str) -> Result<Report, SuiteError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| SuiteError::Unreadable(file.to_owned(), error))?;
    let suite =
        Suite::parse(&text).map_err(|error| SuiteError::Malformed(file.to_owned(), error))?;
    let lines = format::lines(&text);
    let mut runner = Runner {
        file,
        shared: suite.configuration,
        client: suite.from,
        meshes: Vec::new(),
    };
    let results = suite
        .tests
        .iter()
        .enumerate()
        .filter(|(_, case)| case.name.contains(filter))
        .map(|(position, case)| {
            let line = lines.get(position).copied().unwrap_or(1);
            runner.case(case, format!("{}:{line}", file.display()))
        })
        .collect();
    Ok(Report {
        file: file.to_owned(),
        results,
    })
}

/// A mesh, or what is wrong with its configuration.
type Loaded = Result<Mesh, Vec<String>>;

struct Runner<'a> {
    file: &'a Path,
    shared: Vec<Source>,
    client: Option<Client>,
    /// By the test's own configuration: most tests have none.
    meshes: Vec<(Vec<Source>, Rc<Loaded>)>,
}

impl Runner<'_> {
    fn case(&mut self, case: &Case, place: String) -> Outcome {
        let mut outcome = Outcome {
            name: case.name.clone(),
            place,
            failures: Vec::new(),
            journey: None,
            explanation: None,
        };
        let mesh = self.mesh(&case.configuration);
        match &*mesh {
            Err(errors) => outcome.failures.clone_from(errors),
            Ok(mesh) => {
                if let Err(failure) = self.call(mesh, case, &mut outcome) {
                    outcome.failures.push(failure);
                }
            }
        }
        outcome
    }

    fn call(&self, mesh: &Mesh, case: &Case, outcome: &mut Outcome) -> Result<(), String> {
        let client = case.from.as_ref().or(self.client.as_ref());
        let client = client.ok_or("says nowhere who calls: add `from` to the test or the file")?;
        let from = proxy(mesh, client)?;
        let request: Request = case.call.request();
        let journey = mesh
            .follow(&from, &request)
            .map_err(|error| error.to_string())?;
        outcome.failures = expect::failures(&case.expect, &journey);
        outcome.explanation = Some(mesh.explain(&from, &journey));
        outcome.journey = Some(journey);
        Ok(())
    }

    /// The mesh of the file's configuration and a test's own.
    fn mesh(&mut self, own: &[Source]) -> Rc<Loaded> {
        if let Some((_, known)) = self.meshes.iter().find(|(known, _)| known == own) {
            return Rc::clone(known);
        }
        let directory = self.file.parent().unwrap_or(Path::new(""));
        let mut paths = Vec::new();
        let mut inline = Vec::new();
        for (number, source) in self.shared.iter().chain(own).enumerate() {
            match source {
                Source::Path(path) => paths.push(directory.join(path)),
                Source::Inline { inline: text } => {
                    // In place of a file's name in findings.
                    let name = format!("{}#inline-{number}", self.file.display());
                    inline.push((PathBuf::from(name), text.clone()));
                }
            }
        }
        let published = read_once(&paths, &inline);
        let mesh = Rc::new(match published.errors.is_empty() {
            true => Ok(Mesh::new(published.objects)),
            false => Err(published.errors.iter().map(ToString::to_string).collect()),
        });
        self.meshes.push((own.to_vec(), Rc::clone(&mesh)));
        mesh
    }
}

/// The proxy of a workload, or one that a test describes.
fn proxy(mesh: &Mesh, client: &Client) -> Result<Proxy, String> {
    let described = match client {
        Client::Workload(name) => return mesh.proxy(name).map_err(|error| error.to_string()),
        Client::Described(described) => described,
    };
    let namespace = described.namespace.clone();
    let kind = match described.kind {
        Kind::Sidecar => ProxyKind::Sidecar,
        Kind::Gateway => ProxyKind::Gateway,
    };
    Ok(Proxy {
        kind,
        flavor: Flavor::Meltemi,
        id: format!("client.{namespace}"),
        pod: "client".to_owned(),
        dns_domain: format!("{namespace}.svc.{}", mesh.world().domain),
        ips: described.ips.clone(),
        labels: described.labels.clone(),
        service_account: described.service_account.clone(),
        workload_name: "client".to_owned(),
        cluster: String::new(),
        cluster_id: mesh.world().cluster_id.clone(),
        mesh_id: mesh.world().mesh.trust_domain.clone(),
        locality: meltemi_registry::Locality::parse(&described.locality),
        network: String::new(),
        dns_capture: kind == ProxyKind::Sidecar,
        discovers_hosts: false,
        intercepts: true,
        tproxy: false,
        loopback: None,
        namespace,
    })
}
