//! Published mistakes of meshes and their proxies, and the tests that hold us to not making
//! them.

pub struct Advisory {
    pub ids: &'static str,
    pub what: &'static str,
    /// Tests: `GROUP` of this suite, or the file that holds the function and its name.
    pub tests: &'static [Test],
}

pub enum Test {
    /// All cases of a group of this suite.
    Group(&'static str),
    /// A case of this suite.
    Case(&'static str, &'static str),
    /// A test elsewhere: the file below `crates`, the function or the case.
    Elsewhere(&'static str, &'static str),
}
use Test::{Case, Elsewhere, Group};

const ADVISORIES: &[Advisory] = &[
    Advisory {
        ids: "CVE-2021-31920, CVE-2021-29492",
        what: "a path in another spelling passes a policy",
        tests: &[
            Group("paths"),
            Elsewhere(
                "meltemi-proxy/src/http/path.rs",
                "every_spelling_of_a_path_becomes_one",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2021-39156",
        what: "a fragment passes a policy",
        tests: &[
            Case("paths", "a fragment"),
            Case("downgrade", "a fragment in the path"),
        ],
    },
    Advisory {
        ids: "CVE-2021-39155",
        what: "a host in upper case, with a port or a dot passes a policy",
        tests: &[
            Elsewhere("meltemi/tests/differential/captured/routes.rs", "of_host"),
            Elsewhere(
                "meltemi-proxy/src/http/filters/rbac/tests.rs",
                "policies_deny_with_the_name_of_the_policy",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2026-73553, CVE-2026-73511",
        what: "parameters of a path's segment: policy and route disagree",
        tests: &[
            Case("paths", "parameters of a segment"),
            Case("paths", "parameters after the name"),
        ],
    },
    Advisory {
        ids: "CVE-2026-26308, CVE-2026-73552",
        what: "several values of a header, or values that are no UTF-8, pass a policy",
        tests: &[Elsewhere(
            "meltemi-proxy/src/http/filters/rbac/tests.rs",
            "policies_deny_with_the_name_of_the_policy",
        )],
    },
    Advisory {
        ids: "CVE-2023-27487, CVE-2024-45806",
        what: "headers of the proxy's own are forged by clients",
        tests: &[
            Case("heads", "a forged x-envoy-original-path"),
            Case("heads", "a forged x-envoy-internal"),
            Elsewhere(
                "meltemi-proxy/src/http/tests/headers.rs",
                "an_edge_trusts_nothing_from_outside",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2023-44487, GHSA-8r5v-vm4m-4g25",
        what: "streams that are opened and reset",
        tests: &[
            Case("floods", "requests that are reset"),
            Case("floods", "requests refused by their own error"),
            Elsewhere(
                "meltemi-proxy/src/http/tests/attacks.rs",
                "rapid_resets_end_the_connection_and_nobody_elses",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2024-30255, RUSTSEC-2024-0332",
        what: "heads that go on in CONTINUATION frames",
        tests: &[
            Case("floods", "heads that go on"),
            Case("floods", "empty continuations"),
            Elsewhere(
                "meltemi-proxy/src/http/tests/attacks.rs",
                "continuations_without_end_are_cut",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2021-32714, CVE-2021-32715, CVE-2026-2833, CVE-2026-2835, CVE-2026-73548",
        what: "a request hidden in another: lengths, encodings, HTTP/1.0, bytes behind an upgrade",
        tests: &[
            Group("framing"),
            Group("downgrade"),
            Elsewhere(
                "meltemi-proxy/src/http/tests/framing.rs",
                "smuggling_corpus_never_reaches_the_upstream",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2022-29225, GHSA-42mr-jpwh-m9rv",
        what: "memory without a bound",
        tests: &[
            Case("floods", "a head that a table makes large"),
            Elsewhere("meltemi/tests/security/memory.rs", "stalled_peers"),
            Elsewhere(
                "meltemi-proxy/src/http/tests/attacks.rs",
                "a_client_that_stops_reading_holds_the_upstream_back",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2026-105299",
        what: "headers that Connection nominates are forwarded",
        tests: &[
            Case("heads", "what Connection nominates"),
            Elsewhere(
                "meltemi-proxy/src/http/tests/framing.rs",
                "what_connection_nominates_is_not_forwarded",
            ),
        ],
    },
    Advisory {
        ids: "CVE-2021-31921",
        what: "a gateway with AUTO_PASSTHROUGH leads strangers to services without a sidecar",
        tests: &[Elsewhere(
            "meltemi/tests/e2e/mtls/passed_on.rs",
            "a_gateway_passes_mutual_tls_on_by_its_sni",
        )],
    },
    Advisory {
        ids: "CVE-2022-23635",
        what: "a control plane ends on bytes of somebody unknown",
        tests: &[Elsewhere(
            "meltemi-identity/src/csr/tests.rs",
            "unknown_and_malformed_credentials_are_refused_with_the_reason",
        )],
    },
    Advisory {
        ids: "CVE-2026-73546",
        what: "a name with markup in it runs in the browser of who looks at statistics",
        tests: &[Elsewhere(
            "meltemi-proxy/src/admin/reply.rs",
            "no_browser_takes_an_answer_for_a_page",
        )],
    },
];

/// Every named test exists.
pub fn check(groups: &[super::cases::Group], report: &mut crate::common::runner::Report) {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let exists = |test: &Test| match test {
        Group(group) => groups.iter().any(|known| known.name == *group),
        Case(group, case) => groups
            .iter()
            .filter(|known| known.name == *group)
            .any(|known| known.cases.iter().any(|known| known.name == *case)),
        Elsewhere(file, name) => std::fs::read_to_string(crates.join(file))
            .is_ok_and(|text| text.contains(&format!("fn {name}("))),
    };
    for test in ADVISORIES.iter().flat_map(|advisory| advisory.tests) {
        if !exists(test) {
            report.fail(&format!("advisories: {}", named(test)));
        }
    }
}

pub fn table() -> String {
    let mut out = "\n## Advisories\n\nMistakes of others that became advisories, and what holds us to not making them.\n\n\
        | advisory | what | tests |\n| --- | --- | --- |\n"
        .to_owned();
    for advisory in ADVISORIES {
        let tests: Vec<String> = advisory.tests.iter().map(named).collect();
        out += &format!(
            "| {} | {} | {} |\n",
            advisory.ids,
            advisory.what,
            tests.join(", ")
        );
    }
    out
}

fn named(test: &Test) -> String {
    match test {
        Group(group) => format!("all of `{group}`"),
        Case(group, case) => format!("`{group}`: {case}"),
        Elsewhere(file, name) => format!("`{name}` in `{file}`"),
    }
}
