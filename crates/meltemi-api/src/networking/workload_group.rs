//! WorkloadGroup: a template for WorkloadEntries, as a Deployment is for Pods.

use std::collections::BTreeMap;

use super::WorkloadEntry;
use crate::proto::message;

message! {
    /// A group of workloads (Istio: `WorkloadGroup`).
    pub struct WorkloadGroup {
        /// Labels and annotations of the entries.
        pub metadata: Option<ObjectMetadata>,
        /// Template; has no address.
        pub template: Option<WorkloadEntry>,
        /// Readiness.
        pub probe: Option<ReadinessProbe>,
    }

    /// Metadata of a template (Istio: `WorkloadGroup.ObjectMeta`).
    pub struct ObjectMetadata {
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// Annotations.
        pub annotations: BTreeMap<String, String>,
    }

    /// Readiness (Istio: `ReadinessProbe`): one of httpGet, tcpSocket, exec, grpc.
    pub struct ReadinessProbe {
        /// Seconds before the first probe.
        pub initial_delay_seconds: i32,
        /// Deadline, seconds; 1 by default.
        pub timeout_seconds: i32,
        /// Seconds between probes; 10 by default.
        pub period_seconds: i32,
        /// Successes until ready; 1 by default.
        pub success_threshold: i32,
        /// Failures until not ready; 3 by default.
        pub failure_threshold: i32,
        /// HTTP request.
        pub http_get: Option<HttpHealthCheck>,
        /// TCP connection.
        pub tcp_socket: Option<TcpHealthCheck>,
        /// Command.
        pub exec: Option<ExecHealthCheck>,
        /// gRPC health protocol.
        pub grpc: Option<GrpcHealthCheck>,
    }

    /// HTTP probe (Istio: `HTTPHealthCheckConfig`).
    pub struct HttpHealthCheck {
        /// Path.
        pub path: String,
        /// Port.
        pub port: u32,
        /// Host; the workload's address when empty.
        pub host: String,
        /// HTTP or HTTPS.
        pub scheme: String,
        /// Headers.
        pub http_headers: Vec<HttpHeader>,
    }

    /// A header of a probe.
    pub struct HttpHeader {
        /// Name.
        pub name: String,
        /// Value.
        pub value: String,
    }

    /// TCP probe (Istio: `TCPHealthCheckConfig`).
    pub struct TcpHealthCheck {
        /// Host; localhost when empty.
        pub host: String,
        /// Port.
        pub port: u32,
    }

    /// Command probe (Istio: `ExecHealthCheckConfig`).
    pub struct ExecHealthCheck {
        /// Command and arguments.
        pub command: Vec<String>,
    }

    /// gRPC probe (Istio: `GrpcHealthCheckConfig`).
    pub struct GrpcHealthCheck {
        /// Port.
        pub port: u32,
        /// Service name asked for.
        pub service: String,
    }
}
