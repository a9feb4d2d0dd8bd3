//! Response flags: why an exchange ended as it did, in Envoy's short names.

/// A set of flags of one exchange or connection; their bits are Envoy's (`response.flags`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

macro_rules! flags {
    ($($name:ident = $bit:literal, $short:literal, $long:literal;)*) => {
        impl Flags {
            $(#[doc = $long] pub const $name: Flags = Flags(1 << $bit);)*
        }

        /// Every flag: (flag, short name, long name), in the order in which they come up
        /// on a request's way, as Envoy lists them: faults, retries, how it ended.
        pub const ALL_FLAGS: &[(Flags, &str, &str)] = &[$((Flags::$name, $short, $long),)*];
    };
}

flags! {
    NO_ROUTE_FOUND = 8, "NR", "NoRouteFound";
    NO_CLUSTER_FOUND = 24, "NC", "NoClusterFound";
    DELAY_INJECTED = 9, "DI", "DelayInjected";
    FAULT_INJECTED = 10, "FI", "FaultInjected";
    RATE_LIMITED = 11, "RL", "RateLimited";
    UNAUTHORIZED_EXTERNAL_SERVICE = 12, "UAEX", "UnauthorizedExternalService";
    UPSTREAM_RETRY_LIMIT_EXCEEDED = 15, "URX", "UpstreamRetryLimitExceeded";
    UPSTREAM_OVERFLOW = 7, "UO", "UpstreamOverflow";
    FAILED_LOCAL_HEALTH_CHECK = 0, "LH", "FailedLocalHealthCheck";
    NO_HEALTHY_UPSTREAM = 1, "UH", "NoHealthyUpstream";
    UPSTREAM_REQUEST_TIMEOUT = 2, "UT", "UpstreamRequestTimeout";
    LOCAL_RESET = 3, "LR", "LocalReset";
    UPSTREAM_REMOTE_RESET = 4, "UR", "UpstreamRemoteReset";
    UPSTREAM_CONNECTION_FAILURE = 5, "UF", "UpstreamConnectionFailure";
    UPSTREAM_CONNECTION_TERMINATION = 6, "UC", "UpstreamConnectionTermination";
    UPSTREAM_PROTOCOL_ERROR = 23, "UPE", "UpstreamProtocolError";
    UPSTREAM_MAX_STREAM_DURATION_REACHED = 19, "UMSDR", "UpstreamMaxStreamDurationReached";
    STREAM_IDLE_TIMEOUT = 16, "SI", "StreamIdleTimeout";
    DURATION_TIMEOUT = 22, "DT", "DurationTimeout";
    DOWNSTREAM_PROTOCOL_ERROR = 18, "DPE", "DownstreamProtocolError";
    OVERLOAD_MANAGER = 25, "OM", "OverloadManagerTerminated";
    DNS_RESOLUTION_FAILED = 26, "DF", "DnsResolutionFailed";
    DOWNSTREAM_CONNECTION_TERMINATION = 14, "DC", "DownstreamConnectionTermination";
}

impl Flags {
    pub fn insert(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Short names joined by commas, `-` when there are none (`%RESPONSE_FLAGS%`).
    pub fn write_short(self, out: &mut String) {
        self.write(out, |flag| flag.1)
    }

    /// Long names, as `%RESPONSE_FLAGS_LONG%`.
    pub fn write_long(self, out: &mut String) {
        self.write(out, |flag| flag.2)
    }

    fn write(
        self,
        out: &mut String,
        name: fn(&(Flags, &'static str, &'static str)) -> &'static str,
    ) {
        let start = out.len();
        for flag in ALL_FLAGS.iter().filter(|flag| self.contains(flag.0)) {
            if out.len() > start {
                out.push(',');
            }
            out.push_str(name(flag));
        }
        if out.len() == start {
            out.push('-');
        }
    }
}
