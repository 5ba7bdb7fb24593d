//! Small pictures, encoded here or with Pillow and imagecodecs.

use proptest::prelude::*;

use super::*;
use crate::data_type::Scalar;
use crate::geometry::Resolution;
use crate::volume::BlockGrid;

/// Grey, 4 x 6 pixels.
const JPEG_GREY: &str = "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a07\
        0706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc0000b080006\
        000401011100ffc40014000100000000000000000000000000000004ffc4001d10000005050000000000000000000000\
        0000010304070516216191ffda0008010100003f00546d0a53ed26994f9a21ffd9";
/// The pixels that libjpeg-turbo decodes from it.
const JPEG_GREY_PIXELS: [u8; 24] = [
    39, 61, 79, 100, 54, 76, 94, 115, 69, 92, 109, 131, 83, 106, 123, 145, 100, 122, 140, 162, 113,
    135, 153, 174,
];
/// Colours, 4 x 4 pixels.
const JPEG_COLOUR: &str = "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a07\
        0706080c0a0c0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffdb0043010304\
        0405040509050509140d0b0d141414141414141414141414141414141414141414141414141414141414141414141414\
        1414141414141414141414141414ffc00011080004000403011100021101031101ffc400140001000000000000000000\
        00000000000004ffc4001a1000010501000000000000000000000000060003051524b1ffc40015010101000000000000\
        00000000000000000507ffc4001d110001020700000000000000000000000004000501020313142122ffda000c030100\
        02110311003f0010f1b4b55b5a3aa4048142e47481646c1b0a4e57ffd9";
/// The pixels that libjpeg-turbo decodes from it: red, green, blue.
const JPEG_COLOUR_PLANES: [u8; 48] = [
    42, 69, 106, 128, 40, 67, 104, 126, 43, 70, 106, 128, 40, 67, 104, 126, 200, 200, 200, 200,
    175, 174, 174, 175, 149, 149, 149, 148, 127, 127, 127, 127, 63, 62, 64, 64, 57, 58, 58, 60, 59,
    60, 60, 59, 58, 57, 59, 59,
];
/// Grey, lossless, 4 x 6 pixels: 0, 10, 20, ...
const JXL_GREY: &str =
    "ff0a28000680a0b811080401006c004b188b15525c00d473188622ea80e03324bff8942fe229f8019e02";
/// Colours, lossless, 4 x 6 pixels: red as above, green 255 - red, blue red / 2.
const JXL_COLOUR: &str = "ff0a2800068048080401000c014b18938e838319281eac9a3108d6d8f2b783315988d2f50271017c1300000000000000\
        80dfeceeeeeeee3e3333333333f3edbbbb3bdbb66ddbb6edada7f88546a3d100";

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn decode_as(
    format: PictureFormat,
    bytes: &[u8],
    data_type: DataType,
    channels: u32,
    shape: [i64; 3],
) -> Result<Vec<u8>, String> {
    let region = VoxelBox {
        start: [0; 3],
        end: shape,
    };
    let meta = VolumeMeta {
        data_type,
        channels,
        resolution: Resolution::new([1.0; 3]).unwrap(),
        fill_value: Scalar::ZERO,
        grid: BlockGrid::new(region, shape.map(|n| n as u32)).unwrap(),
    };
    let mut values = vec![9; 7];
    format.decode(bytes, &meta, &region, &mut vec![8; 5], &mut values)?;
    Ok(values)
}

fn png(
    width: u32,
    height: u32,
    color: ::png::ColorType,
    depth: ::png::BitDepth,
    data: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(data)
        .unwrap();
    out
}

fn assert_close(found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!(a.abs_diff(*b) <= 2, "{found:?}");
    }
}

#[test]
fn a_picture_may_have_any_width_and_height_with_the_right_product() {
    for shape in [[4, 6, 1], [4, 3, 2], [2, 3, 4], [24, 1, 1]] {
        let grey = decode_as(
            PictureFormat::Jpeg,
            &bytes(JPEG_GREY),
            DataType::UInt8,
            1,
            shape,
        )
        .unwrap();
        assert_close(&grey, &JPEG_GREY_PIXELS);
        let data: Vec<u8> = (0..24).collect();
        let file = png(
            8,
            3,
            ::png::ColorType::Grayscale,
            ::png::BitDepth::Eight,
            &data,
        );
        assert_eq!(
            decode_as(PictureFormat::Png, &file, DataType::UInt8, 1, shape).unwrap(),
            data
        );
    }
}

#[test]
fn channels_are_interleaved_in_the_picture_and_separate_in_the_block() {
    let planes = decode_as(
        PictureFormat::Jpeg,
        &bytes(JPEG_COLOUR),
        DataType::UInt8,
        3,
        [4, 2, 2],
    )
    .unwrap();
    assert_close(&planes, &JPEG_COLOUR_PLANES);
    let file = png(
        2,
        1,
        ::png::ColorType::Rgb,
        ::png::BitDepth::Eight,
        &[1, 2, 3, 4, 5, 6],
    );
    let planes = decode_as(PictureFormat::Png, &file, DataType::UInt8, 3, [1, 1, 2]).unwrap();
    assert_eq!(planes, [1, 4, 2, 5, 3, 6]);
}

