//! Python's pickle format, protocols 2 to 5 (PEP 307, 3154, 574), read without calling anything.
//!
//! A pickle is a program for a stack machine, which in Python may call any function by its name. This machine calls none: a call
//! becomes a value that says what would be called with what, [`Made`]. A name that the reader does not know is refused.
//! Memory is bounded by the file's length and [`MAX_STEPS`]: strings are borrowed from the file, and objects refer to each other
//! by index. Such references may form circles, so whoever follows them counts the steps.
//!
//! ```
//! use flat_pickle::{Pickle, Value};
//!
//! // {"lr": 0.5}
//! let bytes = b"\x80\x02}X\x02\0\0\0lrG\x3f\xe0\0\0\0\0\0\0s.";
//! let pickle = Pickle::load(bytes, |_| false).expect("a dict");
//! assert_eq!(pickle.pairs(pickle.top), Some(&[(Value::Text("lr"), Value::Float(0.5))][..]));
//! // a call of os.system
//! let text = Pickle::load(b"\x80\x02cos\nsystem\nU\x02id\x85R.", |_| false).expect_err("refused").to_string();
//! assert!(text.contains("os.system"), "{text}");
//! ```

#![forbid(unsafe_code)]

mod error;
mod machine;
mod value;

pub use error::{Error, Fault};
pub use machine::MAX_STEPS;
pub use value::{Made, Name, Object, Pickle, Value};
