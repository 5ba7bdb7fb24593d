//! What an error is about, so that a caller can decide what to do next without looking into it.
//!
//! Every error type of the library implements [`Fault`]. An error that wraps another one has the kind of the inner
//! error, unless the outer one knows better. The program's exit code follows from the kind.

use std::error::Error;
use std::io::{self, ErrorKind};

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The command line or the configuration: it must change before another try.
    Usage,
    /// The data: they are missing, damaged, not readable with these credentials, or have a wrong form.
    Data,
    /// The environment: network, disk, permissions or system resources. The same command may succeed later.
    Environment,
}

/// An error that knows its kind.
pub trait Fault: Error {
    /// What is at fault.
    fn kind(&self) -> FaultKind;
}

impl FaultKind {
    /// The exit code of a program that ends with such an error. 75 is `EX_TEMPFAIL` of `sysexits.h`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Usage => 2,
            Self::Environment => 75,
        }
    }

    /// The kind of an error that occurred while reading: a file that is missing or is not a regular file is a fault of
    /// the data, a disk that fails is not.
    pub fn of_read(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidData
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::FileTooLarge
            | ErrorKind::UnexpectedEof => Self::Data,
            // An error that the program made itself describes contents.
            ErrorKind::Other if error.raw_os_error().is_none() => Self::Data,
            _ => Self::Environment,
        }
    }

    /// The kind of an error that occurred while writing: an impossible path is wrong usage, a full disk is not.
    pub fn of_write(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput => Self::Usage,
            _ => Self::Environment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOSPC: i32 = 28;
    const EIO: i32 = 5;
    const EACCES: i32 = 13;
    const ENAMETOOLONG: i32 = 36;

    #[test]
    #[cfg(target_os = "linux")]
    fn errors_of_the_disk_and_permissions_are_faults_of_the_environment() {
        for code in [ENOSPC, EIO, EACCES] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(FaultKind::of_read(&error), FaultKind::Environment);
            assert_eq!(FaultKind::of_write(&error), FaultKind::Environment);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_missing_file_is_a_fault_of_the_data_and_an_impossible_output_path_is_wrong_usage() {
        let missing = io::Error::from(ErrorKind::NotFound);
        assert_eq!(FaultKind::of_read(&missing), FaultKind::Data);
        assert_eq!(FaultKind::of_write(&missing), FaultKind::Environment);
        let too_long = io::Error::from_raw_os_error(ENAMETOOLONG);
        assert_eq!(FaultKind::of_read(&too_long), FaultKind::Data);
        assert_eq!(FaultKind::of_write(&too_long), FaultKind::Usage);
        let own = io::Error::other("a row is too long");
        assert_eq!(FaultKind::of_read(&own), FaultKind::Data);
    }

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let kinds = [FaultKind::Data, FaultKind::Usage, FaultKind::Environment];
        assert_eq!(kinds.map(FaultKind::exit_code), [1, 2, 75]);
    }
}
