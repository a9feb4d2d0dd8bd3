//! gzip (RFC 1952).

use super::{Malformed, Step, Until};
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

pub fn encode(
    coder: &mut Compress,
    input: &[u8],
    output: &mut [u8],
    until: Until,
) -> Result<Step, Malformed> {
    let flush = match until {
        Until::Flushed => FlushCompress::Sync,
        Until::Ended => FlushCompress::Finish,
    };
    let (read, written) = (coder.total_in(), coder.total_out());
    let status = coder
        .compress(input, output, flush)
        .map_err(|_| Malformed)?;
    let read = (coder.total_in() - read) as usize;
    let written = (coder.total_out() - written) as usize;
    let done = match until {
        // Room that is left means that the flush is complete.
        Until::Flushed => read == input.len() && written < output.len(),
        Until::Ended => status == Status::StreamEnd,
    };
    Ok(Step {
        read,
        written,
        done,
    })
}

/// What follows the end of the stream is no part of it, and not looked at.
pub fn decode(coder: &mut Decompress, input: &[u8], output: &mut [u8]) -> Result<Step, Malformed> {
    let (read, written) = (coder.total_in(), coder.total_out());
    let status = coder
        .decompress(input, output, FlushDecompress::None)
        .map_err(|_| Malformed)?;
    let read = (coder.total_in() - read) as usize;
    let written = (coder.total_out() - written) as usize;
    let ended = status == Status::StreamEnd;
    Ok(Step {
        read: if ended { input.len() } else { read },
        written,
        done: ended || (read == input.len() && written < output.len()),
    })
}
