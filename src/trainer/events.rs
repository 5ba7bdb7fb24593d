//! Writes TensorBoard event files: scalars and pictures by step.
//!
//! Each run writes one new file, which can be read while it grows. `message` defines the protobuf messages of TensorBoard,
//! `tfrecord` the framing of their bytes.

mod message;
mod tfrecord;

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use message::{Event, Image, Value};
use pointshard::trainer_api::Picture;
use prost::Message;

/// An event file that is being written. It is flushed on drop, but errors are ignored then.
#[derive(Debug)]
pub struct EventFile {
    file: BufWriter<File>,
}

impl EventFile {
    /// Creates a new file in `folder` for the steps from `first_step` on; creates the folder if it doesn't exist. Files of
    /// earlier runs stay: TensorBoard shows their steps before `first_step` together with this file.
    ///
    /// # Errors
    /// If the folder or the file cannot be created.
    pub fn create(folder: &Path, first_step: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (_, file) = new_file(folder, since_epoch())?;
        let mut events = Self {
            file: BufWriter::new(file),
        };
        events.write(Event::version_header())?;
        events.write(Event::start(first_step))?;
        events.flush()?;
        Ok(events)
    }

    /// Adds a number to the curve `tag`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn scalar(&mut self, step: u64, tag: &str, value: f32) -> io::Result<()> {
        self.write(Event::value(step, Value::scalar(tag, value)))
    }

    /// Adds a picture to the series `tag`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn image(&mut self, step: u64, tag: &str, picture: &Picture) -> io::Result<()> {
        let image = Image::png(picture.width, picture.height, picture.png());
        self.write(Event::value(step, Value::image(tag, image)))
    }

    /// Passes everything to the operating system, so that readers can see it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn write(&mut self, event: Event) -> io::Result<()> {
        let event = Event {
            wall_time: since_epoch().as_secs_f64(),
            ..event
        };
        tfrecord::write(&mut self.file, &event.encode_to_vec())
    }
}

/// Creates a new file. TensorBoard reads files by name, which gives the order of their start times.
fn new_file(folder: &Path, start: Duration) -> io::Result<(PathBuf, File)> {
    let (seconds, nanoseconds) = (start.as_secs(), start.subsec_nanos());
    let mut number = 0;
    loop {
        let name =
            format!("events.out.tfevents.{seconds:010}.{nanoseconds:09}.pointshard.{number}");
        let path = folder.join(name);
        match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            result => return result.map(|file| (path, file)),
        }
    }
}

fn since_epoch() -> Duration {
    // A clock before 1970 must not stop a training.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events in the only file of the folder.
    fn events(folder: &Path) -> Vec<Event> {
        let mut files = fs::read_dir(folder).unwrap();
        let bytes = fs::read(files.next().unwrap().unwrap().path()).unwrap();
        assert!(files.next().is_none());
        let records = tfrecord::read_all(&bytes);
        let decode = |record: Vec<u8>| Event::decode(record.as_slice()).unwrap();
        records.into_iter().map(decode).collect()
    }

    #[test]
    fn a_file_starts_with_its_version_and_contains_all_events() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("run");
        let mut file = EventFile::create(&folder, 3).unwrap();
        let picture = Picture {
            width: 2,
            height: 1,
            rgb: vec![0, 1, 2, 3, 4, 5],
        };
        file.scalar(3, "loss/train", 0.25).unwrap();
        file.image(4, "val", &picture).unwrap();
        file.flush().unwrap();
        let events = events(&folder);
        assert_eq!(events.len(), 4);
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(events[1].step, 3);
        assert!(events[1].session_log.is_some());
        assert!(events.iter().all(|event| event.wall_time > 1.6e9));
        let scalar = &events[2].summary.as_ref().unwrap().values[0];
        assert_eq!((events[2].step, scalar.simple_value), (3, Some(0.25)));
        let image = events[3].summary.as_ref().unwrap().values[0].image.as_ref();
        assert_eq!(image.unwrap().encoded, picture.png());
    }

    #[test]
    fn the_version_can_be_read_before_a_flush() {
        let folder = tempfile::tempdir().unwrap();
        let _file = EventFile::create(folder.path(), 1).unwrap();
        assert_eq!(events(folder.path()).len(), 2);
    }

    #[test]
    fn file_names_are_unique_and_in_the_order_of_start_times() {
        let folder = tempfile::tempdir().unwrap();
        let file = |start| new_file(folder.path(), start).unwrap().0;
        let first = file(Duration::new(1_700_000_000, 5));
        let files = [
            first.clone(),
            file(Duration::new(1_700_000_000, 5)),
            file(Duration::new(1_700_000_000, 10)),
        ];
        assert!(files.is_sorted_by(|a, b| a < b), "{files:?}");
        let name = first.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents.1700000000."));
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "").unwrap();
        assert!(EventFile::create(&taken, 1).is_err());
    }
}
