//! Ordinary programs inside the mesh, unchanged, and programs that join it.

use crate::common::process::{self, Killed};
use crate::common::runner::Test;
use crate::common::wait::until;
use crate::stage::has;
use crate::tests;
use crate::world::{EFFECT, World};
use std::process::Stdio;

pub const TESTS: &[Test<World>] = tests![
    curl_works_unchanged,
    python_works_unchanged,
    java_works_unchanged,
    exec_passes_input_output_and_exit_code,
    a_program_joins_the_mesh_as_a_service,
    run_passes_exit_code_and_signals,
    a_program_that_is_not_there_is_an_error,
];

fn curl_works_unchanged(world: &World) {
    world.reset();
    if !has("curl", "curl in a pod") {
        return;
    }
    let url = "http://reviews:9080/reviews/0";
    let output = world
        .mesh
        .exec("client", &["curl", "-sS", "--max-time", "10", url]);
    let output = output.expect_success("curl");
    assert!(output.stdout.contains("\"reviews\""), "{output}");
}

fn python_works_unchanged(world: &World) {
    if !has("python3", "Python in a pod") {
        return;
    }
    let script = "import socket, urllib.request as u\n\
        print(socket.getaddrinfo('ratings', 9080, proto=socket.IPPROTO_TCP)[0][4][0])\n\
        print(u.urlopen('http://ratings.default:9080/ratings/0', timeout=10).read().decode())";
    let output = world
        .mesh
        .exec("client", &["python3", "-c", script])
        .expect_success("python3");
    assert!(
        output.stdout.starts_with("10.99.") && output.stdout.contains("\"Reviewer1\""),
        "{output}"
    );
}

fn java_works_unchanged(world: &World) {
    if !has("java", "Java in a pod") {
        return;
    }
    let source = world.mesh.home.join("Client.java");
    let text = "import java.net.*; import java.net.http.*; import java.net.http.HttpResponse.BodyHandlers;\n\
        public class Client { public static void main(String[] a) throws Exception {\n\
          var request = HttpRequest.newBuilder(URI.create(a[0])).build();\n\
          System.out.println(HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body()); } }\n";
    std::fs::write(&source, text).unwrap();
    let url = "http://details:9080/details/0";
    let output = world
        .mesh
        .exec("client", &["java", source.to_str().unwrap(), url])
        .expect_success("java");
    assert!(output.stdout.contains("\"author\""), "{output}");
}

fn exec_passes_input_output_and_exit_code(world: &World) {
    let output = world
        .mesh
        .cli_with_input(&["exec", "client", "--", "cat"], "there and back\n");
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (0, "there and back\n"),
        "{output}"
    );
    let output = world
        .mesh
        .exec("client", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (7, "out\n", "err\n"),
        "{output}"
    );
    let output = world.mesh.exec("client", &["sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.code, 143, "{output}");
    // A workload is found by its pod, its deployment, and its app.
    let pod = world.mesh.workload("reviews-v2")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    for name in [pod.as_str(), "reviews-v2", "client"] {
        assert_eq!(world.mesh.exec(name, &["true"]).code, 0, "{name}");
    }
    let output = world.mesh.exec("nobody", &["true"]);
    assert!(
        output.code != 0 && output.stderr.contains("nobody"),
        "{output}"
    );
}

/// `meltemi run` in the background.
fn running(world: &World, arguments: &[&str], log: &str) -> Killed {
    let mut command = world.mesh.command();
    let file = std::fs::File::create(world.mesh.home.join(log)).unwrap();
    command.arg("run").args(arguments).stdin(Stdio::null());
    command.stderr(file.try_clone().unwrap()).stdout(file);
    Killed::spawn(command).unwrap()
}

fn said(world: &World, log: &str) -> String {
    std::fs::read_to_string(world.mesh.home.join(log)).unwrap_or_default()
}

fn a_program_joins_the_mesh_as_a_service(world: &World) {
    world.reset();
    let tool = world.stage.join("bin/e2e");
    let tool = tool.to_str().unwrap();
    let arguments = [
        "--service",
        "hello",
        "--port",
        "7000",
        "--label",
        "app=hello",
        "--",
        tool,
        "tool",
        "serve",
        "7000",
        "hello from outside",
    ];
    let mut process = running(world, &arguments, "hello.log");
    until("the service", EFFECT, || {
        let output = world.tool("client", &["http", "http://hello:7000/"]);
        match output.stdout.trim() == "200 hello from outside" {
            true => Ok(()),
            false => Err(format!("{output}\n{}", said(world, "hello.log"))),
        }
    });
    process::signal(process.pid, libc::SIGINT);
    let status = until("the end of `run`", EFFECT, || {
        process.status().ok_or_else(|| "it runs".into())
    });
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        None,
        "{status}"
    );
    until("the service is gone", EFFECT, || {
        let output = world.tool("client", &["http", "http://hello:7000/"]);
        if output.stdout.starts_with("200") {
            Err(output.to_string())
        } else {
            Ok(())
        }
    });
}

fn run_passes_exit_code_and_signals(world: &World) {
    world.reset();
    let job = ["run", "--service", "job", "--port", "7001", "--"];
    let with = |command: &[&'static str]| [&job[..], command].concat();
    let output = world.mesh.cli(&with(&["sh", "-c", "echo done; exit 3"]));
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("done"), "{output}");
    let tool = world.stage.join("bin/e2e");
    let arguments = [
        "--service",
        "job",
        "--port",
        "7001",
        "--",
        tool.to_str().unwrap(),
        "tool",
        "until-terminated",
        "42",
    ];
    let mut process = running(world, &arguments, "job.log");
    until("the program", EFFECT, || match said(world, "job.log") {
        text if text.contains("waiting") => Ok(()),
        text => Err(text),
    });
    process::signal(process.pid, libc::SIGTERM);
    let status = until("the end of `run`", EFFECT, || {
        process.status().ok_or_else(|| "it runs".into())
    });
    assert_eq!(status.code(), Some(42), "{}", said(world, "job.log"));
}

fn a_program_that_is_not_there_is_an_error(world: &World) {
    let output = world.mesh.exec("client", &["no-such-program"]);
    assert!(
        output.code != 0 && output.stderr.contains("no-such-program"),
        "{output}"
    );
}
