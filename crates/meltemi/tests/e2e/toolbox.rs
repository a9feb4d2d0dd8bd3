//! Tools that the tests run inside pods: what curl, dig or openssl would do, without asking
//! the machine for them. Each prints one line and exits with 0, or 1 when it could not ask.

use crate::calls;
use crate::mtls::foreign;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(8);

pub fn main(arguments: &[String]) -> i32 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["http", url] => http(url, None),
        ["http-at", address, url] => http(url, Some(address)),
        ["tcp", address, text] => tcp(address, text),
        ["plaintext", address] => Ok(plaintext(address)),
        ["foreign", address] => Ok(foreign::ask(address)),
        ["resolve", name] => resolve(name),
        ["dns", name, kind] => dns(name, kind),
        ["serve", port, answer] => serve(port, answer),
        ["answer", port] => calls::answer(port),
        ["call", protocol, authority] => calls::call(protocol, authority),
        ["until-terminated", code] => until_terminated(code),
        _ => Err(format!("no such tool: {words:?}")),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            0
        }
        Err(reason) => {
            eprintln!("{reason}");
            1
        }
    }
}

/// `STATUS BODY` of a GET, at another address than the URL's where one is given.
fn http(url: &str, address: Option<&str>) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("http:// only")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = match address {
        Some(address) => address.to_owned(),
        None if authority.contains(':') => authority.to_owned(),
        None => format!("{authority}:80"),
    };
    let text = exchange(
        &address,
        &format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"),
    )?;
    let status = text.split(' ').nth(1).unwrap_or("no HTTP");
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(format!("{status} {}", body.trim()))
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let found = address
        .to_socket_addrs()
        .map_err(|error| format!("resolve {address}: {error}"))?;
    let mut last = format!("{address} has no address");
    for address in found {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                // A bound that cannot be set shows as a test that takes too long.
                let _ = stream.set_read_timeout(Some(PATIENCE));
                return Ok(stream);
            }
            Err(error) => last = format!("connect {address}: {error}"),
        }
    }
    Err(last)
}

fn exchange(address: &str, request: &str) -> Result<String, String> {
    let mut stream = connect(address)?;
    stream
        .write_all(request.as_bytes())
        .map_err(|error| format!("send: {error}"))?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if bytes.is_empty() => return Err(format!("read: {error}")),
        Err(_) => {}
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What comes back for a line.
fn tcp(address: &str, line: &str) -> Result<String, String> {
    let mut stream = connect(address)?;
    let mut bytes = [0; 256];
    let count = stream
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| stream.read(&mut bytes))
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes[..count]).trim().to_owned())
}

/// What a port makes of a plain request: `answered`, `closed`, `reset`, ...
fn plaintext(address: &str) -> String {
    let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut stream = match connect(address) {
        Ok(stream) => stream,
        Err(reason) => return format!("no connection: {reason}"),
    };
    if stream.write_all(request.as_bytes()).is_err() {
        return "reset".into();
    }
    let mut bytes = [0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => "closed".into(),
        Ok(count) => format!(
            "answered {}",
            String::from_utf8_lossy(&bytes[..count])
                .lines()
                .next()
                .unwrap_or_default()
        ),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => "reset".into(),
        Err(error) => error.to_string(),
    }
}

/// Addresses, as programs get them from the C library.
fn resolve(name: &str) -> Result<String, String> {
    let found = (name, 0)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let mut all: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    all.sort();
    all.dedup();
    Ok(all.join(" "))
}

/// `RCODE ANSWERS` of one question to the configured name server.
fn dns(name: &str, kind: &str) -> Result<String, String> {
    let configuration =
        std::fs::read_to_string("/etc/resolv.conf").map_err(|error| error.to_string())?;
    let server = configuration
        .lines()
        .find_map(|line| line.strip_prefix("nameserver "))
        .ok_or("no name server")?;
    let kind: u16 = match kind {
        "A" => 1,
        "AAAA" => 28,
        _ => return Err(format!("no type {kind}")),
    };
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        question.push(label.len() as u8);
        question.extend_from_slice(label.as_bytes());
    }
    question.push(0);
    question.extend_from_slice(&kind.to_be_bytes());
    question.extend_from_slice(&1u16.to_be_bytes());
    let ask = || -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((server, 53))?;
        socket.send(&question)?;
        let mut answer = vec![0; 4096];
        let count = socket.recv(&mut answer)?;
        answer.truncate(count);
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("ask {server}: {error}"))?;
    if answer.len() < 12 || answer[..2] != question[..2] {
        return Err(format!("no DNS: {answer:?}"));
    }
    Ok(format!(
        "{} {}",
        answer[3] & 15,
        u16::from_be_bytes([answer[6], answer[7]])
    ))
}

/// Answers every connection until it is killed.
fn serve(port: &str, answer: &str) -> Result<String, String> {
    let port: u16 = port.parse().map_err(|_| "no port")?;
    let listener = TcpListener::bind(("0.0.0.0", port)).map_err(|error| error.to_string())?;
    println!("serving");
    for stream in listener.incoming().flatten() {
        let answer = answer.to_owned();
        std::thread::spawn(move || answer_one(stream, &answer));
    }
    Ok("done".into())
}

pub fn answer_one(mut stream: TcpStream, answer: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    // A client that went away needs no answer.
    let _ = stream.write_all(format!("{head}{answer}").as_bytes());
}

/// Ends with `code` on SIGTERM or SIGINT.
fn until_terminated(code: &str) -> Result<String, String> {
    let code: i32 = code.parse().map_err(|_| "no exit code")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let term = signal(SignalKind::terminate());
        let interrupt = signal(SignalKind::interrupt());
        let (Ok(mut term), Ok(mut interrupt)) = (term, interrupt) else {
            return Err("no signal handler".to_owned());
        };
        println!("waiting");
        tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(code)
    })
}
