//! Brotli (RFC 7932).

use super::{Malformed, Step, Until};
use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct,
};
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};

pub struct Encoder(BrotliEncoderStateStruct<StandardAlloc>);

impl Encoder {
    /// `quality` from 0 to 11, `window_bits` from 10 to 24.
    pub fn new(quality: u32, window_bits: u32) -> Self {
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, quality);
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_bits);
        Self(state)
    }

    pub fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        until: Until,
    ) -> Result<Step, Malformed> {
        let operation = match until {
            Until::Flushed => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
            Until::Ended => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
        };
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written) = (output.len(), 0);
        let encoded = self.0.compress_stream(
            operation,
            &mut left,
            input,
            &mut read,
            &mut room,
            output,
            &mut written,
            &mut None,
            &mut |_, _, _, _| {},
        );
        if !encoded {
            return Err(Malformed);
        }
        let done = match until {
            Until::Flushed => left == 0 && !self.0.has_more_output(),
            Until::Ended => self.0.is_finished(),
        };
        Ok(Step {
            read,
            written,
            done,
        })
    }
}

pub struct Decoder(BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>);

impl Decoder {
    pub fn new() -> Self {
        let alloc = StandardAlloc::default;
        Self(BrotliState::new(alloc(), alloc(), alloc()))
    }

    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            &mut self.0,
        );
        let (read, done) = match result {
            BrotliResult::ResultSuccess => (input.len(), true),
            // It asks for input also when there was no room for output.
            BrotliResult::NeedsMoreInput => (read, written < output.len()),
            BrotliResult::NeedsMoreOutput => (read, false),
            BrotliResult::ResultFailure => return Err(Malformed),
        };
        Ok(Step {
            read,
            written,
            done,
        })
    }
}
