//! Commands that are run to their end, within a limit.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::process::spawn;
use super::wait::attempt;

/// How a command ended and what it wrote.
#[derive(Clone, Debug)]
pub struct Output {
    /// The exit code, or 128 and the signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// # Panics
    /// When the command failed.
    pub fn expect_success(self, what: &str) -> Self {
        assert_eq!(self.code, 0, "{what}: {self}");
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {}\nstdout: {}\nstderr: {}",
            self.code,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        )
    }
}

/// Runs a command with `input` on its standard input.
///
/// # Panics
/// When it cannot be started, or does not end within `limit`.
pub fn run(mut command: Command, input: &[u8], limit: Duration) -> Output {
    use std::os::unix::process::ExitStatusExt;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut child = spawn(command).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A command that does not read its input is free to.
    let _ = stdin.write_all(input);
    drop(stdin);
    let stdout = collect(child.stdout.take().expect("it is piped"));
    let stderr = collect(child.stderr.take().expect("it is piped"));
    let ended = attempt(limit, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("it runs".into()),
        Err(error) => Err(error.to_string()),
    });
    if ended.is_err() {
        let _ = child.kill();
    }
    let (stdout, stderr) = (stdout.join(), stderr.join());
    let (stdout, stderr) = (stdout.unwrap_or_default(), stderr.unwrap_or_default());
    match ended {
        Ok(status) => Output {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout,
            stderr,
        },
        Err(_) => panic!(
            "{shown} did not end within {} s\nstdout: {stdout}\nstderr: {stderr}",
            limit.as_secs()
        ),
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is shown.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
