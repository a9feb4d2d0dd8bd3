//! The proxy, its two services, and a small disk for its access log.

use super::service;
use crate::common::http::Request;
use crate::common::namespace::run;
use crate::common::process::Killed;
use crate::common::wait::{attempt, until};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const START: Duration = Duration::from_secs(20);
/// The size of the disk, in bytes.
pub const DISK: usize = 4 << 20;
/// What may be left of a soak: memory that an allocator keeps in reserve, in bytes, and
/// descriptors of connections that are kept for reuse.
pub const SPARE_MEMORY: u64 = 8 << 20;
pub const SPARE_FILES: usize = 8;

pub struct Proxy {
    pub port: u16,
    admin: u16,
    /// The disk.
    pub logs: PathBuf,
    dir: tempfile::TempDir,
    pid: i32,
    process: Mutex<Killed>,
}

impl Proxy {
    pub fn start() -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).map_err(|error| error.to_string())?;
        let size = format!("size={DISK}");
        let to = logs.to_str().unwrap_or_default();
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", to])?;
        let services = ["a", "b"].map(|name| service::start(name).unwrap());
        let (port, admin) = (15080, 15000);
        let path = dir.path().join("bootstrap.json");
        let text = bootstrap(port, admin, services, &logs.join("access.log")).to_string();
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        let said =
            std::fs::File::create(dir.path().join("said")).map_err(|error| error.to_string())?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
        command
            .args(["proxy", "--concurrency", "2", "-c"])
            .arg(&path);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        let process = Killed::spawn(command).map_err(|error| error.to_string())?;
        attempt(START, || match Request::get(admin, "/ready").send() {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        let pid = process.pid;
        Ok(Self {
            port,
            admin,
            logs,
            dir,
            pid,
            process: Mutex::new(process),
        })
    }

    /// # Panics
    /// When the process has ended.
    pub fn lives(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let status = process.status();
        assert!(status.is_none(), "the proxy has ended: {status:?}");
        let said = std::fs::read_to_string(self.dir.path().join("said")).unwrap_or_default();
        assert!(!said.contains("panicked"), "{said}");
    }

    /// Waits until no client's connection is left.
    pub fn calm(&self, limit: Duration) {
        until("connections end", limit, || {
            let stats =
                Request::get(self.admin, "/stats?filter=http.chaos.downstream_cx_active").send()?;
            match stats.body.trim().ends_with(": 0") {
                true => Ok(()),
                false => Err(stats.body),
            }
        });
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.logs.join("access.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Anonymous memory in bytes.
    pub fn anonymous(&self) -> u64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    }

    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// After a failure.
    pub fn explain(&self) {
        let said = std::fs::read_to_string(self.dir.path().join("said")).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        println!(
            "the proxy said:\n{}",
            lines[lines.len().saturating_sub(20)..].join("\n")
        );
    }
}

fn bootstrap(
    port: u16,
    admin: u16,
    services: [u16; 2],
    log: &std::path::Path,
) -> serde_json::Value {
    let address =
        |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let names = ["a", "b"];
    let routes = names.map(|name| {
        json!({ "match": { "prefix": format!("/{name}/") }, "route": { "cluster": name, "timeout": "1s" } })
    });
    let clusters = [0, 1].map(|index| {
        json!({
            "name": names[index],
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": { "cluster_name": names[index], "endpoints": [{ "lb_endpoints": [
                { "endpoint": { "address": address(services[index]) } },
            ] }] },
        })
    });
    let extension = "type.googleapis.com/envoy.extensions";
    json!({
        "node": { "id": "chaos", "cluster": "chaos" },
        "admin": { "address": address(admin) },
        "static_resources": {
            "listeners": [{ "name": "chaos", "address": address(port), "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": format!("{extension}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
                    "stat_prefix": "chaos",
                    "access_log": [{ "name": "log", "typed_config": {
                        "@type": format!("{extension}.access_loggers.file.v3.FileAccessLog"),
                        "path": log,
                    } }],
                    "route_config": { "virtual_hosts": [{ "name": "any", "domains": ["*"], "routes": routes }] },
                    "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
                        "@type": format!("{extension}.filters.http.router.v3.Router"),
                    } }],
                },
            }] }] }],
            "clusters": clusters,
        },
    })
}
