//! Resources, and how much of each is used: files that the kernel, or somebody else, keeps.

use std::fs;
use std::path::Path;

/// Bytes of a page in `/proc/self/statm`.
const PAGE: u64 = 4096;
/// Weight of the newest measurement of the processors' load, as in Envoy.
const NEWEST: f64 = 0.05;

#[derive(Clone, Debug)]
pub(super) enum Monitor {
    /// Resident memory of the process, of so many bytes.
    FixedHeap { maximum: u64 },
    /// The pressure itself, from a file.
    Injected { file: Box<Path> },
    /// Memory of the control group, of its limit or of so many bytes, whichever is less; 0:
    /// of its limit.
    CgroupMemory { maximum: u64 },
    /// Load of the machine's processors.
    Processors(Processors),
}

/// Times of all processors when they were last looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Processors {
    work: u64,
    total: u64,
    load: f64,
}

impl Monitor {
    /// The pressure now, where 1 is all there is.
    ///
    /// # Errors
    /// A sentence: which file cannot be read or understood.
    pub fn pressure(&mut self) -> Result<f64, String> {
        match self {
            Self::FixedHeap { maximum } => {
                let statm = read(Path::new("/proc/self/statm"))?;
                let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
                let resident: u64 = resident.ok_or("/proc/self/statm has no resident size")?;
                Ok((resident * PAGE) as f64 / *maximum as f64)
            }
            Self::Injected { file } => {
                let text = read(file)?;
                let pressure = text.trim().parse().ok();
                pressure
                    .filter(|pressure| (0.0..=1.0).contains(pressure))
                    .ok_or_else(|| format!("{} holds no number from 0 to 1", file.display()))
            }
            Self::CgroupMemory { maximum } => cgroup_memory(Path::new("/sys/fs/cgroup"), *maximum),
            Self::Processors(processors) => processors.look(&read(Path::new("/proc/stat"))?),
        }
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Version 2 of control groups, or version 1.
fn cgroup_memory(root: &Path, maximum: u64) -> Result<f64, String> {
    let (usage, limit) = match root.join("memory.current") {
        usage if usage.exists() => (usage, root.join("memory.max")),
        _ => (
            root.join("memory/memory.usage_in_bytes"),
            root.join("memory/memory.limit_in_bytes"),
        ),
    };
    let used = read(&usage)?;
    let used: u64 = used
        .trim()
        .parse()
        .map_err(|_| format!("{} holds no number", usage.display()))?;
    // `max`: there is none.
    let limit = read(&limit)?.trim().parse().unwrap_or(u64::MAX);
    let limit = match maximum {
        0 => limit,
        maximum => limit.min(maximum),
    };
    Ok(used as f64 / limit as f64)
}

impl Processors {
    /// From `/proc/stat`: the load since the last look, smoothed.
    fn look(&mut self, stat: &str) -> Result<f64, String> {
        let mut times = [0u64; 4];
        let mut words = stat.lines().next().unwrap_or_default().split_whitespace();
        let named = words.next() == Some("cpu");
        for time in &mut times {
            let word = words.next().and_then(|word| word.parse().ok());
            *time = word.ok_or("/proc/stat does not begin with the processors' times")?;
        }
        let [user, nice, system, idle] = times;
        let work = user + nice + system;
        let total = work + idle;
        let passed = total.saturating_sub(self.total);
        if named && self.total > 0 && passed > 0 {
            let load = work.saturating_sub(self.work) as f64 / passed as f64;
            self.load = load * NEWEST + self.load * (1.0 - NEWEST);
        }
        (self.work, self.total) = (work, total);
        Ok(self.load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_uses_memory() {
        let mut monitor = Monitor::FixedHeap { maximum: 1 };
        assert!(monitor.pressure().unwrap() > 1.0);
        let mut monitor = Monitor::FixedHeap { maximum: 1 << 50 };
        let pressure = monitor.pressure().unwrap();
        assert!(pressure > 0.0 && pressure < 0.01, "{pressure}");
    }

    #[test]
    fn pressure_is_injected_by_a_file() {
        let dir = std::env::temp_dir().join(format!("injected-{}", std::process::id()));
        let mut monitor = Monitor::Injected {
            file: dir.clone().into(),
        };
        assert!(monitor.pressure().unwrap_err().contains("No such file"));
        for (text, pressure) in [
            ("0.25\n", Some(0.25)),
            ("1", Some(1.0)),
            ("2", None),
            ("x", None),
        ] {
            fs::write(&dir, text).unwrap();
            assert_eq!(monitor.pressure().ok(), pressure, "{text}");
        }
        fs::remove_file(&dir).unwrap();
    }

    #[test]
    fn control_groups_of_both_versions_are_read() {
        let root = std::env::temp_dir().join(format!("cgroup-{}", std::process::id()));
        fs::create_dir_all(root.join("memory")).unwrap();
        fs::write(root.join("memory/memory.usage_in_bytes"), "25\n").unwrap();
        fs::write(root.join("memory/memory.limit_in_bytes"), "100\n").unwrap();
        assert_eq!(cgroup_memory(&root, 0), Ok(0.25));
        assert_eq!(cgroup_memory(&root, 50), Ok(0.5));
        fs::write(root.join("memory.current"), "30\n").unwrap();
        fs::write(root.join("memory.max"), "max\n").unwrap();
        assert!(cgroup_memory(&root, 0).unwrap() < 1e-9);
        assert_eq!(cgroup_memory(&root, 60), Ok(0.5));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_load_of_processors_is_smoothed() {
        let mut processors = Processors::default();
        assert_eq!(processors.look("cpu  10 0 10 80 5 5\n"), Ok(0.0));
        assert_eq!(processors.look("cpu  60 0 60 80 5 5\n"), Ok(0.05));
        assert!(processors.look("intr 1\n").is_err());
    }
}
