//! The mesh without namespaces: bookinfo at explicit loopback addresses, as an ordinary user,
//! because it was asked for and because the kernel forbids anything else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::mesh::{Mesh, text, workloads};
use common::process::Killed;
use common::wait::until;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const NOBODY: u32 = 65534;
/// Set in the process that plays a test's user: the directory it may write to.
const HOME: &str = "MELTEMI_LOOPBACK_HOME";
/// For a change to take effect.
const EFFECT: Duration = Duration::from_secs(15);
/// For one exchange with a workload.
const EXCHANGE: Duration = Duration::from_secs(5);

/// Both tests build whole meshes: one at a time.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn bookinfo_works_without_namespaces() {
    let become_user = |command: &mut Command, home: &Path| {
        if is_root() {
            chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
    };
    in_role("bookinfo_works_without_namespaces", become_user, |home| {
        let mesh = up(home, &["--mode", "loopback"]);
        assert!(
            !progress(&mesh).contains("not possible"),
            "{}",
            mesh.story()
        );
        the_page_shows_every_version(&mesh);
        calls_are_encrypted_and_identified(&mesh);
        routes_are_followed(&mesh);
        a_strict_port_refuses_plaintext(&mesh);
        programs_of_the_command_line_take_part(&mesh);
        an_application_at_another_address_is_told(&mesh);
        mesh.down();
        a_killed_supervisor_leaves_nothing(&mesh);
    });
}

#[test]
fn a_kernel_that_forbids_namespaces_is_explained_and_worked_around() {
    let name = "a_kernel_that_forbids_namespaces_is_explained_and_worked_around";
    let mut probe = Command::new("/bin/true");
    forbid_namespaces(&mut probe);
    let here = std::env::var_os(HOME).is_none();
    if here && let Err(error) = probe.status() {
        println!("skipped: {name}: no user namespace to forbid further ones in: {error}");
        return;
    }
    in_role(
        name,
        |command, _| forbid_namespaces(command),
        |home| {
            let mesh = up(home, &[]);
            let told = progress(&mesh);
            assert_eq!(
                told.matches("sudo sysctl user.max_user_namespaces=")
                    .count(),
                1,
                "{told}"
            );
            assert!(told.contains("loopback mode"), "{told}");
            the_page_shows_every_version(&mesh);
            mesh.down();

            let refused = mesh.cli(&["up", mesh.dir.to_str().unwrap(), "--mode", "namespaces"]);
            assert_eq!(refused.code, 1, "{refused}");
            assert!(
                refused.stderr.contains("user.max_user_namespaces="),
                "{refused}"
            );
            mesh.nothing_left();
        },
    );
}

