//! Jobs from a config to a finished dataset, through the library's public interface and the program.

mod completions;
mod configs;
mod goldens;
mod sources;
#[path = "../support.rs"]
mod support;
mod trainer;
mod versions;
