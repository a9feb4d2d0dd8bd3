//! A service whose pods, servers and sidecars are replaced while it is called.

use crate::common::mesh::{text, workloads};
use crate::common::process;
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::{EFFECT, World};
use std::process::{Child, Stdio};
use std::time::Duration;

pub const TESTS: &[Test<World>] = tests![
    a_rolling_update_fails_no_call,
    an_update_of_pods_that_keep_their_names_fails_no_call,
];

/// Of our own proxy: Envoy's drain cuts off HTTP/1.1 calls.
pub const OWN: &[Test<World>] = tests![a_sidecar_that_is_replaced_fails_no_call];

/// For what was disturbed to be whole again.
const ROLLED: Duration = Duration::from_secs(40);
const PODS: usize = 3;
/// One a port.
const SERVERS: usize = 3 * PODS;

/// The service `rolled`, whose server knows nothing of an orderly end: SIGTERM kills it.
fn rolled(world: &World, kind: &str, revision: u32) -> String {
    let tool = world.stage.join("bin/e2e");
    format!(
        "apiVersion: v1
kind: Service
metadata: {{ name: rolled }}
spec:
  selector: {{ app: rolled }}
  ports:
  - {{ name: http, port: 8001, targetPort: 9000 }}
  - {{ name: http2, port: 8002, targetPort: 9001 }}
  - {{ name: grpc, port: 8003, targetPort: 9002 }}
---
apiVersion: apps/v1
kind: {kind}
metadata: {{ name: rolled }}
spec:
  replicas: {PODS}
  selector: {{ matchLabels: {{ app: rolled }} }}
  template:
    metadata: {{ labels: {{ app: rolled, revision: \"r{revision}\" }} }}
    spec:
      containers:
{}",
        [9000, 9001, 9002].map(|port| format!(
            "      - {{ name: s{port}, image: rolled, command: [{tool}, tool, answer, \"{port}\"], ports: [{{ containerPort: {port} }}], readinessProbe: {{ tcpSocket: {{ port: {port} }}, periodSeconds: 1 }} }}\n",
            tool = tool.display(),
        ))
        .concat()
    )
}

fn a_rolling_update_fails_no_call(world: &World) {
    rolling(world, "Deployment");
}

/// Of a StatefulSet, one after the other; their addresses stay, too.
fn an_update_of_pods_that_keep_their_names_fails_no_call(world: &World) {
    rolling(world, "StatefulSet");
}

fn rolling(world: &World, kind: &str) {
    while_called(world, kind, |turn| {
        let old = ready(world, &[]);
        world.mesh.apply_text(&rolled(world, kind, turn + 2));
        ready(world, &old);
    });
}

/// By another process in the same pod, after SIGTERM.
fn a_sidecar_that_is_replaced_fails_no_call(world: &World) {
    while_called(world, "Deployment", |_| {
        let words = ["meltemi", " proxy ", "rolled-"];
        let sidecars = world.mesh.processes(&words);
        let old = sidecars[0];
        assert!(process::signal(old, libc::SIGTERM));
        until("another sidecar", ROLLED, || {
            let found = world.mesh.processes(&words);
            match found.len() == sidecars.len() && !found.contains(&old) {
                true => Ok(()),
                false => Err(format!("{found:?}")),
            }
        });
        ready(world, &[]);
    });
}

/// Disturbs the service three times while it is called in all ways.
fn while_called(world: &World, kind: &str, disturb: impl Fn(u32)) {
    world.reset();
    world.mesh.apply_text(&rolled(world, kind, 1));
    ready(world, &[]);
    let calls = [("http1", 8001), ("http2", 8002), ("grpc", 8003)]
        .map(|(protocol, port)| Calls::start(world, protocol, port));
    for turn in 0..3 {
        calls.iter().for_each(|calls| calls.wait_for(100));
        disturb(turn);
    }
    calls.iter().for_each(|calls| calls.wait_for(100));
    let ends = calls.map(Calls::end);
    for (what, success, said) in &ends {
        println!("  {what}: {said}");
        assert!(success, "{what}: {said}");
    }
    world.reset();
}

/// The service's servers, once all pods are ready and none of `old` is left.
fn ready(world: &World, old: &[i32]) -> Vec<i32> {
    until("all pods, and none of the old", ROLLED, || {
        let status = world.mesh.status();
        let pods = workloads(&status).filter(|workload| text(workload, "workload") == "rolled");
        let ready = pods.filter(|pod| pod["ready"] == true).count();
        let servers = world.mesh.processes(&["tool answer"]);
        let left = servers.iter().filter(|pid| old.contains(pid)).count();
        match (ready, servers.len(), left) {
            (PODS, SERVERS, 0) => Ok(servers),
            _ => Err(format!(
                "{ready} ready, {} servers, {left} old",
                servers.len()
            )),
        }
    })
}

/// Calls out of the client's pod, in the background.
struct Calls {
    what: &'static str,
    process: Child,
    log: std::path::PathBuf,
}

impl Calls {
    fn start(world: &World, protocol: &'static str, port: u16) -> Self {
        let log = world.mesh.home.join(format!("{protocol}.calls"));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = world.mesh.command();
        command.args(["exec", "client", "--"]);
        command.arg(world.stage.join("bin/e2e"));
        command.args(["tool", "call", protocol, &format!("rolled:{port}")]);
        command
            .stdin(Stdio::piped())
            .stderr(file.try_clone().unwrap())
            .stdout(file);
        Self {
            what: protocol,
            process: process::spawn(command).unwrap(),
            log,
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn count(&self) -> usize {
        let said = self.said();
        let counts = said.lines().filter_map(|line| line.parse().ok());
        counts.max().unwrap_or_default()
    }

    /// Waits for that many more calls.
    fn wait_for(&self, calls: usize) {
        let goal = self.count() + calls;
        until(self.what, EFFECT, || match self.count() {
            count if count >= goal => Ok(()),
            _ => Err(self.said()),
        });
    }

    /// Whether all calls succeeded, and what is to be told of them.
    fn end(mut self) -> (&'static str, bool, String) {
        drop(self.process.stdin.take());
        let success = self.process.wait().unwrap().success();
        let said = self.said();
        let words: Vec<&str> = said
            .lines()
            .filter(|line| line.parse::<usize>().is_err())
            .collect();
        let told = format!("{} calls; {}", self.count(), words.join("\n"));
        (self.what, success, told)
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        // After a failure they would go on. Gone is what they shall be.
        let _ = self.process.kill();
    }
}
