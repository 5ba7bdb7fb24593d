//! Decodes JPEG XL with `jxl-oxide`.

use jxl_oxide::{AllocTracker, JxlImage, JxlThreadPool, PixelFormat};

use super::expected::ExpectedPicture;

/// Memory limit for an empty picture.
const BASE_BYTES: usize = 64 << 20;

/// Additional memory per sample, for several buffers of 4 bytes.
const PER_SAMPLE_BYTES: usize = 64;

pub(super) fn decode(
    bytes: &[u8],
    expected: ExpectedPicture,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let damaged = |e: Box<dyn std::error::Error + Send + Sync>| {
        format!("its jxl is damaged or truncated ({e})")
    };
    let limit_bytes = BASE_BYTES.saturating_add(expected.bytes().saturating_mul(PER_SAMPLE_BYTES));
    // Blocks are decoded in parallel, so each picture uses a single thread.
    let image = JxlImage::builder()
        .alloc_tracker(AllocTracker::with_limit(limit_bytes))
        .pool(JxlThreadPool::none())
        .read(bytes)
        .map_err(damaged)?;
    let channels = match image.pixel_format() {
        PixelFormat::Gray => 1,
        PixelFormat::Rgb => 3,
        other => {
            return Err(format!(
                "its jxl has pixels of the kind {other:?}, expected grey levels or RGB colours"
            ));
        }
    };
    let depth = &image.image_header().metadata.bit_depth;
    let bits = depth.bits_per_sample() as usize;
    let (width, height) = (image.width(), image.height());
    expected.check(width.into(), height.into(), channels, bits)?;
    if !image.is_loading_done() {
        return Err(format!("its jxl of {} bytes is truncated", bytes.len()));
    }
    out.resize(expected.bytes(), 0);
    let frame = image.render_frame(0).map_err(damaged)?;
    let written = frame.stream().write_to_buffer::<u8>(out);
    if written == out.len() {
        return Ok(());
    }
    Err(format!(
        "its jxl contains {written} samples, expected {}",
        out.len()
    ))
}
