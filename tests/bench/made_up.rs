//! Generates a dataset for benchmarks: an image with noise as in electron microscopy, which hardly compresses, and masks,
//! which compress well.

use std::path::Path;

use pointshard::bench::{
    ArrayLayout, ArrayProvenance, AxisOrder, Codec, DataType, EncodedSamples, Layout, PLAN_DIGEST,
    Provenance, Receipt, SampleEncoder, SampleEncoding, SampleIndex, Scalar, ShardWriter,
    Statistics, WindowSize, claim, seal,
};

use super::Failure;

const SAMPLES: u64 = 256;
const EDGE: usize = 64;

/// Writes a dataset with an image, two targets of a few balls each, and a mask for each target.
pub fn make_dataset(root: &Path) -> Result<(), Failure> {
    let names = [
        "img",
        "target_a",
        "target_b",
        "target_a_mask",
        "target_b_mask",
    ];
    let mut arrays = Vec::new();
    for name in names {
        arrays.push(ArrayLayout {
            name: name.into(),
            data_type: DataType::UInt8,
            channels: 1,
            window: WindowSize::new([EDGE as u32; 3]).ok_or("no window")?,
            fill_value: Scalar::ZERO,
            codec: Codec::default().into(),
        });
    }
    let layout = Layout::new(
        AxisOrder::Czyx,
        vec![("train".into(), SAMPLES)],
        arrays,
        Some(64),
    );
    let output = claim(root, &layout)?;
    let mut encoder = SampleEncoder::new()?;
    for id in layout.all_shards() {
        let mut shard = ShardWriter::begin(&output, &layout, id)?;
        let encoding = SampleEncoding::of(&layout.arrays[id.array])?;
        let mut encoded = EncodedSamples::default();
        for i in layout.samples(id) {
            let values = match id.array {
                0 => image(i),
                1 | 2 => balls(i + SAMPLES * id.array as u64),
                _ => vec![1; EDGE.pow(3)],
            };
            encoded.push(Some(&values), &encoding, &mut encoder)?;
        }
        shard.append(&encoded)?;
        let written = shard.finish()?;
        let receipt = Receipt {
            plan_digest: PLAN_DIGEST.to_owned(),
            bytes: written.bytes,
            blake3: written.blake3.to_string(),
            nonzero: layout.samples(id).map(|_| 0).collect(),
            statistics: Statistics::new(DataType::UInt8),
            sources: Vec::new(),
        };
        written.publish()?;
        receipt.write(&output, &layout, id)?;
    }
    let about = |name: &str| ArrayProvenance {
        layer: name.into(),
        role: Some(
            if name == "img" {
                "image"
            } else if name.ends_with("mask") {
                "mask"
            } else {
                "target"
            }
            .into(),
        ),
        transform: serde_json::Value::Null,
        padded_windows: Default::default(),
    };
    let about = Provenance {
        order_of_plan: None,
        config: serde_json::Value::Null,
        collection: String::new(),
        sources: Vec::new(),
        may_be_empty: Vec::new(),
        boxes: Vec::new(),
        groups: Vec::new(),
        arrays: names.into_iter().map(about).collect(),
        window_voxels: [EDGE as u32; 3],
        resolution_nm: None,
        warnings: Vec::new(),
    };
    seal(&output, &layout, about, vec![SampleIndex::default()])?;
    Ok(())
}

/// An image with membranes and the noise of a microscope.
fn image(seed: u64) -> Vec<u8> {
    let mut random = Random(seed + 1);
    let phase = [0; 3].map(|_| random.next() * 6.0);
    voxels(|z, y, x| {
        let wave =
            (x / 7.0 + phase[0]).sin() + (y / 6.0 + phase[1]).sin() + (z / 5.0 + phase[2]).sin();
        let noise = random.next() + random.next() + random.next() - 1.5;
        (140.0 - 50.0 * (-4.0 * wave * wave).exp() + 40.0 * noise) as u8
    })
}

fn balls(seed: u64) -> Vec<u8> {
    let mut random = Random(seed + 1);
    let centres = [0; 3].map(|_| [0; 3].map(|_| random.next() * EDGE as f32));
    voxels(|z, y, x| {
        let near =
            |c: &[f32; 3]| (c[0] - z).powi(2) + (c[1] - y).powi(2) + (c[2] - x).powi(2) < 150.0;
        u8::from(centres.iter().any(near))
    })
}

fn voxels(mut value: impl FnMut(f32, f32, f32) -> u8) -> Vec<u8> {
    let at = |i: usize| [i / EDGE / EDGE, i / EDGE % EDGE, i % EDGE].map(|n| n as f32);
    (0..EDGE.pow(3))
        .map(|i| {
            let [z, y, x] = at(i);
            value(z, y, x)
        })
        .collect()
}

/// Random numbers between 0 and 1 (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }
}
