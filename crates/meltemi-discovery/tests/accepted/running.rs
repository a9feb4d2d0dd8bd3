//! An Envoy with everything by ADS, in a network namespace of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};

/// Everything by ADS; sockets are in `home`.
pub fn bootstrap(home: &Path, id: &str, delta: bool) -> Value {
    let cluster = |name: &str| {
        json!({
            "name": name,
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"pipe": {"path": home.join("xds")}}}},
            ]}]},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}},
                },
            },
        })
    };
    let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    json!({
        "node": {"id": id, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": home.join("admin")}}},
        "dynamic_resources": {
            "cds_config": ads,
            "lds_config": ads,
            "ads_config": {
                "api_type": if delta { "DELTA_GRPC" } else { "GRPC" },
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [cluster("xds-grpc"), cluster("sds-grpc")]},
    })
}

/// An Envoy that is killed when dropped.
pub struct Running {
    process: std::process::Child,
    admin: PathBuf,
}

impl Running {
    pub fn start(envoy: &Path, home: &Path, id: &str, delta: bool) -> Self {
        let file = home.join("bootstrap.json");
        std::fs::write(&file, bootstrap(home, id, delta).to_string()).unwrap();
        let mut command = isolated(envoy).unwrap();
        command
            .arg("-c")
            .arg(file)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "off"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: command.spawn().unwrap(),
            admin: home.join("admin"),
        }
    }

    pub fn lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub async fn dump(&self) -> Result<Value, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let stream = tokio::net::UnixStream::connect(&self.admin)
            .await
            .map_err(|error| text(&error))?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(|error| text(&error))?;
        let connection = tokio::spawn(connection);
        let request = http::Request::get("/config_dump")
            .header("host", "envoy")
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await;
        let body = answer.map_err(|error| text(&error))?.into_body().collect();
        let body = body.await.map_err(|error| text(&error))?.to_bytes();
        connection.abort();
        serde_json::from_slice(&body).map_err(|error| text(&error))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command in a network namespace of its own.
pub fn isolated(program: &Path) -> std::io::Result<std::process::Command> {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(program);
    // SAFETY: system calls only between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let mut flags = libc::CLONE_NEWNET;
            if libc::geteuid() != 0 {
                flags |= libc::CLONE_NEWUSER;
            }
            if libc::unshare(flags) != 0 || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    Ok(command)
}
