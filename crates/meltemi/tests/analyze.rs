//! `meltemi analyze` on files: what is printed, and with which code it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A route to nowhere (Error) in one file, a port that says nothing (Info) in another.
const ROUTE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: front}
spec:
  hosts: [shop]
  http:
  - route:
    - destination: {host: nowhere}
";
const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: shop, namespace: back}
spec:
  ports: [{name: web, port: 80}]
";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("deeper")).unwrap();
        fs::write(home.path().join("service.yaml"), SERVICE).unwrap();
        fs::write(home.path().join("deeper/route.yaml"), ROUTE).unwrap();
        Self(home)
    }

    fn analyze(&self, arguments: &[&str]) -> Said {
        said(Self::command(self.0.path(), arguments).output().unwrap())
    }

    fn command(directory: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meltemi"));
        command
            .arg("analyze")
            .args(arguments)
            .current_dir(directory)
            .env_remove("MELTEMI_MESH")
            .env("MELTEMI_RUNTIME_DIR", directory.join("run"));
        command
    }
}

#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn codes(said: &Said) -> Vec<String> {
    let list: Value = serde_json::from_str(&said.out).unwrap();
    let list = list.as_array().unwrap().iter();
    list.map(|message| message["code"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_message_has_object_file_line_field_and_remedy() {
    let said = Files::new().analyze(&["-R", "."]);
    assert_eq!(said.code, 79, "{said:?}");
    assert_eq!(
        said.out,
        "Error [IST0101] (VirtualService front/shop ./deeper/route.yaml:8) spec.http[0].route[0].destination.host: namespace front sees no service \"nowhere\"; requests to it fail\n  remedy: apply its Service or a ServiceEntry, or export it to this namespace\n\
         Info [IST0118] (Service back/shop ./service.yaml:5) spec.ports[0].name: the name \"web\" of port 80 begins with no protocol: what it speaks is detected per connection\n  remedy: name it PROTOCOL or PROTOCOL-SUFFIX (http, http2, grpc, tcp, tls ...), or set appProtocol\n"
    );
    assert_eq!(said.err, "Error: 1, Info: 1 in 2 files\n");
}

#[test]
fn thresholds_decide_about_the_code_and_about_what_is_shown() {
    let files = Files::new();
    let shallow = files.analyze(&["."]);
    assert_eq!(
        (shallow.code, shallow.err.as_str()),
        (0, "Info: 1 in 1 file\n")
    );
    assert_eq!(
        files.analyze(&[".", "--failure-threshold", "Info"]).code,
        79
    );
    let quiet = files.analyze(&["-R", ".", "--output-threshold", "warning", "-o", "json"]);
    assert_eq!(
        (quiet.code, codes(&quiet)),
        (79, vec!["IST0101".to_owned()])
    );
    let hidden = files.analyze(&[
        ".",
        "--output-threshold",
        "Error",
        "--failure-threshold",
        "Info",
    ]);
    assert_eq!((hidden.code, hidden.out.as_str()), (79, ""));
}

#[test]
fn what_is_not_wanted_is_not_said() {
    let files = Files::new();
    let suppressed = files.analyze(&[
        "-R",
        ".",
        "-S",
        "IST0101=VirtualService *.front",
        "-o",
        "json",
    ]);
    assert_eq!(
        (suppressed.code, codes(&suppressed)),
        (0, vec!["IST0118".to_owned()])
    );
    let back = files.analyze(&["-R", ".", "-n", "back", "-o", "json"]);
    assert_eq!((back.code, codes(&back)), (0, vec!["IST0118".to_owned()]));
    let one = files.analyze(&[
        "-R",
        ".",
        "--analyzer",
        "service.PortNameAnalyzer",
        "-o",
        "yaml",
    ]);
    assert!(
        one.code == 0 && one.out.contains("code: IST0118"),
        "{one:?}"
    );
    let unknown = files.analyze(&[".", "-S", "IST9999=*"]);
    assert!(
        unknown.code == 0 && unknown.err.contains("IST9999"),
        "{unknown:?}"
    );
}

#[test]
fn clusters_are_compared() {
    let files = Files::new();
    let other = SERVICE.replace("port: 80", "port: 81");
    fs::write(files.0.path().join("other.yaml"), other).unwrap();
    let said = files.analyze(&["--cluster", "a=service.yaml", "--cluster", "b=other.yaml"]);
    assert!(
        said.code == 0 && said.out.contains("[IST0170] (Service back/shop of a "),
        "{said:?}"
    );
}

#[test]
fn standard_input_and_mesh_settings_are_read() {
    let files = Files::new();
    fs::write(
        files.0.path().join("mesh.yaml"),
        "rootNamespace: root\noutbound: {}\n",
    )
    .unwrap();
    let mut child = Files::command(files.0.path(), &["-", "--meshConfigFile", "mesh.yaml"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(ROUTE.as_bytes())
        .unwrap();
    let said = said(child.wait_with_output().unwrap());
    assert!(
        said.out.contains("(VirtualService front/shop -:8)"),
        "{said:?}"
    );
    assert!(
        said.out
            .contains("(mesh.yaml:2) spec.outbound: unknown field"),
        "{said:?}"
    );
}

#[test]
fn wrong_usage_ends_with_2_and_nothing_to_look_at_with_1() {
    let files = Files::new();
    for wrong in [
        ["--analyzer", "service.PortNameAnalyser", "."].as_slice(),
        &["--failure-threshold", "Fatal", "."],
        &["-S", "IST0101", "."],
        &["-A", "-n", "back", "."],
    ] {
        let said = files.analyze(wrong);
        assert_eq!(said.code, 2, "{said:?}");
    }
    let near = files.analyze(&["--analyzer", "service.PortNameAnalyser", "."]);
    assert!(
        near.err.contains("did you mean service.PortNameAnalyzer?"),
        "{near:?}"
    );
    let missing = files.analyze(&["missing.yaml"]);
    assert!(
        missing.code == 1 && missing.err.contains("missing.yaml"),
        "{missing:?}"
    );
    let none = files.analyze(&[]);
    assert!(
        none.code == 1 && none.err.contains("no mesh is running"),
        "{none:?}"
    );
}

#[test]
fn analyzers_are_listed() {
    let said = Files::new().analyze(&["--list-analyzers"]);
    assert!(
        said.code == 0 && said.out.contains("gateway.SecretAnalyzer "),
        "{said:?}"
    );
}
