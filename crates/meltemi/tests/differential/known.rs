//! Where we mean to differ from Envoy, value by value, with the reason. An entry that no
//! longer holds fails the suite as a difference that is not listed does.

pub struct Known {
    /// `group::case`.
    pub case: &'static str,
    pub aspect: &'static str,
    pub envoy: &'static str,
    pub meltemi: &'static str,
    #[allow(dead_code, reason = "for the reader")]
    pub reason: &'static str,
}

pub const KNOWN: &[Known] = &[];
