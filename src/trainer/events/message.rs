//! The protobuf messages of an event file: the parts of TensorFlow's `event.proto` and `summary.proto` that scalars and
//! pictures need. A `oneof` there is an optional field here; the bytes are the same.

use prost::Message;

/// An event of a run.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// In the first event of a file only.
    #[prost(string, optional, tag = "3")]
    pub file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    pub session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// A scalar or a picture.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    pub image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int32, tag = "1")]
    pub height: i32,
    #[prost(int32, tag = "2")]
    pub width: i32,
    /// Number of channels.
    #[prost(int32, tag = "3")]
    pub colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    pub encoded: Vec<u8>,
}

/// The start of a program.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionLog {
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl SessionLog {
    const START: i32 = 1;
}

impl Event {
    /// The first event of every file.
    pub fn version_header() -> Self {
        Self {
            file_version: Some("brain.Event:2".into()),
            ..Self::default()
        }
    }

    /// A program starts at `step`: TensorBoard ignores this and later steps in older files of the folder.
    pub fn start(step: u64) -> Self {
        Self {
            step: as_int64(step),
            session_log: Some(SessionLog {
                status: SessionLog::START,
            }),
            ..Self::default()
        }
    }

    /// A value at a step.
    pub fn value(step: u64, value: Value) -> Self {
        Self {
            step: as_int64(step),
            summary: Some(Summary {
                values: vec![value],
            }),
            ..Self::default()
        }
    }
}

fn as_int64(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

impl Value {
    pub fn scalar(tag: &str, value: f32) -> Self {
        Self {
            tag: tag.into(),
            simple_value: Some(value),
            image: None,
        }
    }

    pub fn image(tag: &str, image: Image) -> Self {
        Self {
            tag: tag.into(),
            simple_value: None,
            image: Some(image),
        }
    }
}

impl Image {
    /// An RGB image as a PNG file.
    pub fn png(width: u32, height: u32, encoded: Vec<u8>) -> Self {
        let pixels = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        Self {
            height: pixels(height),
            width: pixels(width),
            colorspace: 3,
            encoded,
        }
    }
}

/// The expected bytes are from Python's `tensorboard` 2.21, written by its `RecordWriter`.
#[cfg(test)]
mod tests {
    use super::super::tfrecord;
    use super::*;

    fn framed(event: Event) -> Vec<u8> {
        let event = Event {
            wall_time: 1_700_000_000.25,
            ..event
        };
        let mut bytes = Vec::new();
        tfrecord::write(&mut bytes, &event.encode_to_vec()).unwrap();
        bytes
    }

    #[test]
    fn a_version_header_has_the_bytes_of_tensorboard() {
        assert_eq!(
            framed(Event::version_header()),
            b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\
              \x09\0\0\x10\x40\xfc\x54\xd9\x41\x1a\x0dbrain.Event:2\
              \x33\x8d\x2f\xe9"
        );
    }

    #[test]
    fn a_start_has_the_bytes_of_tensorboard() {
        assert_eq!(
            framed(Event::start(1001)),
            b"\x10\0\0\0\0\0\0\0\x95\xfb\xfe\x18\
              \x09\0\0\x10\x40\xfc\x54\xd9\x41\x10\xe9\x07\
              \x3a\x02\x08\x01\
              \x90\x32\xb9\x84"
        );
    }

    #[test]
    fn a_scalar_of_zero_has_the_bytes_of_tensorboard() {
        assert_eq!(
            framed(Event::value(1000, Value::scalar("loss/train", 0.0))),
            b"\x21\0\0\0\0\0\0\0\x01\x7b\xec\xf6\
              \x09\0\0\x10\x40\xfc\x54\xd9\x41\x10\xe8\x07\
              \x2a\x13\x0a\x11\x0a\x0aloss/train\x15\0\0\0\0\
              \x34\x4d\x80\x27"
        );
    }

    #[test]
    fn a_picture_has_the_bytes_of_tensorboard() {
        let image = Image::png(3, 2, b"PNG".to_vec());
        assert_eq!(
            framed(Event::value(7, Value::image("val", image))),
            b"\x21\0\0\0\0\0\0\0\x01\x7b\xec\xf6\
              \x09\0\0\x10\x40\xfc\x54\xd9\x41\x10\x07\
              \x2a\x14\x0a\x12\x0a\x03val\x22\x0b\x08\x02\x10\x03\x18\x03\x22\x03PNG\
              \xd6\x25\x10\x52"
        );
    }
}
