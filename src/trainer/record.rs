//! All that goes into and comes out of a step, in one safetensors file: for holding a trainer of one's own against
//! this one.
//!
//! Tensors: `image`, `targets`, `masks` (where there are any), `before.<weight>`, `logits`, `loss`, `loss.<target>`,
//! `grad.<weight>`, `after.<weight>`.

use std::path::Path;

use indexmap::IndexMap;
use tch::{TchError, Tensor};

use super::checkpoint::write_tensors;
use super::error::TrainError;
use super::feed::Fed;
use super::loss::LossValue;
use super::model::Model;

/// A step, while it is made.
#[derive(Debug, Default)]
pub(super) struct Record {
    tensors: IndexMap<String, Tensor>,
}

impl Record {
    /// Before the step.
    pub(super) fn new(model: &Model, fed: &Fed) -> Result<Self, TchError> {
        let mut record = Self::default();
        record.add("image", &fed.image)?;
        record.add("targets", &fed.targets)?;
        if let Some(masks) = &fed.masks {
            record.add("masks", masks)?;
        }
        for (name, weight) in model.weights() {
            record.add(&format!("before.{name}"), weight)?;
        }
        Ok(record)
    }

    /// After the way back, before weights move.
    pub(super) fn computed(
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
        for (name, weight) in model.learnt() {
            let grad = weight.f_grad()?;
            if grad.defined() {
                self.add(&format!("grad.{name}"), &grad)?;
            }
        }
        Ok(())
    }

    /// After weights moved.
    pub(super) fn write(mut self, path: &Path, model: &Model) -> Result<(), TrainError> {
        for (name, weight) in model.weights() {
            self.add(&format!("after.{name}"), weight)?;
        }
        write_tensors(path, self.tensors.iter().map(|(n, t)| (n.clone(), t)), None)
    }

    fn add(&mut self, name: &str, tensor: &Tensor) -> Result<(), TchError> {
        // A copy: weights and gradients change in place.
        let copy = tensor.f_detach_copy()?;
        self.tensors.insert(name.to_owned(), copy);
        Ok(())
    }
}