/// Runs `body` in a process of its own that `prepare` has made another user's, with an empty
/// directory.
fn in_role(name: &str, prepare: impl FnOnce(&mut Command, &Path), body: impl FnOnce(&Path)) {
    if let Some(home) = std::env::var_os(HOME) {
        return body(Path::new(&home));
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = tempfile::Builder::new().prefix("mt-").tempdir().unwrap();
    open(stage.path());
    let tests = stage.path().join("tests");
    for (from, to) in [
        (
            PathBuf::from(env!("CARGO_BIN_EXE_meltemi")),
            stage.path().join("meltemi"),
        ),
        (std::env::current_exe().unwrap(), tests.clone()),
    ] {
        std::fs::copy(from, &to).unwrap();
        open(&to);
    }
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    for folder in ["bookinfo", "routing"] {
        let target = stage.path().join(folder);
        std::fs::create_dir(&target).unwrap();
        open(&target);
        for entry in std::fs::read_dir(samples.join(folder)).unwrap().flatten() {
            let to = target.join(entry.file_name());
            std::fs::copy(entry.path(), &to).unwrap();
            open(&to);
        }
    }
    let home = stage.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let mut command = Command::new(tests);
    command
        .args(["--exact", name, "--nocapture"])
        .current_dir(stage.path());
    command.env(HOME, &home).env_remove("XDG_RUNTIME_DIR");
    prepare(&mut command, &home);
    let status = Killed::spawn(command).map(|mut process| {
        until(name, Duration::from_secs(240), || {
            process.status().ok_or_else(|| "it runs".to_owned())
        })
    });
    assert!(status.unwrap().success(), "{name} failed; see above");
}

fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_root() -> bool {
    // SAFETY: it only asks.
    unsafe { libc::geteuid() == 0 }
}

/// The command's process becomes an ordinary user of a user namespace that allows no further
/// one: what a kernel does whose administrator has switched them off.
fn forbid_namespaces(command: &mut Command) {
    // SAFETY: both only ask.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let map = |id: u32| CString::new(format!("{NOBODY} {id} 1")).unwrap();
    let steps = [
        (c"/proc/self/setgroups".to_owned(), c"deny".to_owned()),
        (c"/proc/self/uid_map".to_owned(), map(uid)),
        (c"/proc/self/gid_map".to_owned(), map(gid)),
        (
            c"/proc/sys/user/max_user_namespaces".to_owned(),
            c"0".to_owned(),
        ),
    ];
    // SAFETY: system calls only between fork and exec.
    unsafe {
        command.pre_exec(move || {
            check(libc::unshare(libc::CLONE_NEWUSER))?;
            steps
                .iter()
                .try_for_each(|(file, content)| put(file, content))
        });
    }
}

fn put(file: &CStr, content: &CStr) -> std::io::Result<()> {
    let bytes = content.to_bytes();
    // SAFETY: the strings end with NUL, and the length is theirs.
    unsafe {
        let fd = check(libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = libc::write(fd, bytes.as_ptr().cast(), bytes.len());
        libc::close(fd);
        check(i32::try_from(written).unwrap_or(-1)).map(|_| ())
    }
}

fn check(result: i32) -> std::io::Result<i32> {
    if result < 0 {
        Err(std::io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Bookinfo, up in loopback mode.
fn up(home: &Path, flags: &[&str]) -> Mesh {
    let stage = home.parent().unwrap();
    let dir = home.join("shop");
    std::fs::create_dir(&dir).unwrap();
    for name in [
        "meltemi.yaml",
        "bookinfo.yaml",
        "destination-rules.yaml",
        "gateway.yaml",
    ] {
        std::fs::copy(stage.join("bookinfo").join(name), dir.join(name)).unwrap();
    }
    let mesh =
        Mesh::up(&stage.join("meltemi"), home, &dir, flags).unwrap_or_else(|e| panic!("{e}"));
    let info = std::fs::read_dir(home.join("r"))
        .unwrap()
        .flatten()
        .next()
        .unwrap();
    let info = std::fs::read_to_string(info.path().join("mesh.json")).unwrap();
    assert!(info.contains("\"mode\": \"loopback\""), "{info}");
    mesh
}

fn progress(mesh: &Mesh) -> String {
    std::fs::read_to_string(mesh.home.join("up.err")).unwrap()
}

fn versions(mesh: &Mesh, requests: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for _ in 0..requests {
        let page = mesh.get("/productpage");
        assert_eq!(page.status, 200, "{page:?}\n{}", mesh.story());
        assert!(page.body.contains("Book Details"), "{}", page.body);
        let (_, served) = page
            .body
            .split_once("Reviews served by: <code>")
            .unwrap_or_else(|| panic!("no reviews in {}", page.body));
        found.insert(served.chars().take("reviews-v1".len()).collect());
    }
    found
}

fn the_page_shows_every_version(mesh: &Mesh) {
    let found = versions(mesh, 40);
    assert_eq!(found.len(), 3, "{found:?}");
}

fn calls_are_encrypted_and_identified(mesh: &Mesh) {
    let details = mesh.ip("details-v1");
    assert!(details.starts_with("127.77.0."), "{details}");
    let metrics = get(&details, 15090, "/stats/prometheus").unwrap();
    let line = metrics
        .lines()
        .find(|line| {
            line.starts_with("istio_requests_total") && line.contains("reporter=\"destination\"")
        })
        .unwrap_or_else(|| panic!("no request of another workload in {metrics}"));
    for part in [
        "connection_security_policy=\"mutual_tls\"",
        "source_principal=\"spiffe://cluster.local/ns/default/sa/bookinfo-productpage\"",
    ] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    let workload = mesh.workload("details-v1");
    assert_eq!(
        text(&workload["certificate"], "spiffe"),
        "spiffe://cluster.local/ns/default/sa/bookinfo-details"
    );
}

fn routes_are_followed(mesh: &Mesh) {
    let stage = mesh.home.parent().unwrap();
    mesh.apply(&stage.join("routing/all-v1.yaml"));
    assert_eq!(
        versions(mesh, 20),
        BTreeSet::from(["reviews-v1".to_owned()])
    );
}

fn a_strict_port_refuses_plaintext(mesh: &Mesh) {
    let stage = mesh.home.parent().unwrap();
    let reviews = mesh.ip("reviews-v1");
    get(&reviews, 9080, "/reviews/0").expect("plaintext is taken before");
    mesh.apply(&stage.join("routing/mtls-strict.yaml"));
    get(&reviews, 9080, "/reviews/0").expect_err("plaintext to a STRICT port");
    versions(mesh, 5);
}

fn programs_of_the_command_line_take_part(mesh: &Mesh) {
    let mut command = mesh.command();
    command.args(["run", "--service", "hello", "--port", "8000", "--"]);
    command
        .args(["sh", "-c", "exec \"$0\" sample httpbin --port 8000"])
        .arg(mesh.home.join("bin/meltemi"));
    let run = Killed::spawn(command).unwrap();
    // A service that came later has its address without anything being started anew.
    let answer = until("the new service answers", EFFECT, || {
        let told = environment(mesh, "productpage");
        let host = told.get("HELLO_SERVICE_HOST").ok_or("it is not told yet")?;
        get(host, 8000, "/get")
    });
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    let told = environment(mesh, "productpage");
    assert!(told["BIND_ADDRESS"].starts_with("127.78.0."), "{told:?}");
    assert_eq!(told["REVIEWS_SERVICE_PORT"], "9080");
    assert_eq!(mesh.exec("productpage", &["sh", "-c", "exit 7"]).code, 7);
    drop(run);
    until("the program's pod goes", EFFECT, || {
        let status = mesh.status();
        let left =
            workloads(&status).any(|workload| text(workload, "name").starts_with("hello-run"));
        if left {
            Err("it is there".to_owned())
        } else {
            Ok(())
        }
    });
}

fn environment(mesh: &Mesh, workload: &str) -> BTreeMap<String, String> {
    let output = mesh.exec(workload, &["env"]).expect_success("env");
    let pairs = output
        .stdout
        .lines()
        .filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn an_application_at_another_address_is_told(mesh: &Mesh) {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: elsewhere}\nspec:\n  containers:\n  - name: web\n    image: web\n    command: [meltemi, sample, httpbin, --address, 127.0.0.9, --port, \"18124\"]\n    ports: [{containerPort: 18124}]\n";
    std::fs::write(mesh.dir.join("elsewhere.yaml"), text).unwrap();
    until("the remedy is told", EFFECT, || {
        let told = mesh.cli(&["status"]).stdout;
        let hint = told
            .lines()
            .find(|line| line.contains("elsewhere") && line.contains("BIND_ADDRESS"));
        hint.map(|_| ()).ok_or(told.clone())
    });
    assert_eq!(mesh.workload("elsewhere")["ready"], false);
}

/// Also not of programs that left their parents, their sessions and their groups.
fn a_killed_supervisor_leaves_nothing(mesh: &Mesh) {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: elsewhere}\nspec:\n  containers:\n  - {name: web, image: web, command: [sh, -c, \"(setsid sleep 7777 &) ; exec sleep 7777\"]}\n";
    std::fs::write(mesh.dir.join("elsewhere.yaml"), text).unwrap();
    mesh.start(&["--mode", "loopback"])
        .unwrap_or_else(|reason| panic!("{reason}"));
    until("both programs run", EFFECT, || {
        match mesh.processes(&["sleep 7777"]).len() {
            2 => Ok(()),
            count => Err(format!("{count}")),
        }
    });
    mesh.kill_supervisor();
    mesh.nothing_left();
    mesh.start(&["--mode", "loopback"])
        .unwrap_or_else(|reason| panic!("{reason}"));
    versions(mesh, 3);
    mesh.down();
}

/// A request without a proxy's help: the whole answer.
fn get(host: &str, port: u16, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{host}:{port}: {error}");
    let address: SocketAddr = format!("{host}:{port}")
        .parse()
        .map_err(|error| format!("{host}: {error}"))?;
    let mut stream = TcpStream::connect_timeout(&address, EXCHANGE).map_err(failed)?;
    stream.set_read_timeout(Some(EXCHANGE)).map_err(failed)?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 200") {
        Ok(answer)
    } else {
        Err(format!("{host}:{port}: {answer:?}"))
    }
}
