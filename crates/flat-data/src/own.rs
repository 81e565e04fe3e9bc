//! Images of one's own: a folder with a folder a class, an `.npz`, IDX files of any size, CIFAR's as downloaded.

mod array;
mod find;
mod folder;
mod idx_file;
mod npy;
mod npz;
mod picture;
mod resize;
mod size;
mod zip;

pub use size::ImageSize;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use flat_core::{Streams, memory};
use serde::Serialize;

use self::array::Pixels;
use self::find::Found;
use crate::{Dataset, Error, Fault, Place, Result, Split, hold_out};

/// Share of the images that is held out to test on where a path has no such part.
pub const TEST_FRACTION: f64 = 0.2;

/// What images of one's own are brought to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OwnOptions {
    /// Their size; `None` where all have one already.
    pub size: Option<ImageSize>,
    /// 1 for grey, 3 for colours; `None` for colours where any image has them.
    pub channels: Option<usize>,
    /// Share that is held out to test on, classes in proportion, where there is no such part; [`TEST_FRACTION`] by default.
    pub test_fraction: Option<f64>,
    /// Seed of their choice.
    pub seed: u64,
}

/// Is told how many images are read, and of how many; by any thread, and not in order.
pub type Watch<'a> = dyn Fn(u64, u64) + Sync + 'a;

/// How images of one's own are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OwnForm {
    /// A folder of PNG and JPEG files for each class.
    Folder,
    /// Arrays of NumPy.
    Npz,
    /// IDX files.
    Idx,
    /// CIFAR's batches or archive.
    Cifar,
}

/// What the images were before they were brought to one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// Height and width of the smallest.
    pub smallest: [usize; 2],
    /// Height and width of the largest.
    pub largest: [usize; 2],
    /// 1 where all are grey, else 3.
    pub channels: usize,
}

/// Images of one's own in memory.
#[derive(Debug, Clone)]
pub struct OwnImages {
    /// How they are stored.
    pub form: OwnForm,
    /// Where.
    pub path: PathBuf,
    /// The names of the classes, in the order of the labels: of the folders, else the labels themselves.
    pub classes: Vec<String>,
    /// The images to train on.
    pub train: Arc<Split>,
    /// The images to test on.
    pub test: Arc<Split>,
    /// Share that was held out to test on; `None` where there is such a part.
    pub held_out: Option<f64>,
    /// What they were.
    pub found: Sides,
    /// What to know of how they were read.
    pub notes: Vec<String>,
}

impl OwnImages {
    /// Reads what a path holds.
    ///
    /// A folder with `train/` and one of `test/`, `val/`, `valid/` or `validation/` has both parts; each has a folder
    /// a class. Any other folder of folders is one part, of which a share is held out. PNG and JPEG files are read as
    /// torchvision's `ImageFolder` reads them: turned by no EXIF note, without transparency. An `.npz` holds `x_train`,
    /// `y_train`, `x_test`, `y_test`, or `images` and `labels`, or the like. Images take a byte a value in memory.
    ///
    /// # Errors
    /// [`Error::Unusable`] with the remedy, [`Error::Corrupt`] for a damaged or hostile file, [`Error::Io`].
    pub fn read(path: &Path, options: &OwnOptions) -> Result<Self> {
        Self::read_watched(path, options, &|_, _| ())
    }

