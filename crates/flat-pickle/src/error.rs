//! Why a pickle is not read.

/// A fault and where the instruction stands that has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {fault}")]
pub struct Error {
    /// Offset in bytes from the start of the pickle.
    pub at: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end too early.
    #[error("{expected} bytes should follow")]
    Truncated {
        /// Bytes that are missing.
        expected: u64,
    },
    /// Bytes follow the program's end.
    #[error("bytes follow the announced end")]
    Trailing,
    /// More instructions than are carried out.
    #[error("the program has more than {limit} instructions")]
    TooLong {
        /// The most.
        limit: u64,
    },
    /// A class or function that the reader does not know.
    #[error("it asks for {name}, which is not called")]
    Unknown {
        /// Module and name, escaped and shortened.
        name: String,
    },
    /// A program that makes no sense.
    #[error("{0}")]
    Refused(String),
}
