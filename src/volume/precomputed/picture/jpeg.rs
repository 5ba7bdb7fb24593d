//! Decodes jpeg with `zune-jpeg`. The components differ from libjpeg-turbo's by at most one grey level. Where subsampled
//! chroma ends inside a block, its last column and row are interpolated with the encoder's padding.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::expected::ExpectedPicture;

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// How the colours of a picture with several channels are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum JpegColours {
    /// Converted to red, green and blue.
    Rgb,
    /// As they are stored.
    Stored,
}

/// Whether the first scan of a jpeg that is not progressive has fewer components than the picture (ITU-T T.81, B.2).
fn has_separate_scans(bytes: &[u8]) -> bool {
    const BASELINE: [u8; 2] = [0xc0, 0xc1];
    const SCAN: u8 = 0xda;
    let mut rest = bytes.get(2..).unwrap_or_default();
    let mut of_picture = 0;
    // Each segment begins with its marker and its length. Any number of bytes 0xff may be before a marker.
    while let Some((0xff, after)) = rest.split_first() {
        let Some((marker, segment)) = after.split_first() else {
            return false;
        };
        if *marker == 0xff {
            rest = after;
            continue;
        }
        if *marker == SCAN {
            return segment.get(2).is_some_and(|of_scan| *of_scan < of_picture);
        }
        if BASELINE.contains(marker) {
            of_picture = segment.get(7).copied().unwrap_or(0);
        }
        let [high, low, ..] = *segment else {
            return false;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = segment.get(length..).unwrap_or_default();
    }
    false
}

pub(in crate::volume) fn decode(
    bytes: &[u8],
    expected: ExpectedPicture,
    colours: JpegColours,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let damaged =
        |e: zune_jpeg::errors::DecodeErrors| format!("its jpeg is damaged or cut off ({e})");
    // The decoder fills missing data at the end with grey, so we require the end marker, which cannot occur inside the
    // data. Some files are padded with zeros after it.
    let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    if !bytes[..bytes.len() - padding].ends_with(&END_OF_IMAGE) {
        return Err(format!(
            "its jpeg of {} bytes is truncated: it does not end with the end marker ff d9",
            bytes.len()
        ));
    }
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(match expected.channels {
            1 => ColorSpace::Luma,
            _ => ColorSpace::RGB,
        });
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    if colours == JpegColours::Stored
        && expected.channels > 1
        && let Some(stored) = decoder.input_colorspace()
    {
        decoder.set_options(options.jpeg_set_out_colorspace(stored));
    }
    let info = decoder.info().ok_or("its jpeg has no header")?;
    // Only 8 bits per sample are possible here: the decoder rejects 12.
    let components = usize::from(info.components);
    expected.check(info.width.into(), info.height.into(), components, 8)?;
    if components > 1 && has_separate_scans(bytes) {
        // The decoder returns wrong colours without an error.
        return Err(
            "its jpeg has a scan for each component, which is not supported: write it with one scan for all (`jpegtran` does)"
                .to_owned(),
        );
    }
    out.resize(expected.bytes(), 0);
    decoder.decode_into(out).map_err(damaged)
}
