//! A bound on what becomes of a body that is decoded: bombs are small.

use super::{Coder, Malformed, Step, Until};

/// How many times as long as its input a decoded body may become (Envoy: 100).
pub const RATIO: u32 = 100;

pub(crate) struct Bounded {
    coder: Coder,
    ratio: u64,
    /// Bytes since the beginning.
    read: u64,
    written: u64,
}

impl Bounded {
    pub fn new(coder: Coder, ratio: u32) -> Self {
        Self {
            coder,
            ratio: ratio.into(),
            read: 0,
            written: 0,
        }
    }

    pub fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        until: Until,
    ) -> Result<Step, Malformed> {
        let step = self.coder.step(input, output, until)?;
        // What is there of the input counts: a library takes it in pieces of its own.
        let given = self.read + input.len() as u64;
        self.read += step.read as u64;
        self.written += step.written as u64;
        match self.written > given.saturating_mul(self.ratio) {
            true => Err(Malformed),
            false => Ok(step),
        }
    }
}
