//! Stand-ins for the control plane and the proxy: this test program is "meltemi" to the
//! supervisor under test.

use meltemi_local::enter::{self, Target};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

fn value<'a>(arguments: &'a [String], name: &str) -> &'a str {
    let at = arguments
        .iter()
        .position(|argument| argument == name)
        .unwrap_or_else(|| panic!("{name} in {arguments:?}"));
    &arguments[at + 1]
}

/// Opens the sockets and waits to be stopped.
pub fn control_plane(arguments: &[String]) -> ! {
    let run = Path::new(value(arguments, "--run-dir"));
    let sockets = ["xds.sock", "api.sock"].map(|name| {
        let _ = std::fs::remove_file(run.join(name));
        UnixListener::bind(run.join(name)).unwrap()
    });
    wait(&sockets)
}

fn wait<T>(_held: &T) -> ! {
    loop {
        std::thread::park();
    }
}

/// Checks what it was given, serves the admin socket, is always ready.
pub fn proxy(arguments: &[String]) -> ! {
    // SAFETY: the supervisor passes this descriptor for us.
    let mut credential = unsafe {
        <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(
            value(arguments, "--credential-fd").parse().unwrap(),
        )
    };
    let mut token = String::new();
    credential.read_to_string(&mut token).unwrap();
    let bootstrap: serde_json::Value =
        serde_json::from_slice(&std::fs::read(value(arguments, "--config-path")).unwrap()).unwrap();
    println!(
        "node {} token {} {}",
        bootstrap["node"]["id"],
        token.len(),
        arguments.join(" ")
    );
    let admin = value(arguments, "--admin-socket");
    let _ = std::fs::remove_file(admin);
    for stream in UnixListener::bind(admin).unwrap().incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap_or(0);
        println!(
            "{}",
            String::from_utf8_lossy(&request[..length])
                .lines()
                .next()
                .unwrap_or_default()
        );
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
    std::process::exit(0)
}

/// `enter RUN exec NAME -- ARGV` and `enter RUN run SERVICE PORT -- ARGV`.
pub fn enter(arguments: &[String]) -> ExitCode {
    let split = arguments
        .iter()
        .position(|argument| argument == "--")
        .unwrap();
    let (words, argv) = (&arguments[2..split], &arguments[split + 1..]);
    let target = match words[0].as_str() {
        "exec" => Target::Exec {
            namespace: "default".into(),
            name: words[1].clone(),
            container: None,
        },
        _ => Target::Run(
            serde_json::from_value(
                serde_json::json!({"service": words[1], "port": words[2].parse::<u16>().unwrap()}),
            )
            .unwrap(),
        ),
    };
    match enter::enter(Path::new(&arguments[1]), target, argv, |_| {}) {
        Ok(code) => ExitCode::from(code as u8),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(99)
        }
    }
}
