//! Compression libraries as Envoy's filters name them. What only tunes a library's memory is not
//! honoured, and changes no byte that a reader sees decoded.

use super::bounded::{Bounded, RATIO};
use super::{Coder, brotli, zstd_raw};
use crate::compile::basic::u32_or;
use crate::compile::pb::core::TypedExtensionConfig;
use crate::compile::{At, Error, Result, any, harmless, refuse};
use envoy_types::pb::envoy::extensions::compression as proto;
use prost::Name;

/// How bodies are encoded.
#[derive(Clone, Copy, Debug)]
pub enum Encoding {
    /// Level from 1 to 9; the window's size as a power of two, from 9 to 15.
    Gzip { level: u32, window_bits: u8 },
    /// Quality from 0 to 11; the window from 10 to 24.
    Brotli { quality: u32, window_bits: u32 },
    /// Level from 1 to 22.
    Zstd { level: i32 },
}

/// How bodies are decoded.
#[derive(Clone, Copy, Debug)]
pub struct Decoding {
    kind: Kind,
    /// How many times as long as its input a body may become.
    ratio: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Gzip,
    Brotli,
    Zstd,
}

impl Encoding {
    pub fn compile(value: TypedExtensionConfig) -> Result<Self> {
        let TypedExtensionConfig {
            name: _,
            typed_config,
        } = value;
        let typed = any::open(typed_config).at("typed_config")?;
        let kind = typed.type_name().to_owned();
        if kind == proto::gzip::compressor::v3::Gzip::full_name() {
            gzip(typed.decode()?).at("typed_config")
        } else if kind == proto::brotli::compressor::v3::Brotli::full_name() {
            brotli(typed.decode()?).at("typed_config")
        } else if kind == proto::zstd::compressor::v3::Zstd::full_name() {
            zstd(typed.decode()?).at("typed_config")
        } else {
            Err(Error::new(format!("{kind} is not supported")).at_field("typed_config"))
        }
    }

    /// As in `content-encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip { .. } => "gzip",
            Self::Brotli { .. } => "br",
            Self::Zstd { .. } => "zstd",
        }
    }

    pub(crate) fn start(self) -> Coder {
        match self {
            Self::Gzip { level, window_bits } => {
                let level = flate2::Compression::new(level);
                Coder::GzipEncode(Box::new(flate2::Compress::new_gzip(level, window_bits)))
            }
            Self::Brotli {
                quality,
                window_bits,
            } => Coder::BrotliEncode(Box::new(brotli::Encoder::new(quality, window_bits))),
            Self::Zstd { level } => Coder::ZstdEncode(zstd_raw::Encoder::new(level).map(Box::new)),
        }
    }
}

impl Decoding {
    pub fn compile(value: TypedExtensionConfig) -> Result<Self> {
        let TypedExtensionConfig {
            name: _,
            typed_config,
        } = value;
        let typed = any::open(typed_config).at("typed_config")?;
        let kind = typed.type_name().to_owned();
        if kind == proto::gzip::decompressor::v3::Gzip::full_name() {
            let proto::gzip::decompressor::v3::Gzip {
                window_bits,
                chunk_size,
                max_inflate_ratio,
            } = typed.decode()?;
            harmless!(window_bits, chunk_size);
            Ok(Self {
                kind: Kind::Gzip,
                ratio: within(
                    u32_or(max_inflate_ratio, RATIO),
                    1,
                    u32::MAX,
                    "typed_config.max_inflate_ratio",
                )?,
            })
        } else if kind == proto::brotli::decompressor::v3::Brotli::full_name() {
            let proto::brotli::decompressor::v3::Brotli {
                disable_ring_buffer_reallocation,
                chunk_size,
            } = typed.decode()?;
            harmless!(disable_ring_buffer_reallocation, chunk_size);
            Ok(Kind::Brotli.usual())
        } else if kind == proto::zstd::decompressor::v3::Zstd::full_name() {
            let proto::zstd::decompressor::v3::Zstd {
                dictionaries,
                chunk_size,
            } = typed.decode()?;
            refuse!(dictionaries);
            harmless!(chunk_size);
            Ok(Kind::Zstd.usual())
        } else {
            Err(Error::new(format!("{kind} is not supported")).at_field("typed_config"))
        }
    }

