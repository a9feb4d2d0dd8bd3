//! How a mesh begins and ends.

use crate::common::mesh::Mesh;
use crate::common::process::signal;
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::tests;
use crate::world::World;
use std::process::Stdio;
use std::time::Duration;

pub const TESTS: &[Test<World>] = tests![
    after_kill_9_nothing_is_left_and_the_next_up_works,
    the_second_up_of_a_directory_is_refused,
    up_without_a_directory_is_bookinfo_and_detach_returns,
    what_does_not_become_ready_is_told,
];

const LIMIT: Duration = Duration::from_secs(60);

fn after_kill_9_nothing_is_left_and_the_next_up_works(world: &World) {
    let mesh = world.second("killed", &[]);
    assert_eq!(mesh.get("/productpage").status, 200);
    mesh.kill_supervisor();
    mesh.nothing_left();
    mesh.start(&[]).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(mesh.get("/productpage").status, 200);
    // Ctrl-C is the other way to end it.
    signal(mesh.pid(), libc::SIGINT);
    until("the end of `up`", LIMIT, || {
        match mesh.processes(&["meltemi", " up "])[..] {
            [] => Ok(()),
            ref other => Err(format!("{other:?}")),
        }
    });
    mesh.nothing_left();
    let output = mesh.cli(&["down"]).expect_success("down");
    assert!(
        format!("{output}").contains("no mesh is running"),
        "{output}"
    );
}

fn the_second_up_of_a_directory_is_refused(world: &World) {
    let mut command = world.mesh.command();
    command.arg("up").arg(&world.mesh.dir);
    let output = crate::common::output::run(command, b"", LIMIT);
    assert_eq!(output.code, 1, "{output}");
    assert!(output.stderr.contains("running"), "{output}");
    assert_eq!(world.mesh.get("/productpage").status, 200);
}

fn up_without_a_directory_is_bookinfo_and_detach_returns(world: &World) {
    let home = world.mesh.home.parent().unwrap().join("detach");
    let mesh = Mesh::unstarted(
        &world.stage.join("bin/meltemi"),
        &home,
        &home.join("state/meltemi/bookinfo"),
    );
    let port = mesh.port.to_string();
    let mut command = mesh.command();
    command
        .args(["up", "--detach", "--port", &port, "--wait-timeout", "60s"])
        .stdin(Stdio::null());
    let output = crate::common::output::run(command, b"", LIMIT).expect_success("up --detach");
    assert!(
        output.stdout.contains(" is up in ") && output.stdout.contains("/productpage"),
        "{output}"
    );
    let page = mesh.get("/productpage");
    assert!(
        page.status == 200 && page.body.contains("Book Reviews"),
        "{page:?}"
    );
    // A port that was asked for and is taken is an error.
    let other = Mesh::unstarted(
        &world.stage.join("bin/meltemi"),
        &world.mesh.home.parent().unwrap().join("taken"),
        &home,
    );
    let mut command = other.command();
    command.args(["up", "--detach", "--port", &port, "--wait-timeout", "30s"]);
    let taken = crate::common::output::run(command, b"", LIMIT);
    assert!(taken.code != 0 && taken.stderr.contains(&port), "{taken}");
    mesh.down();
}

fn what_does_not_become_ready_is_told(world: &World) {
    let home = world.mesh.home.parent().unwrap().join("failing");
    let dir = home.join("shop");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("failing.yaml"), FAILING).unwrap();
    std::fs::write(dir.join("meltemi.yaml"), FAILING_SETTINGS).unwrap();
    let mesh = Mesh::unstarted(&world.stage.join("bin/meltemi"), &home, &dir);
    let port = mesh.port.to_string();
    let mut command = mesh.command();
    command
        .arg("up")
        .arg(&dir)
        .args(["--detach", "--port", &port, "--wait-timeout", "8s"]);
    let output = crate::common::output::run(command, b"", LIMIT);
    assert_eq!(output.code, 1, "{output}");
    for part in ["crashing", "exit code 9", "unready", "readiness"] {
        assert!(
            output.stderr.contains(part),
            "{part:?} is missing: {output}"
        );
    }
    mesh.nothing_left();
}

const FAILING: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: crashing }
spec:
  selector: { matchLabels: { app: crashing } }
  template:
    metadata: { labels: { app: crashing } }
    spec: { containers: [{ name: c, image: "crashing:1" }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: unready }
spec:
  selector: { matchLabels: { app: unready } }
  template:
    metadata: { labels: { app: unready } }
    spec: { containers: [{ name: c, image: "sleeping:1", readinessProbe: { httpGet: { path: /, port: 9999 }, periodSeconds: 1 } }] }
"#;

const FAILING_SETTINGS: &str = r#"
apiVersion: meltemi.dev/v1alpha1
kind: LocalMesh
images:
- { image: "crashing:*", command: [sh, -c, "echo this is why; exit 9"] }
- { image: "sleeping:*", command: [meltemi, sample, sleep] }
"#;
