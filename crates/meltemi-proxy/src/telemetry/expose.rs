//! The statistics as text: Envoy's `/stats`, and Prometheus' exposition format.

use super::stats::{BUCKETS, SEPARATOR, Sample, snapshot};
use std::fmt::Write;

/// Envoy's `name: value` lines; `filter` keeps names that it matches.
pub fn stats_text(filter: Option<&meltemi_re2::Regex>) -> String {
    let mut out = String::new();
    for (name, sample) in plain(filter) {
        let _ = match sample {
            Sample::Counter(value) | Sample::Gauge(value) => writeln!(out, "{name}: {value}"),
            Sample::Histogram(buckets, sum) => {
                let count: u64 = buckets.iter().sum();
                writeln!(out, "{name}: count={count} sum={sum}")
            }
        };
    }
    out
}

/// Envoy's `/stats?format=json`: `{"stats":[{"name":..,"value":..}]}`.
pub fn stats_json(filter: Option<&meltemi_re2::Regex>) -> serde_json::Value {
    let stats: Vec<_> = plain(filter)
        .filter_map(|(name, sample)| match sample {
            Sample::Counter(value) | Sample::Gauge(value) => {
                Some(serde_json::json!({"name": name, "value": value}))
            }
            Sample::Histogram(..) => None,
        })
        .collect();
    serde_json::json!({ "stats": stats })
}

fn plain(filter: Option<&meltemi_re2::Regex>) -> impl Iterator<Item = (String, Sample)> {
    let filter = filter.cloned();
    snapshot()
        .into_iter()
        .map(|(name, sample)| (name.replace(SEPARATOR, "."), sample))
        .filter(move |(name, _)| filter.as_ref().is_none_or(|filter| filter.is_match(name)))
}

/// All statistics in Prometheus' text format 0.0.4. Names of Envoy's gain the prefix
/// `envoy_`, and a cluster's, listener's or manager's name becomes a label.
pub fn prometheus() -> String {
    let mut families: Vec<(String, String, Sample)> = snapshot()
        .into_iter()
        .map(|(name, sample)| {
            let (family, labels) = family(&name);
            (family, labels, sample)
        })
        .collect();
    families.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut out = String::new();
    let mut last = "";
    for (family, labels, sample) in &families {
        if family != last {
            let kind = match sample {
                Sample::Counter(_) => "counter",
                Sample::Gauge(_) => "gauge",
                Sample::Histogram(..) => "histogram",
            };
            let _ = writeln!(out, "# TYPE {family} {kind}");
            last = family;
        }
        write_sample(&mut out, family, labels, sample);
    }
    out
}

fn write_sample(out: &mut String, family: &str, labels: &str, sample: &Sample) {
    let braces = |extra: &str| match (labels.is_empty(), extra.is_empty()) {
        (true, true) => String::new(),
        (false, false) => format!("{{{labels},{extra}}}"),
        _ => format!("{{{labels}{extra}}}"),
    };
    match sample {
        Sample::Counter(value) | Sample::Gauge(value) => {
            let _ = writeln!(out, "{family}{} {value}", braces(""));
        }
        Sample::Histogram(buckets, sum) => {
            let mut cumulative = 0;
            for (i, count) in buckets.iter().enumerate() {
                cumulative += count;
                let bound = match BUCKETS.get(i) {
                    Some(bound) => format!("le=\"{bound}\""),
                    None => "le=\"+Inf\"".to_owned(),
                };
                let _ = writeln!(out, "{family}_bucket{} {cumulative}", braces(&bound));
            }
            let _ = writeln!(out, "{family}_sum{} {sum}", braces(""));
            let _ = writeln!(out, "{family}_count{} {cumulative}", braces(""));
        }
    }
}

/// Family name and label text of a registered name.
fn family(name: &str) -> (String, String) {
    let scoped = name.contains(SEPARATOR);
    if let Some((family, labels)) = name.split_once('{').filter(|_| !scoped) {
        return (family.to_owned(), labels.trim_end_matches('}').to_owned());
    }
    let mut parts = name.split(SEPARATOR);
    let (Some(scope), Some(middle), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return (format!("envoy_{}", clean(name)), String::new());
    };
    let label = match scope {
        "cluster" => "cluster_name",
        "http" => "http_conn_manager_prefix",
        "listener" => "listener_address",
        "tcp" => "tcp_prefix",
        _ => "name",
    };
    // Istio's `alt_stat_name` marks the end of the name with a semicolon.
    let middle = middle.strip_suffix(';').unwrap_or(middle);
    let middle = middle
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    (
        format!("envoy_{}_{}", clean(scope), clean(rest)),
        format!("{label}=\"{middle}\""),
    )
}

fn clean(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::stats::{Counter, Histogram};
    use super::*;

    #[test]
    fn scopes_become_labels_and_dots() {
        Counter::scoped("cluster", "outbound|80||a.b", "upstream_rq_total").add(3);
        Counter::new("istio_requests_total{reporter=\"source\"}").inc();
        Histogram::new("istio_request_bytes{reporter=\"source\"}").record(7.0);
        let text = prometheus();
        for line in [
            "envoy_cluster_upstream_rq_total{cluster_name=\"outbound|80||a.b\"} 3",
            "# TYPE istio_requests_total counter",
            "istio_requests_total{reporter=\"source\"} 1",
            "istio_request_bytes_bucket{reporter=\"source\",le=\"5\"} 0",
            "istio_request_bytes_bucket{reporter=\"source\",le=\"10\"} 1",
            "istio_request_bytes_count{reporter=\"source\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(stats_text(None).contains("cluster.outbound|80||a.b.upstream_rq_total: 3\n"));
    }

    /// A strict reading of the text format: every line is a comment of a family that was not
    /// named before, or a sample of the family named last.
    fn check(text: &str) {
        let name = meltemi_re2::partial("^[a-zA-Z_:][a-zA-Z0-9_:]*").unwrap();
        let label =
            meltemi_re2::partial(r#"^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)",?"#)
                .unwrap();
        let mut families = std::collections::HashSet::new();
        let mut samples = std::collections::HashSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (named, kind) = rest.split_once(' ').unwrap();
                assert!(families.insert(named.to_owned()), "{named} comes twice");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                family = named.to_owned();
                continue;
            }
            let sample = name.find(line).unwrap_or_else(|| panic!("{line}")).as_str();
            let part = sample
                .strip_prefix(&*family)
                .unwrap_or_else(|| panic!("{line}"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&part), "{line}");
            let mut rest = &line[sample.len()..];
            if let Some(inner) = rest.strip_prefix('{') {
                rest = inner;
                while !rest.starts_with('}') {
                    let found = label.find(rest).unwrap_or_else(|| panic!("{line}"));
                    rest = &rest[found.end()..];
                }
                rest = &rest[1..];
            }
            let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let key = line[..line.len() - value.len()].to_owned();
            assert!(samples.insert(key), "{line} comes twice");
        }
    }

    #[test]
    fn the_text_format_is_valid_whatever_names_are() {
        Counter::scoped("cluster", "a\"b\\c\nd{}", "upstream_rq_total").inc();
        Counter::scoped("cluster", "outbound|80||x;", "ssl.handshake").inc();
        Counter::scoped("http", "0.0.0.0_80", "downstream_rq_2xx").inc();
        Histogram::scoped("http", "0.0.0.0_80", "downstream_rq_time").record(3.0);
        Counter::new("istio_requests_total{reporter=\"source\",response_code=\"200\"}").inc();
        check(&prometheus());
    }
}
