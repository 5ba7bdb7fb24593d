//! Decodes png with 8 or 16 bits per sample.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits};

use super::expected::ExpectedPicture;

/// Memory limit for rows and auxiliary chunks.
const LIMITS: Limits = Limits { bytes: 64 << 20 };

pub(super) fn decode(
    bytes: &[u8],
    expected: ExpectedPicture,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let damaged = |e: png::DecodingError| format!("its png is damaged or truncated ({e})");
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), LIMITS);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let info = reader.info();
    if info.color_type == ColorType::Indexed {
        return Err("its png has a palette, expected grey levels or RGB colours".to_owned());
    }
    let (samples, bits) = (info.color_type.samples(), info.bit_depth as usize);
    expected.check(info.width.into(), info.height.into(), samples, bits)?;
    out.resize(expected.bytes(), 0);
    reader.next_frame(out).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    if bits == 16 {
        let (values, _) = out.as_chunks_mut::<2>();
        for value in values {
            value.swap(0, 1);
        }
    }
    Ok(())
}
