//! The client that looks at a handshake: OpenSSL, which tells of OCSP responses.

use super::client::Received;
use std::process::{Command, Stdio};

/// Whether the program is there.
pub fn available() -> bool {
    let version = Command::new("openssl").arg("version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Shakes hands and hangs up. The end says whether it worked, which certificate was shown, which
/// OCSP response, and what key was exchanged where `arguments` name groups.
pub fn handshake(port: u16, arguments: &[&str]) -> Result<Received, String> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("openssl: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found = |start: &str| {
        let line = said.lines().map(str::trim).find(|l| l.starts_with(start));
        line.unwrap_or("-").to_owned()
    };
    let key = match arguments.contains(&"-groups") {
        // OpenSSL 3.5 calls it by the other name.
        true => said.lines().find_map(|line| line.split_once(" Temp Key: ")),
        false => None,
    };
    let end = format!(
        "{} | {} | {} | {} | {}",
        output.status,
        found("subject="),
        found("OCSP response:"),
        found("OCSP Response Status:"),
        key.map_or("-", |(_, key)| key),
    );
    Ok(Received {
        end,
        ..Received::default()
    })
}
