//! The application's metrics beside the proxy's own, in one valid exposition.
//!
//! Prometheus' text format wants each family once, its samples together. An application may
//! well expose families that the proxy has too, when it is a proxy itself.

use std::collections::{HashMap, HashSet};

/// One family: its comments, then its samples.
#[derive(Default)]
struct Family<'a> {
    comments: Vec<&'a str>,
    samples: Vec<&'a str>,
}

/// Appends an application's exposition to the proxy's. Of a family that both have, the
/// proxy's description counts, and its value where both have a series.
pub(super) fn append(own: &str, application: &str) -> String {
    let (order, mut families) = parse(own);
    let (more, others) = parse(application);
    let mut fresh = Vec::new();
    for name in more {
        let Some(other) = others.get(name) else {
            continue;
        };
        match families.get_mut(name) {
            Some(known) => {
                let series: HashSet<&str> = known.samples.iter().map(|s| series(s)).collect();
                let new = other.samples.iter();
                let new: Vec<&str> = new
                    .filter(|s| !series.contains(self::series(s)))
                    .copied()
                    .collect();
                known.samples.extend(new);
            }
            None => fresh.push(other),
        }
    }
    let mut out = String::with_capacity(own.len() + application.len());
    let known = order.iter().filter_map(|name| families.get(name));
    for family in known.chain(fresh) {
        for line in family.comments.iter().chain(&family.samples) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn parse(text: &str) -> (Vec<&str>, HashMap<&str, Family<'_>>) {
    let mut order = Vec::new();
    let mut families: HashMap<&str, Family<'_>> = HashMap::new();
    let mut current = "";
    for line in text.lines().map(str::trim_end) {
        let comment = line.strip_prefix('#').map(str::trim_start);
        let name = match comment.map(|comment| comment.split_once(' ')) {
            Some(Some(("TYPE" | "HELP" | "UNIT", rest))) => {
                rest.split(' ').next().unwrap_or_default()
            }
            // Remarks, and OpenMetrics' `# EOF`, which would end everything.
            Some(_) => continue,
            None if line.is_empty() => continue,
            None => family_of(line, current),
        };
        current = name;
        let family = families.entry(name).or_insert_with(|| {
            order.push(name);
            Family::default()
        });
        match comment {
            Some(_) => family.comments.push(line),
            None => family.samples.push(line),
        }
    }
    (order, families)
}

/// The family of a sample: the one named last, when the name is its or one of its parts.
fn family_of<'a>(sample: &'a str, current: &'a str) -> &'a str {
    let end = sample.find(['{', ' ', '\t']).unwrap_or(sample.len());
    let name = &sample[..end];
    let parts = [
        "", "_bucket", "_sum", "_count", "_total", "_created", "_info",
    ];
    match name.strip_prefix(current) {
        Some(part) if parts.contains(&part) => current,
        _ => name,
    }
}

/// Name and labels of a sample.
fn series(sample: &str) -> &str {
    let end = match sample.rfind('}') {
        Some(end) => end + 1,
        None => sample.find([' ', '\t']).unwrap_or(sample.len()),
    };
    &sample[..end]
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn equal_families_are_one() {
        let own = "# TYPE up gauge\nup{of=\"proxy\"} 1\n# TYPE rq_time histogram\n\
                   rq_time_bucket{le=\"+Inf\"} 2\nrq_time_sum 3\nrq_time_count 2\n";
        let application = "# HELP up is it\n# TYPE up gauge\nup{of=\"proxy\"} 7\nup{of=\"app\"} 1\n\
                           # a remark\nplain 5\n# HELP rq_time how long\n# TYPE rq_time histogram\n\
                           rq_time_sum{of=\"app\"} 9\n# EOF\n";
        assert_eq!(
            append(own, application),
            "# TYPE up gauge\nup{of=\"proxy\"} 1\nup{of=\"app\"} 1\n# TYPE rq_time histogram\n\
             rq_time_bucket{le=\"+Inf\"} 2\nrq_time_sum 3\nrq_time_count 2\nrq_time_sum{of=\"app\"} 9\n\
             plain 5\n"
        );
    }

    #[test]
    fn what_is_the_applications_alone_stays_as_it_is() {
        let application = "# HELP a b\n# TYPE a counter\na_total{x=\"} # y\"} 1 1700000000\n";
        assert_eq!(append("", application), application);
        assert_eq!(append("own 1\n", ""), "own 1\n");
    }
}
