//! The control plane's numbers in Prometheus' text format, under Istio's names where it has them.

use super::Context;
use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn text(context: &Context<'_>) -> String {
    let mut out = Text(String::new());
    configuration(&mut out, context);
    authority(&mut out, context);
    out.0
}

fn configuration(out: &mut Text, context: &Context<'_>) {
    let current = context.state.current();
    let connections = context.state.proxies.all();
    let rejections = connections.iter().map(|one| one.rejections().len());
    out.gauge("pilot_xds", "Proxies connected", connections.len());
    out.gauge(
        "pilot_total_xds_rejects",
        "Types refused by a proxy at present",
        rejections.sum::<usize>(),
    );
    out.gauge(
        "pilot_services",
        "Services known",
        current.world.registry.services().len(),
    );
    out.gauge(
        "pilot_virt_services",
        "VirtualServices in force",
        current.world.virtual_services.len(),
    );
    out.gauge(
        "meltemi_config_objects",
        "Objects in force",
        current.published.objects.len(),
    );
    out.gauge(
        "meltemi_config_errors",
        "Errors in the configuration",
        current.published.errors.len(),
    );
    out.gauge(
        "meltemi_config_generation",
        "Generation of the configuration in force",
        current.world.generation,
    );
}

fn authority(out: &mut Text, context: &Context<'_>) {
    let authority = &context.authority;
    if let Some(end) = authority.first_root_not_after() {
        out.gauge(
            "citadel_server_root_cert_expiry_timestamp",
            "When the first of the root certificates ends, in seconds since 1970",
            seconds(end),
        );
        out.gauge(
            "citadel_server_root_cert_expiry_seconds",
            "Seconds until then; negative afterwards",
            seconds(end) - seconds(SystemTime::now()),
        );
    }
    let end = authority.not_after();
    out.gauge(
        "citadel_server_cert_chain_expiry_timestamp",
        "When the certificate that signs ends, in seconds since 1970",
        seconds(end),
    );
    out.gauge(
        "citadel_server_cert_chain_expiry_seconds",
        "Seconds until then; negative afterwards",
        seconds(end) - seconds(SystemTime::now()),
    );
    let tally = authority.tally();
    for (name, help, count) in [
        ("csr_count", "Requests for certificates", &tally.requests),
        (
            "authentication_failure_count",
            "Requests of callers whom nobody knew",
            &tally.unauthenticated,
        ),
        (
            "csr_parsing_err_count",
            "Requests that could not be used",
            &tally.unusable,
        ),
        (
            "csr_sign_err_count",
            "Requests that the CA did not sign",
            &tally.not_signed,
        ),
        (
            "success_cert_issuance_count",
            "Certificates issued",
            &tally.issued,
        ),
    ] {
        let name = format!("citadel_server_{name}");
        out.metric(&name, help, "counter", count.get());
    }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() as i64
}

struct Text(String);

impl Text {
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.metric(name, help, "gauge", value);
    }

    fn metric(&mut self, name: &str, help: &str, kind: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
}
