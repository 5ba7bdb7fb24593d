//! Inputs, outputs and gradients of one step in a safetensors file, for comparing another trainer with this one.
//!
//! Tensors: `image`, `targets`, `masks` (if any), `before.<weight>`, `logits`, `loss`, `loss.<target>`,
//! `grad.<weight>`, `after.<weight>`.

use std::path::Path;

use indexmap::IndexMap;
use tch::{TchError, Tensor};

use super::checkpoint::write_tensors;
use super::device_batch::DeviceBatch;
use super::error::TrainError;
use super::loss::LossValue;
use super::model::Model;

/// The tensors of a step so far.
#[derive(Debug, Default)]
pub(super) struct StepRecord {
    tensors: IndexMap<String, Tensor>,
}

impl StepRecord {
    /// Records the inputs and the weights before the step.
    pub(super) fn new(model: &Model, batch: &DeviceBatch) -> Result<Self, TchError> {
        let mut record = Self::default();
        record.add("image", &batch.image)?;
        record.add("targets", &batch.targets)?;
        if let Some(masks) = &batch.masks {
            record.add("masks", masks)?;
        }
        for (name, weight) in model.weights() {
            record.add(&format!("before.{name}"), weight)?;
        }
        Ok(record)
    }

    /// Records outputs and gradients, before the weights change.
    pub(super) fn add_outputs(
        &mut self,
        logits: &Tensor,
        loss: &LossValue,
        targets: &[String],
        model: &Model,
    ) -> Result<(), TchError> {
        self.add("logits", logits)?;
        self.add("loss", &loss.total)?;
        for (target, loss) in targets.iter().zip(&loss.channels) {
            self.add(&format!("loss.{target}"), loss)?;
        }
        for (name, weight) in model.learned() {
            let grad = weight.f_grad()?;
            if grad.defined() {
                self.add(&format!("grad.{name}"), &grad)?;
            }
        }
        Ok(())
    }

    /// Records the weights after the step and writes the file.
    pub(super) fn write(mut self, path: &Path, model: &Model) -> Result<(), TrainError> {
        for (name, weight) in model.weights() {
            self.add(&format!("after.{name}"), weight)?;
        }
        write_tensors(path, self.tensors.iter().map(|(n, t)| (n.clone(), t)), None)
    }

    fn add(&mut self, name: &str, tensor: &Tensor) -> Result<(), TchError> {
        // Copy: weights and gradients change in place.
        let copy = tensor.f_detach_copy()?;
        self.tensors.insert(name.to_owned(), copy);
        Ok(())
    }
}
