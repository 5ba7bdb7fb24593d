//! The program `pointshard-train` (feature `tch`), which `pointshard train` and `pointshard infer` start: shows that a
//! network can learn from a dataset, without any Python code. It is a program of its own because libtorch
//! takes long to load, and no other command needs it.
//!
//! `train` writes or resumes a run folder with weights, metrics, a TorchScript module, an ONNX model and a report. `infer`
//! writes the predictions of a split as a Zarr group. The network and the loss use libtorch; everything else is plain Rust.
//! The config and the arguments are in the library, which is not linked to libtorch.

mod assignment;
mod atomic_write;
mod average;
mod balance;
mod checkpoint;
mod commands;
mod device;
mod device_batch;
mod error;
mod evaluate;
mod events;
mod export;
mod history;
mod infer;
mod loss;
mod metrics;
mod min_nonzero;
mod model;
mod optimizer;
mod predictions;
mod report;
mod run;
mod run_folder;
mod step_record;
mod verdict;
mod worst;

use std::process::ExitCode;

use pointshard::trainer_api::{TrainerCommand, trainer_main};

fn main() -> ExitCode {
    trainer_main(|command, printer| match command {
        TrainerCommand::Train(args) => commands::train::run(&args, printer),
        TrainerCommand::Infer(args) => commands::infer::run(args, printer),
    })
}
