//! One of the two proxies, running on its copy of a group's configuration.

use super::bootstrap::{Config, LOG_FIELDS, Place, bootstrap};
use crate::common::process::Killed;
use crate::common::wait::attempt;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const START: Duration = Duration::from_secs(20);
/// Lines are written within 100 ms; this is for a busy machine.
const LOG: Duration = Duration::from_secs(5);

pub struct Proxy {
    pub place: Place,
    process: Killed,
    log: PathBuf,
    /// Bytes of the log that were read.
    read: usize,
}

impl Proxy {
    /// Starts `program` (with its arguments but for the configuration) and waits until it
    /// serves.
    ///
    /// # Errors
    /// What it said when it refused to.
    pub fn start(
        name: &str,
        program: &[String],
        config: &Config,
        dir: &Path,
    ) -> Result<Self, String> {
        let place = Place::new(config.listeners.len());
        let log = dir.join(format!("{name}.log"));
        let path = dir.join(format!("{name}.json"));
        let text = bootstrap(config, &place, &log).to_string();
        std::fs::write(&path, text).map_err(|error| error.to_string())?;
        let said = dir.join(format!("{name}.err"));
        let file = std::fs::File::create(&said).map_err(|error| error.to_string())?;
        let mut command = Command::new(&program[0]);
        command.args(&program[1..]).arg("-c").arg(&path);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let process = Killed::spawn(command).map_err(|error| format!("{}: {error}", program[0]))?;
        let mut proxy = Self {
            place,
            process,
            log,
            read: 0,
        };
        let admin = proxy.place.admin;
        let begun = std::time::Instant::now();
        loop {
            if ready(admin) {
                return Ok(proxy);
            }
            let ended = proxy.process.status();
            if ended.is_some() || begun.elapsed() > START {
                let said = std::fs::read_to_string(&said).unwrap_or_default();
                let end = ended.map_or("it is not ready".to_owned(), |status| status.to_string());
                return Err(format!("{name} does not start: {end}\n{}", tail(&said, 12)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The next lines of the access log up to the `count`th of the suite's, each as its fields by
    /// name.
    ///
    /// # Errors
    /// That they were not written.
    pub fn log_lines(
        &mut self,
        count: usize,
    ) -> Result<Vec<BTreeMap<&'static str, String>>, String> {
        let text = attempt(LOG, || {
            let text = std::fs::read(&self.log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text[self.read.min(text.len())..]).into_owned();
            // Others are of loggers that a case configures.
            let lines = text.lines().filter(|line| line.contains('\t')).count();
            if lines >= count {
                Ok(text)
            } else {
                Err(format!("the log has {lines} of {count} lines: {text}"))
            }
        })?;
        self.read += text.len();
        Ok(text.lines().map(fields).collect())
    }

    /// Lines that nobody asked for.
    pub fn skip_log(&mut self) {
        self.read = std::fs::metadata(&self.log).map_or(0, |meta| meta.len() as usize);
    }
}

fn fields(line: &str) -> BTreeMap<&'static str, String> {
    let names = LOG_FIELDS.iter().map(|(name, _)| *name);
    names.zip(line.split('\t').map(str::to_owned)).collect()
}

/// Whether the administration says that it serves.
pub fn ready(admin: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

/// The last lines of a text.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
