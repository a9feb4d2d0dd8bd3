//! A runner for suites whose tests share an environment that is dear to make: one line a
//! test, a bound on each, and the closing line that cargo's own harness prints.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A test of an environment `C`: what must hold, as a sentence; panics to fail.
pub struct Test<C> {
    pub name: &'static str,
    pub run: fn(&C),
}

impl<C> Clone for Test<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Test<C> {}

/// A list of tests whose names are those of their functions.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$($crate::common::runner::Test {
            name: stringify!($name),
            run: $name,
        }),*]
    };
}

/// What the command line asks for.
pub struct Arguments {
    pub words: Vec<String>,
    pub list: bool,
}

impl Arguments {
    /// cargo's own options (`--nocapture`, `--test-threads=1`) have no effect.
    pub fn of_process() -> Self {
        let arguments = || std::env::args().skip(1);
        Self {
            words: arguments().filter(|a| !a.starts_with('-')).collect(),
            list: arguments().any(|a| a == "--list"),
        }
    }

    /// Whether a test is wanted: every word is part of `group` or of its name.
    pub fn wants(&self, group: &str, name: &str) -> bool {
        let part = |word: &String| group.contains(word.as_str()) || name.contains(word.as_str());
        self.words.iter().all(part)
    }
}

/// What was run so far.
pub struct Report {
    begun: Instant,
    passed: usize,
    failed: Vec<String>,
    /// Failures that a suite in a process of its own has named.
    failed_elsewhere: usize,
    skipped: usize,
}

impl Report {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            passed: 0,
            failed: Vec::new(),
            failed_elsewhere: 0,
            skipped: 0,
        }
    }

    pub fn skip(&mut self, what: &str, reason: &str) {
        println!("skipped: {what}: {reason}");
        self.skipped += 1;
    }

    /// Counts a success that was found outside of [`Report::run`].
    pub fn pass(&mut self, what: &str, begun: Instant) {
        println!(
            "test {what} ... ok ({:.1} s)",
            begun.elapsed().as_secs_f64()
        );
        self.passed += 1;
    }

    /// Counts a failure that happened outside of a test (`setting up`).
    pub fn fail(&mut self, what: &str) {
        println!("test {what} ... FAILED");
        self.failed.push(what.to_owned());
    }

    /// Adds the counts of a suite that ran in a process of its own, from its closing line.
    pub fn absorb(&mut self, group: &str, line: Option<&str>, success: bool) {
        let count = |what: &str| {
            let words: Vec<&str> = line.unwrap_or_default().split([' ', ';']).collect();
            let at = words.iter().position(|word| *word == what)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        self.passed += count("passed").unwrap_or(0);
        self.skipped += count("ignored").unwrap_or(0);
        self.failed_elsewhere += count("failed").unwrap_or(0);
        if !success && line.is_none() {
            self.fail(&format!("{group}: the process of the tests"));
        }
    }

    /// Runs one test on a thread of its own. `explain` is called after a failure.
    /// False: it did not come back within `limit`, and the environment is not to be trusted.
    pub fn run<C: Send + Sync + 'static>(
        &mut self,
        group: &str,
        test: Test<C>,
        environment: &Arc<C>,
        limit: Duration,
        explain: fn(&C),
    ) -> bool {
        let full = format!("{group}::{}", test.name);
        let (sender, receiver) = channel();
        let begun = Instant::now();
        let shared = environment.clone();
        std::thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| (test.run)(&shared)));
            // Whoever waits for the result may be the environment's last holder then.
            drop(shared);
            // The receiver is gone only after the limit.
            let _ = sender.send(result.is_ok());
        });
        let outcome = receiver.recv_timeout(limit);
        match outcome {
            Ok(true) => {
                self.pass(&full, begun);
            }
            Ok(false) => {
                self.fail(&full);
                explain(environment);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                println!("{full} is stuck: its limit is {} s", limit.as_secs());
                self.fail(&full);
                explain(environment);
                return false;
            }
        }
        true
    }

    /// Prints the closing line; the exit code.
    pub fn finish(self) -> i32 {
        for name in &self.failed {
            println!("failed: {name}");
        }
        let failed = self.failed.len() + self.failed_elsewhere;
        println!(
            "test result: {}. {} passed; {failed} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            if failed == 0 { "ok" } else { "FAILED" },
            self.passed,
            self.skipped,
            self.begun.elapsed().as_secs_f64()
        );
        i32::from(failed > 0) * 101
    }
}

/// A suite of one test, `group::name`, that needs something of the machine: without it the test is
/// skipped. A failure says why. Does not return.
pub fn only<T>(
    name: &str,
    find: impl FnOnce() -> Result<T, String>,
    run: impl FnOnce(T) -> Result<(), String>,
) -> ! {
    let arguments = Arguments::of_process();
    let mut report = Report::new();
    if arguments.list {
        println!("{name}: test");
        std::process::exit(0);
    }
    if arguments.wants("", name) {
        match find() {
            Err(reason) => report.skip(name, &reason),
            Ok(found) => {
                let begun = Instant::now();
                match run(found) {
                    Ok(()) => report.pass(name, begun),
                    Err(said) => {
                        println!("{said}");
                        report.fail(name);
                    }
                }
            }
        }
    }
    std::process::exit(report.finish())
}