    /// The same, telling `watch` of the images of folders as they are read.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_watched(path: &Path, options: &OwnOptions, watch: &Watch<'_>) -> Result<Self> {
        let begun = Instant::now();
        let read = Parts::of(path, options, watch)?;
        if read.classes.len() < 2 {
            return Err(Error::unusable(
                path,
                "all its images are of one class",
                "give images of two classes at least",
            ));
        }
        let (mut notes, mut splits) = (read.notes, read.splits.into_iter());
        let Some(train) = splits.next() else {
            return Err(Error::unusable(path, "it holds no images", "give another path"));
        };
        let (train, test, held_out) = match splits.next() {
            Some(test) => match options.test_fraction {
                None => (train, test, None),
                Some(_) => {
                    let remedy = "leave out --test-fraction, or give the folder of one part";
                    return Err(Error::unusable(path, "it has images to test on already", remedy));
                }
            },
            None => {
                let share = options.test_fraction.unwrap_or(TEST_FRACTION);
                let n = (train.len() as f64 * share).round() as usize;
                if n == 0 || n >= train.len() {
                    let problem = format!("{share} of its {} images are {n}", train.len());
                    return Err(Error::unusable(path, problem, "give another --test-fraction, or more images"));
                }
                let (rest, held) = hold_out(&train, n, &Streams::new(options.seed))?;
                notes.push(format!("{n} of {} images are held out to test on", train.len()));
                (rest, held, Some(share))
            }
        };
        let s = begun.elapsed().as_secs_f64();
        tracing::info!(path = %path.display(), form = ?read.form, train = train.len(), test = test.len(), s, "images read");
        let path = path.to_path_buf();
        let (train, test) = (Arc::new(train), Arc::new(test));
        Ok(Self { form: read.form, path, classes: read.classes, train, test, held_out, found: read.found, notes })
    }

    /// The sizes of the images in folders, from the heads of the files alone; `None` for what has one size by its form.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn survey(path: &Path) -> Result<Option<Sides>> {
        let Found::Folder(train, test, _) = find::find(path)? else { return Ok(None) };
        let dirs: Vec<&Path> = [Some(train.as_path()), test.as_deref()].into_iter().flatten().collect();
        folder::survey(&dirs, path).map(Some)
    }

    /// Channels, height and width that they were brought to.
    pub fn shape(&self) -> [usize; 3] {
        self.train.shape()
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> u64 {
        [&self.train, &self.test].map(|split| split.images().len() as u64).iter().sum()
    }
}

/// What was read, part by part.
struct Parts {
    form: OwnForm,
    splits: Vec<Split>,
    classes: Vec<String>,
    found: Sides,
    notes: Vec<String>,
}

impl Parts {
    fn of(path: &Path, options: &OwnOptions, watch: &Watch<'_>) -> Result<Self> {
        match find::find(path)? {
            Found::Folder(train, test, unused) => {
                let dirs: Vec<&Path> = [Some(train.as_path()), test.as_deref()].into_iter().flatten().collect();
                let (splits, classes, found, others) = folder::read(&dirs, path, options, watch)?;
                let left = (others > 0).then(|| format!("{others} other files were left out"));
                let unused =
                    unused.iter().map(|dir| format!("{} is left out: there is another part to test on", dir.display()));
                let notes = left.into_iter().chain(unused).collect();
                Ok(Self { form: OwnForm::Folder, splits, classes, found, notes })
            }
            Found::Npz(file) => {
                let mut notes = Vec::new();
                let mut parts = Vec::new();
                for (Pixels { bytes, shape, note }, labels) in npz::read(&file)? {
                    notes.extend(note.filter(|note| !notes.contains(note)));
                    parts.push((bytes, shape, labels));
                }
                Self::of_arrays(OwnForm::Npz, &file, parts, notes, options)
            }
            Found::Idx(train, test) => {
                let mut parts = Vec::new();
                for [images, labels] in [Some(train), test].into_iter().flatten() {
                    let (shape, bytes) = idx_file::read(&images, [3, 4], room())?;
                    let (bytes, shape) = array::arranged(bytes, &shape)
                        .map_err(|problem| Error::corrupt(&images, Place::Offset(4), Fault::Decode(problem)))?;
                    let (_, classes) = idx_file::read(&labels, [1, 1], room())?;
                    let n = bytes.len() / shape.iter().product::<usize>();
                    if n != classes.len() {
                        let fault = Fault::Count { images: n, labels: classes.len() };
                        return Err(Error::corrupt(&labels, Place::Whole, fault));
                    }
                    parts.push((bytes, shape, classes.into_iter().map(u16::from).collect()));
                }
                Self::of_arrays(OwnForm::Idx, path, parts, Vec::new(), options)
            }
            Found::Cifar(kind, files) => {
                let Dataset { train, test, .. } = Dataset::read(kind, &files)?;
                let parts = [train, test].map(|s| (s.images().to_vec(), s.shape(), s.labels().to_vec()));
                let mut read = Self::of_arrays(OwnForm::Cifar, path, parts.into(), vec![format!("{kind}")], options)?;
                // a part of the files may lack a class
                read.classes = (0..kind.classes).map(|class| class.to_string()).collect();
                Ok(read)
            }
        }
    }

