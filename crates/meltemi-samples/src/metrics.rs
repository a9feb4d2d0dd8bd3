//! productpage's own metrics: results of its calls, as the original exports them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

/// Calls by service and status. Bounded: three services, statuses that HTTP knows.
#[derive(Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<(&'static str, u16), u64>>);

impl Metrics {
    pub(crate) fn count(&self, service: &'static str, status: u16) {
        *self
            .0
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .entry((service, status))
            .or_default() += 1;
    }

    /// Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut out = String::from(
            "# HELP request_result_total Results of requests\n# TYPE request_result_total counter\n",
        );
        for ((service, status), count) in self.0.lock().unwrap_or_else(|e| e.into_inner()).iter() {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "request_result_total{{destination_app=\"{service}\",response_code=\"{status}\"}} {count}"
            );
        }
        out
    }
}
