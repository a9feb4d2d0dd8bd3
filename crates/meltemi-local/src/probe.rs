//! Probes of a container (Kubernetes' httpGet, tcpSocket, exec and grpc), made from inside the
//! pod's namespace past the sidecar.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Body bytes of a probe's answer that are read at most (Kubernetes' own bound).
const MAX_BODY: usize = 10 * 1024;

/// A probe that can be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prober {
    pub action: Action,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Http {
        port: u16,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp {
        port: u16,
    },
    Grpc {
        port: u16,
        service: String,
    },
    Exec {
        command: Vec<String>,
    },
}

impl Prober {
    /// Kubernetes' defaults: period 10 s, timeout 1 s, thresholds 1 and 3.
    ///
    /// # Errors
    /// What cannot be probed, by its field.
    pub(crate) fn of(probe: &Probe, container: &Container) -> Result<Self, String> {
        let action = if let Some(http) = &probe.http_get {
            http_action(http, container)?
        } else if let Some(tcp) = &probe.tcp_socket {
            if tcp.host.is_some() {
                return Err(
                    "tcpSocket.host is not supported: probes go to the pod itself; remove it"
                        .into(),
                );
            }
            Action::Tcp {
                port: port(&tcp.port, container)?,
            }
        } else if let Some(grpc) = &probe.grpc {
            let port = u16::try_from(grpc.port)
                .map_err(|_| format!("grpc.port {} is not a port", grpc.port))?;
            Action::Grpc {
                port,
                service: grpc.service.clone().unwrap_or_default(),
            }
        } else if let Some(exec) = &probe.exec {
            Action::Exec {
                command: exec.command.clone().unwrap_or_default(),
            }
        } else {
            return Err("a probe needs one of httpGet, tcpSocket, grpc, exec".into());
        };
        let seconds = |value: Option<i32>, least: u64, default: u64| {
            Duration::from_secs(
                value
                    .map_or(default, |value| u64::try_from(value).unwrap_or(0))
                    .max(least),
            )
        };
        let times = |value: Option<i32>, default| {
            value
                .map_or(default, |value| u32::try_from(value).unwrap_or(0))
                .max(1)
        };
        Ok(Self {
            action,
            initial_delay: seconds(probe.initial_delay_seconds, 0, 0),
            period: seconds(probe.period_seconds, 1, 10),
            timeout: seconds(probe.timeout_seconds, 1, 1),
            success_threshold: times(probe.success_threshold, 1),
            failure_threshold: times(probe.failure_threshold, 3),
        })
    }
}

fn http_action(http: &HTTPGetAction, container: &Container) -> Result<Action, String> {
    if http.host.is_some() {
        return Err("httpGet.host is not supported: probes go to the pod itself; use httpHeaders for a Host".into());
    }
    if http
        .scheme
        .as_deref()
        .is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http"))
    {
        return Err("httpGet.scheme HTTPS is not supported; use tcpSocket or exec".into());
    }
    let headers = http
        .http_headers
        .iter()
        .flatten()
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect();
    let path = http
        .path
        .clone()
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "/".into());
    Ok(Action::Http {
        port: port(&http.port, container)?,
        path,
        headers,
    })
}

fn port(value: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .ok_or_else(|| format!("port {name} is not one of the container's named ports"))?,
    };
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| format!("{number} is not a port"))
}

/// Makes one network probe over `socket`, an unconnected socket of the pod's namespace.
pub(crate) async fn attempt(
    action: &Action,
    socket: OwnedFd,
    address: Ipv4Addr,
) -> Result<(), String> {
    let number = match action {
        Action::Http { port, .. } | Action::Tcp { port } | Action::Grpc { port, .. } => *port,
        Action::Exec { .. } => return Err("a command is not a network probe".into()),
    };
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    let target = SocketAddr::from((address, number));
    let stream = socket
        .connect(target)
        .await
        .map_err(|error| format!("connect to {target}: {error}"))?;
    match action {
        Action::Http { path, headers, .. } => http(stream, target, path, headers).await,
        Action::Grpc { service, .. } => grpc(stream, target, service).await,
        Action::Tcp { .. } | Action::Exec { .. } => Ok(()),
    }
}

