//! MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 and coloured MNIST: untrusted files in, seeded batches out.
//!
//! [`Dataset::load`] finds a data set on disk (IDX, CIFAR's batches or their archives, Hugging Face parquet) and reads it into two
//! [`Split`]s of bytes; a [`Loader`] turns a split into normalised [`Batch`]es, in an order and with augmentation that
//! depend on nothing but the seed, the epoch and the example, so that a resumed run sees what the uninterrupted one
//! would have seen. [`fetch()`] downloads what is missing and [`verify()`] checks what is there.
//!
//! Files are taken for hostile: a truncated, oversized, mislabelled or plainly wrong file is one typed
//! [`Error::Corrupt`] that names the file and the offset or row, never a panic and never an allocation that the file's
//! own bytes do not justify.
//!
//! ```
//! use std::sync::Arc;
//!
//! use candle_core::{DType, Device};
//! use flat_core::Streams;
//! use flat_data::{DatasetKind, Loader, LoaderOptions, Split};
//!
//! # fn main() -> flat_data::Result<()> {
//! // ten black 28x28 images with the labels 0 to 9
//! let split = Split::new(vec![0; 10 * 784], (0..10).collect(), [1, 28, 28], 10)?;
//! let options = LoaderOptions { batch_size: 4, shuffle: true, ..Default::default() };
//! let normalisation = DatasetKind::Mnist.normalisation();
//! let loader = Loader::new(Arc::new(split), normalisation, options, Streams::new(0), DType::F32, Device::Cpu)?;
//! assert_eq!(loader.batches_per_epoch(), 3);
//! let batch = loader.batch(0, 2)?;
//! assert_eq!(batch.images.dims(), [2, 1, 28, 28]);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod archive;
mod augment;
mod batch;
mod batches;
mod cache;
#[cfg(feature = "candle-datasets")]
mod candle_vision;
mod cifar;
mod colored;
mod colored_files;
#[cfg(feature = "hub")]
mod contents;
mod dataset;
mod error;
#[cfg(feature = "hub")]
mod fetch;
mod groups;
mod guard;
mod hold_out;
mod hub_fault;
mod idx;
mod images;
mod kind;
mod layout;
mod loader;
mod locate;
mod normalisation;
mod numpy;
mod own;
mod page_header;
mod parquet_file;
mod pass;
mod pickle;
mod picture;
mod pin;
mod python_batch;
mod resident;
mod sampler;
mod seen;
mod source;
mod split;
mod sums;
mod tar;
mod verify;

pub use augment::{Augment, CROP_PADDING};
pub use batch::Batch;
pub use cache::cache_dir;
pub use colored::{COLORS, Coloring};
pub use colored_files::{Made, MadeFile, make_colored};
pub use dataset::Dataset;
pub use error::{Error, Fault, Place, Result};
#[cfg(feature = "hub")]
pub use fetch::{Checked, FetchEvent, FetchOptions, Fetched, FetchedFile, Patience, Transfer, fetch};
pub use groups::{Group, Groups};
pub use hold_out::hold_out;
pub use hub_fault::HubFault;
pub use images::Images;
pub use kind::{DatasetKind, DatasetSpec};
pub use loader::{Loader, LoaderOptions};
pub use locate::{Files, Format, locate, locate_in};
pub use normalisation::Normalisation;
pub use own::{ImageSize, OwnForm, OwnImages, OwnOptions, Sides, TEST_FRACTION, Watch};
pub use pin::{Pinned, PinnedFile};
pub use seen::{Looked, Seen};
pub use split::Split;
pub use sums::{MANIFEST, Manifest, sha256_file};
pub use verify::{FileReport, FileState, VerifyReport, verify};
