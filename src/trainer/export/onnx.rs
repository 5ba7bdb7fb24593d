//! Exports the network as an ONNX model: the input `image`, `[batch, channel, z, y, x]`, and the output `logits`.
//!
//! `graph` builds the graph of the network, `message` defines the protobuf messages of ONNX. The entry `pointshard` of the
//! model's metadata holds the same JSON as that of a checkpoint: the config and the progress of the training.

mod graph;
mod message;

use std::path::Path;

use prost::Message;

use super::on_cpu;
use crate::atomic_write::write_atomic;
use crate::checkpoint::{HEADER, Header};
use crate::error::TrainError;
use crate::model::Model;
use message::{ModelProto, OperatorSetId, StringEntry};

/// Version of the format and of its operators, of 2022: ONNX 1.12, which onnxruntime reads since 1.12.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

/// Readers of protobuf accept messages below 2 GiB.
const MAX_BYTES: usize = i32::MAX as usize;

/// Writes `model` to `path`. Returns false, without a file, if the weights are too many for the format.
pub(crate) fn write(path: &Path, model: &Model, header: &Header) -> Result<bool, TrainError> {
    let header = header.to_json(path)?;
    match encode(model, header, MAX_BYTES)? {
        Some(bytes) => write_atomic(path, &bytes).map(|()| true),
        None => Ok(false),
    }
}

/// The model as bytes; `None` if they are more than `max_bytes`.
fn encode(model: &Model, header: String, max_bytes: usize) -> Result<Option<Vec<u8>>, TrainError> {
    if model.weights().values().map(|w| w.numel()).sum::<usize>() > max_bytes / size_of::<f32>() {
        return Ok(None);
    }
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph::graph(&on_cpu(model)?)?),
        operator_sets: vec![OperatorSetId {
            domain: String::new(),
            version: OPSET,
        }],
        metadata: vec![StringEntry {
            key: HEADER.into(),
            value: header,
        }],
    };
    Ok((model.encoded_len() <= max_bytes).then(|| model.encode_to_vec()))
}

#[cfg(test)]
mod tests {
    use pointshard::trainer_api::ModelConfig;
    use tch::Device;

    use super::*;

    #[test]
    fn a_model_above_the_limit_of_readers_is_not_encoded() {
        let config: ModelConfig = serde_json::from_value(serde_json::json!({
            "feature_maps": [2],
        }))
        .unwrap();
        let model = Model::new(&config, 1, Device::Cpu).unwrap();
        let encoded = |max_bytes| encode(&model, "{}".into(), max_bytes).unwrap();
        let bytes = encoded(MAX_BYTES).unwrap().len();
        assert!(encoded(bytes).is_some());
        assert!(encoded(bytes - 1).is_none());
        assert!(encoded(4 * model.size() as usize - 1).is_none());
    }
}