/// Kubernetes counts 200 to 399 as success.
async fn http(
    stream: TcpStream,
    target: SocketAddr,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), String> {
    let text = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    let mut request = http::Request::get(path)
        .header("user-agent", "kube-probe/1.34")
        .header("connection", "close");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request = request.header("host", target.to_string());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("GET {path}: {error}"))?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await;
    connection.abort();
    let response = response.map_err(text)?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("GET {path}: {status}"))
    }
}

/// The gRPC health protocol (grpc.health.v1.Health/Check), by hand: one small message each way.
async fn grpc(stream: TcpStream, target: SocketAddr, service: &str) -> Result<(), String> {
    let text = |error: hyper::Error| format!("grpc health check: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(text)?;
    let connection = tokio::spawn(connection);
    let checked = async {
        // HealthCheckRequest { string service = 1 }.
        let mut message = Vec::new();
        if !service.is_empty() {
            let length = u8::try_from(service.len())
                .ok()
                .filter(|length| *length < 128)
                .ok_or("grpc.service is too long")?;
            message.extend_from_slice(&[0x0a, length]);
            message.extend_from_slice(service.as_bytes());
        }
        let mut frame = vec![0];
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend_from_slice(&message);
        let request = http::Request::post(format!("http://{target}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(frame)))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(text)?;
        let header_status = response.headers().get("grpc-status").cloned();
        let body = Limited::new(response.into_body(), MAX_BODY)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        let status = body
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status").cloned())
            .or(header_status);
        if status.as_ref().is_none_or(|status| status != "0") {
            return Err(format!("grpc health check: grpc-status {status:?}"));
        }
        // HealthCheckResponse { ServingStatus status = 1 }, SERVING = 1.
        match body.to_bytes().get(5..7) {
            Some([0x08, 1]) => Ok(()),
            _ => Err("grpc health check: not serving".into()),
        }
    };
    let outcome = checked.await;
    connection.abort();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn container() -> Container {
        serde_json::from_value(
            json!({"name": "app", "ports": [{"name": "web", "containerPort": 9080}]}),
        )
        .unwrap()
    }

    fn prober(probe: serde_json::Value) -> Result<Prober, String> {
        Prober::of(&serde_json::from_value(probe).unwrap(), &container())
    }

    #[test]
    fn kubernetes_defaults_and_named_ports() {
        let http = prober(json!({"httpGet": {"path": "/health", "port": "web"}})).unwrap();
        assert_eq!(
            http.action,
            Action::Http {
                port: 9080,
                path: "/health".into(),
                headers: vec![]
            }
        );
        assert_eq!(
            (
                http.period.as_secs(),
                http.timeout.as_secs(),
                http.failure_threshold
            ),
            (10, 1, 3)
        );
        let tcp = prober(
            json!({"tcpSocket": {"port": 80}, "periodSeconds": 2, "initialDelaySeconds": 3}),
        )
        .unwrap();
        assert_eq!((tcp.period.as_secs(), tcp.initial_delay.as_secs()), (2, 3));
    }

    #[test]
    fn what_cannot_be_probed_is_named() {
        for (probe, word) in [
            (json!({"httpGet": {"port": "admin"}}), "admin"),
            (
                json!({"httpGet": {"port": 80, "scheme": "HTTPS"}}),
                "scheme",
            ),
            (json!({"tcpSocket": {"port": 80, "host": "x"}}), "host"),
            (json!({"tcpSocket": {"port": 0}}), "0"),
            (json!({}), "httpGet"),
        ] {
            let error = prober(probe).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    async fn answered(reply: &'static [u8], action: &dyn Fn(u16) -> Action) -> Result<(), String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            if !reply.is_empty() {
                let _ = stream.read(&mut buffer).await.unwrap();
                stream.write_all(reply).await.unwrap();
            }
        });
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let outcome = attempt(&action(port), socket.into(), Ipv4Addr::LOCALHOST).await;
        server.await.unwrap();
        outcome
    }

    #[tokio::test]
    async fn http_and_tcp_answers() {
        let get = |port| Action::Http {
            port,
            path: "/".into(),
            headers: vec![("host".into(), "shop".into())],
        };
        answered(
            b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
            &get,
        )
        .await
        .unwrap();
        let error = answered(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", &get)
            .await
            .unwrap_err();
        assert!(error.contains("503"), "{error}");
        answered(b"", &|port| Action::Tcp { port }).await.unwrap();
        assert!(answered(b"garbage\r\n\r\n", &get).await.is_err());
    }
}