#[test]
fn png_with_16_bits_is_big_endian_in_the_file_and_little_endian_in_the_block() {
    let data = [1, 2, 3, 4, 5, 6, 7, 8];
    let file = png(
        2,
        2,
        ::png::ColorType::Grayscale,
        ::png::BitDepth::Sixteen,
        &data,
    );
    let values = decode_as(PictureFormat::Png, &file, DataType::UInt16, 1, [2, 2, 1]).unwrap();
    assert_eq!(values, [2, 1, 4, 3, 6, 5, 8, 7]);
    let file = png(
        2,
        1,
        ::png::ColorType::GrayscaleAlpha,
        ::png::BitDepth::Sixteen,
        &data,
    );
    let values = decode_as(PictureFormat::Png, &file, DataType::UInt16, 2, [2, 1, 1]).unwrap();
    assert_eq!(values, [2, 1, 6, 5, 4, 3, 8, 7]);
}

#[test]
fn lossless_jxl_decodes_to_equal_values() {
    let red: Vec<u8> = (0..24).map(|i| i * 10).collect();
    let grey = decode_as(
        PictureFormat::Jxl,
        &bytes(JXL_GREY),
        DataType::UInt8,
        1,
        [4, 3, 2],
    )
    .unwrap();
    assert_eq!(grey, red);
    let colour = decode_as(
        PictureFormat::Jxl,
        &bytes(JXL_COLOUR),
        DataType::UInt8,
        3,
        [4, 3, 2],
    )
    .unwrap();
    let green = red.iter().map(|v| 255 - v);
    let planes = red
        .iter()
        .copied()
        .chain(green)
        .chain(red.iter().map(|v| v / 2));
    assert_eq!(colour, planes.collect::<Vec<_>>());
}

#[test]
fn a_wrong_size_depth_or_number_of_channels_is_an_error_with_both_values() {
    let file = png(
        2,
        2,
        ::png::ColorType::Grayscale,
        ::png::BitDepth::Eight,
        &[0; 4],
    );
    for (format, file) in [
        (PictureFormat::Jpeg, bytes(JPEG_GREY)),
        (PictureFormat::Png, file),
        (PictureFormat::Jxl, bytes(JXL_GREY)),
    ] {
        for (channels, shape) in [
            (1, [5, 5, 1]),
            (3, [4, 6, 1]),
            (1, [1 << 9, 1 << 9, 1 << 9]),
        ] {
            let e = decode_as(format, &file, DataType::UInt8, channels, shape).unwrap_err();
            assert!(
                e.contains("expected") && e.contains("pixels"),
                "{format:?}: {e}"
            );
        }
    }
    let deep = png(
        1,
        1,
        ::png::ColorType::Grayscale,
        ::png::BitDepth::Sixteen,
        &[0; 2],
    );
    let e = decode_as(PictureFormat::Png, &deep, DataType::UInt8, 1, [1, 1, 1]).unwrap_err();
    assert!(e.contains("16 bits") && e.contains("of 8 bits"), "{e}");
}

#[test]
fn a_truncated_picture_is_an_error_or_decodes_completely() {
    let data: Vec<u8> = (0..24).map(|i| i * 9).collect();
    let file = png(
        4,
        6,
        ::png::ColorType::Grayscale,
        ::png::BitDepth::Eight,
        &data,
    );
    for (format, file) in [
        (PictureFormat::Jpeg, bytes(JPEG_GREY)),
        (PictureFormat::Png, file),
        (PictureFormat::Jxl, bytes(JXL_GREY)),
    ] {
        let whole = decode_as(format, &file, DataType::UInt8, 1, [4, 6, 1]).unwrap();
        let mut refused = 0;
        for n in 0..file.len() {
            match decode_as(format, &file[..n], DataType::UInt8, 1, [4, 6, 1]) {
                Ok(values) => assert_eq!(values, whole, "{format:?} cut to {n} bytes"),
                Err(_) => refused += 1,
            }
        }
        assert!(
            refused >= file.len() - 3,
            "{format:?}: {refused} of {}",
            file.len()
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_make_a_decoder_panic(at in 0usize..400, byte: u8, noise in prop::collection::vec(any::<u8>(), 0..60)) {
        for (format, file) in [
            (PictureFormat::Jpeg, bytes(JPEG_GREY)),
            (PictureFormat::Jpeg, bytes(JPEG_COLOUR)),
            (PictureFormat::Png, png(4, 6, ::png::ColorType::Grayscale, ::png::BitDepth::Eight, &[7; 24])),
            (PictureFormat::Jxl, bytes(JXL_GREY)),
        ] {
            let mut changed = file.clone();
            let at = at % file.len();
            changed[at] = byte;
            let _ = decode_as(format, &changed, DataType::UInt8, 1, [4, 6, 1]);
            let _ = decode_as(format, &[&file[..at], &noise].concat(), DataType::UInt8, 1, [4, 6, 1]);
            let _ = decode_as(format, &noise, DataType::UInt8, 1, [4, 6, 1]);
        }
    }
}