    /// Of images that are in memory already, with labels that number the classes.
    fn of_arrays(
        form: OwnForm,
        path: &Path,
        parts: Vec<(Vec<u8>, [usize; 3], Vec<u16>)>,
        notes: Vec<String>,
        options: &OwnOptions,
    ) -> Result<Self> {
        let shapes: Vec<[usize; 3]> = parts.iter().map(|(_, shape, _)| *shape).collect();
        let [channels, height, width] = shapes.first().copied().unwrap_or_default();
        if let Some(other) = shapes.iter().find(|shape| shape[0] != channels || shape[1..] != [height, width]) {
            let problem = format!("its training images are {:?}, those to test on {other:?}", shapes[0]);
            return Err(Error::unusable(path, problem, "make them alike (channels, height, width)"));
        }
        let most = parts.iter().flat_map(|(_, _, labels)| labels).max().copied().unwrap_or_default();
        let classes: Vec<String> = (0..=most).map(|class| class.to_string()).collect();
        let (from, to) = ([height, width], options.size.unwrap_or(ImageSize::of([height, width])));
        let wanted = options.channels.unwrap_or(channels);
        let count = parts.iter().map(|(_, _, labels)| labels.len()).sum();
        enough_memory(path, count, wanted, to, parts.len() == 1)?;
        let mut splits = Vec::new();
        for (bytes, _, labels) in parts {
            let bytes = array::converted(bytes, [channels, wanted], height * width);
            let bytes = if to.sides() == from { bytes } else { resized(&bytes, wanted, from, to) };
            let [height, width] = to.sides();
            splits.push(Split::new(bytes, labels, [wanted, height, width], classes.len())?);
        }
        Ok(Self { form, splits, classes, found: Sides { smallest: from, largest: from, channels }, notes })
    }
}

/// All images of a part at another size.
fn resized(bytes: &[u8], channels: usize, from: [usize; 2], to: ImageSize) -> Vec<u8> {
    use rayon::prelude::*;
    let [one, other] = [from, to.sides()].map(|[h, w]| channels * h * w);
    let mut out = vec![0; bytes.len() / one * other];
    out.par_chunks_exact_mut(other)
        .zip(bytes.par_chunks_exact(one))
        .for_each(|(out, image)| resize::fit(image, from, to, out));
    out
}

/// Bytes that may be read of one file: what is free in memory.
fn room() -> u64 {
    memory::available().unwrap_or(u64::MAX)
}

/// Refuses images that take more memory than is free.
fn enough_memory(path: &Path, count: usize, channels: usize, size: ImageSize, held_out: bool) -> Result<()> {
    let [height, width] = size.sides();
    // where a share is held out, both sides are copies
    let copies = if held_out { 2 } else { 1 };
    let needed = [channels, height, width, copies].iter().fold(count as u64, |n, side| n.saturating_mul(*side as u64));
    match memory::available() {
        Some(free) if needed > free => Err(Error::unusable(
            path,
            format!(
                "{count} images of {channels}x{height}x{width} take {} of memory, {} are free",
                memory::in_words(needed),
                memory::in_words(free)
            ),
            "give a smaller --image-size, or a folder of fewer images",
        )),
        _ => Ok(()),
    }
}
