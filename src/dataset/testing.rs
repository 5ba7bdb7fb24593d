//! Datasets for tests: written by the writer, from the values of the test.

use std::path::Path;

use serde_json::Value;

use super::{
    ArrayLayout, ArrayProvenance, Claim, Codec, Dataset, EncodedSamples, Layout, Output,
    PresentShards, Provenance, Receipt, SampleEncoder, SampleEncoding, SampleIndex, ShardId,
    ShardWriter, Trust, Unsealed,
};
use crate::data_type::{DataType, Scalar};
use crate::geometry::{AxisOrder, WindowSize};
use crate::storage::{Location, Storage};
use crate::voxels::Statistics;

/// An array, and its samples: values `[channel, z, y, x]`, little-endian, or `None` where all are `fill_value`.
pub(crate) struct TestArray {
    pub name: &'static str,
    pub data_type: DataType,
    pub channels: u32,
    /// x y z.
    pub window: [u32; 3],
    pub fill_value: Scalar,
    pub codec: Codec,
    pub samples: Vec<Option<Vec<u8>>>,
}

/// Writes a dataset with the one split `train` to the folder `root`, which must be empty.
pub(crate) fn write(
    root: &Path,
    axis_order: AxisOrder,
    arrays: &[TestArray],
    shard_samples: u32,
) -> Dataset {
    let samples = arrays[0].samples.len() as u64;
    let layouts = arrays.iter().map(|a| ArrayLayout {
        name: a.name.into(),
        data_type: a.data_type,
        channels: a.channels,
        window: WindowSize::new(a.window).unwrap(),
        fill_value: a.fill_value,
        codec: a.codec.into(),
    });
    let splits = vec![("train".to_owned(), samples)];
    let layout = Layout::new(axis_order, splits, layouts.collect(), Some(shard_samples));
    let output = claim(root, &layout);
    let mut encoder = SampleEncoder::new().unwrap();
    for id in layout.all_shards() {
        write_shard(&output, &layout, id, &arrays[id.array], &mut encoder);
    }
    let provenance = provenance(arrays);
    let present = PresentShards::find(&output, &layout, PLAN_DIGEST, Trust::Size).unwrap();
    let unsealed = Unsealed {
        output: &output,
        layout: &layout,
        plan_digest: PLAN_DIGEST,
        present,
    };
    let index = [SampleIndex::default()];
    unsealed
        .seal(provenance, index.into_iter(), std::iter::empty())
        .unwrap();
    Dataset::open(root, &Storage::default()).unwrap()
}

/// The digest of the plan of test datasets.
const PLAN_DIGEST: &str = "test";

/// Claims the local folder `root` for a dataset with this layout.
pub(crate) fn claim(root: &Path, layout: &Layout) -> Output {
    let location = Location::Local(root.to_owned());
    let output = Output::at(&location, &Storage::default()).unwrap();
    let splits = layout.splits.iter().map(|s| s.name.as_str());
    let arrays = layout.arrays.iter().map(|a| a.name.as_str());
    let claim = Claim::new(blake3::hash(b"test"), splits, arrays);
    output.claim(&claim, false).unwrap()
}

/// The samples, encoded as those of `array`.
pub(crate) fn encode(
    array: &ArrayLayout,
    samples: &[Option<&[u8]>],
    encoder: &mut SampleEncoder,
) -> EncodedSamples {
    let encoding = SampleEncoding::of(array).unwrap();
    let mut encoded = EncodedSamples::default();
    for sample in samples {
        encoded.push(*sample, &encoding, encoder).unwrap();
    }
    encoded
}

/// Writes a shard and its receipt.
fn write_shard(
    output: &Output,
    layout: &Layout,
    id: ShardId,
    array: &TestArray,
    encoder: &mut SampleEncoder,
) {
    let mut shard = ShardWriter::begin(output, layout, id).unwrap();
    let mut statistics = Statistics::new(array.data_type);
    let mut fill = vec![0; layout.sample_bytes(id.array) as usize];
    let value_bytes = array.data_type.size_bytes();
    array.fill_value.fill(value_bytes, &mut fill);
    for i in layout.samples(id) {
        let sample = array.samples[i as usize].as_deref();
        statistics.observe(sample.unwrap_or(&fill), None);
        let encoded = encode(&layout.arrays[id.array], &[sample], encoder);
        shard.append(&encoded).unwrap();
    }
    let written = shard.finish().unwrap();
    let receipt = Receipt {
        plan_digest: PLAN_DIGEST.to_owned(),
        bytes: written.bytes,
        blake3: written.blake3.to_string(),
        nonzero: layout.samples(id).map(|_| 0).collect(),
        statistics,
        sources: Vec::new(),
    };
    written.publish().unwrap();
    receipt.write(output, layout, id).unwrap();
}

fn provenance(arrays: &[TestArray]) -> Provenance {
    Provenance {
        order_of_plan: None,
        config: Value::Null,
        collection: String::new(),
        sources: Vec::new(),
        may_be_empty: Vec::new(),
        boxes: Vec::new(),
        groups: Vec::new(),
        arrays: arrays
            .iter()
            .map(|_| ArrayProvenance {
                layer: "test".into(),
                role: None,
                transform: Value::Null,
                padded_windows: Default::default(),
            })
            .collect(),
        window_voxels: arrays[0].window,
        resolution_nm: None,
        warnings: Vec::new(),
    }
}
