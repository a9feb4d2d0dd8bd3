//! Zstandard (RFC 8878).

use super::{Malformed, Step, Until};
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation, OutBuffer};

pub fn encode(
    coder: &mut Encoder<'_>,
    input: &[u8],
    output: &mut [u8],
    until: Until,
) -> Result<Step, Malformed> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    if !input.is_empty() {
        coder.run(&mut from, &mut to).map_err(|_| Malformed)?;
    }
    let mut left = 1;
    if from.pos == input.len() && to.pos() < to.capacity() {
        left = match until {
            Until::Flushed => coder.flush(&mut to),
            Until::Ended => coder.finish(&mut to, false),
        }
        .map_err(|_| Malformed)?;
    }
    Ok(Step {
        read: from.pos,
        written: to.pos(),
        done: left == 0,
    })
}

pub fn decode(coder: &mut Decoder<'_>, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
    let mut from = InBuffer::around(input);
    let mut to = OutBuffer::around(output);
    coder.run(&mut from, &mut to).map_err(|_| Malformed)?;
    Ok(Step {
        read: from.pos,
        written: to.pos(),
        // Room that is left means that there is nothing more.
        done: from.pos == input.len() && to.pos() < to.capacity(),
    })
}