    /// As in `content-encoding`.
    pub fn name(self) -> &'static str {
        match self.kind {
            Kind::Gzip => "gzip",
            Kind::Brotli => "br",
            Kind::Zstd => "zstd",
        }
    }

    pub(crate) fn start(self) -> Coder {
        let coder = match self.kind {
            Kind::Gzip => Coder::GzipDecode(Box::new(flate2::Decompress::new_gzip(15))),
            Kind::Brotli => Coder::BrotliDecode(Box::new(brotli::Decoder::new())),
            Kind::Zstd => Coder::ZstdDecode(zstd_raw::Decoder::new().map(Box::new)),
        };
        Coder::Bounded(Box::new(Bounded::new(coder, self.ratio)))
    }
}

impl Kind {
    fn usual(self) -> Decoding {
        Decoding {
            kind: self,
            ratio: RATIO,
        }
    }
}

fn within(value: u32, least: u32, most: u32, field: &str) -> Result<u32> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(Error::new(format!("is not in {least}..={most}")).at_field(field)),
    }
}

fn gzip(value: proto::gzip::compressor::v3::Gzip) -> Result<Encoding> {
    let proto::gzip::compressor::v3::Gzip {
        memory_level,
        compression_level,
        compression_strategy,
        window_bits,
        chunk_size,
    } = value;
    harmless!(memory_level, compression_strategy, chunk_size);
    let window_bits = within(u32_or(window_bits, 12), 9, 15, "window_bits")?;
    Ok(Encoding::Gzip {
        level: match u32::try_from(compression_level) {
            // Envoy's default is zlib's.
            Ok(0) => 6,
            Ok(level @ 1..=9) => level,
            _ => return Err(Error::new("is no level").at_field("compression_level")),
        },
        window_bits: window_bits as u8,
    })
}

fn brotli(value: proto::brotli::compressor::v3::Brotli) -> Result<Encoding> {
    let proto::brotli::compressor::v3::Brotli {
        quality,
        encoder_mode,
        window_bits,
        input_block_bits,
        chunk_size,
        disable_literal_context_modeling,
    } = value;
    harmless!(
        encoder_mode,
        input_block_bits,
        chunk_size,
        disable_literal_context_modeling
    );
    Ok(Encoding::Brotli {
        quality: within(u32_or(quality, 3), 0, 11, "quality")?,
        window_bits: within(u32_or(window_bits, 18), 10, 24, "window_bits")?,
    })
}

fn zstd(value: proto::zstd::compressor::v3::Zstd) -> Result<Encoding> {
    let proto::zstd::compressor::v3::Zstd {
        compression_level,
        enable_checksum,
        strategy,
        dictionary,
        chunk_size,
    } = value;
    refuse!(dictionary, enable_checksum);
    harmless!(strategy, chunk_size);
    let level = within(u32_or(compression_level, 3), 1, 22, "compression_level")?;
    Ok(Encoding::Zstd {
        level: level as i32,
    })
}

#[cfg(test)]
impl Encoding {
    /// With Envoy's defaults.
    pub fn usual(name: &str) -> Self {
        match name {
            "gzip" => gzip(Default::default()),
            "br" => brotli(Default::default()),
            _ => zstd(Default::default()),
        }
        .unwrap()
    }
}

#[cfg(test)]
impl Decoding {
    pub fn usual(name: &str) -> Self {
        match name {
            "gzip" => Kind::Gzip,
            "br" => Kind::Brotli,
            _ => Kind::Zstd,
        }
        .usual()
    }
}
