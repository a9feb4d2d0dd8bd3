//! SETTINGS (RFC 9113 6.5).

use super::frame::{self, Head, kind};
use super::reason::Broken;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441 3.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// The initial window of streams and connections (RFC 9113 6.9.2).
pub(super) const DEFAULT_WINDOW: u32 = 65_535;
pub(super) const MAX_WINDOW: u32 = 0x7fff_ffff;

/// What we tell the peer.
#[derive(Clone, Debug)]
pub struct Own {
    /// Streams that the peer may open; a server's.
    pub max_streams: Option<u32>,
    /// Bytes of a stream's and of the connection's receive window.
    pub stream_window: u32,
    pub connection_window: u32,
    /// Bytes of a header list, as HPACK counts them.
    pub max_header_list: u32,
    /// Clients may use extended CONNECT; a server's.
    pub extended_connect: bool,
}

impl Own {
    /// Writes the frame, and the connection's window where it is more than the default.
    pub fn write(&self, out: &mut Vec<u8>) {
        let push = match self.max_streams {
            Some(streams) => (MAX_CONCURRENT_STREAMS, streams),
            None => (ENABLE_PUSH, 0),
        };
        let settings = [
            push,
            (INITIAL_WINDOW_SIZE, self.stream_window),
            (MAX_HEADER_LIST_SIZE, self.max_header_list),
            (ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let settings = &settings[..settings.len() - usize::from(!self.extended_connect)];
        let head = Head {
            length: settings.len() * 6,
            kind: kind::SETTINGS,
            flags: 0,
            stream: 0,
        };
        head.write(out);
        for &(setting, value) in settings {
            out.extend_from_slice(&setting.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
        if let Some(more) = self.connection_window.checked_sub(DEFAULT_WINDOW + 1) {
            frame::window_update(0, more + 1, out);
        }
    }
}

/// What the peer tells us, as far as it concerns us.
#[derive(Debug)]
pub(super) struct Peer {
    pub header_table: usize,
    /// `None` until the peer limits it.
    pub max_streams: Option<u32>,
    pub initial_window: u32,
    /// It takes extended CONNECT.
    pub extended_connect: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            header_table: 4096,
            max_streams: None,
            initial_window: DEFAULT_WINDOW,
            extended_connect: false,
        }
    }
}

impl Peer {
    /// Takes a payload in. `from_server`: only clients may ask for pushes.
    pub fn apply(&mut self, payload: &[u8], from_server: bool) -> Result<(), Broken> {
        let (settings, []) = payload.as_chunks::<6>() else {
            return Err(Broken::size("a SETTINGS frame of a wrong length"));
        };
        for &[i0, i1, v0, v1, v2, v3] in settings {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                HEADER_TABLE_SIZE => self.header_table = value as usize,
                ENABLE_PUSH if value > u32::from(!from_server) => {
                    return Err(Broken::protocol("a wrong SETTINGS_ENABLE_PUSH"));
                }
                MAX_CONCURRENT_STREAMS => self.max_streams = Some(value),
                INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                    return Err(Broken::flow("a wrong SETTINGS_INITIAL_WINDOW_SIZE"));
                }
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE if !(frame::MAX_PAYLOAD as u32..1 << 24).contains(&value) => {
                    return Err(Broken::protocol("a wrong SETTINGS_MAX_FRAME_SIZE"));
                }
                ENABLE_CONNECT_PROTOCOL if value > 1 || self.extended_connect && value == 0 => {
                    return Err(Broken::protocol("a wrong SETTINGS_ENABLE_CONNECT_PROTOCOL"));
                }
                ENABLE_CONNECT_PROTOCOL => self.extended_connect = value == 1,
                // Ours are never longer than every peer takes; unknown settings are ignored
                // (RFC 9113 6.5.2).
                _ => {}
            }
        }
        Ok(())
    }
}
