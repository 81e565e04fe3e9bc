//! A folder of images with a folder a class, in torchvision's order: classes by name, files by path.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::array::MAX_CLASSES;
use super::picture::{self, Head};
use super::resize::fit;
use super::{OwnOptions, Sides, Watch, enough_memory};
use crate::{Error, ImageSize, Result, Split};

/// Endings of the files that are read.
const READ: [&str; 3] = ["png", "jpg", "jpeg"];
/// Endings of images that are not.
const UNREAD: [&str; 11] = ["bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm", "avif", "heic", "jp2", "jfif"];
/// Most folders one within the other, which a link to a folder above would exceed.
const DEEPEST: usize = 16;
/// Most files.
const MOST: usize = 1 << 24;

/// Image files by class.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The classes, by name.
    pub(super) classes: Vec<String>,
    /// The files, each with its class, in order.
    files: Vec<(PathBuf, u16)>,
    /// Files that are no images.
    pub(super) others: usize,
}

/// The folders within a folder, by name, but for hidden ones.
pub(super) fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.is_dir() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().unwrap_or_default();
    name.to_str().map(str::to_string).ok_or_else(|| Error::unusable(path, "its name is no UTF-8", "rename it"))
}

impl Listing {
    /// The images in a folder; `root` is the folder that no link may lead out of.
    ///
    /// # Errors
    /// [`Error::Unusable`] for a class without images, more classes than a label tells apart, an image of a sort that
    /// is not read, a link that leads out; [`Error::Io`].
    pub(super) fn of(dir: &Path, root: &Path) -> Result<Self> {
        let folders = folders(dir)?;
        if folders.is_empty() {
            return Err(Error::unusable(
                dir,
                "it holds no folder of images for each class",
                "put the images of a class into a folder of its name",
            ));
        }
        if folders.len() > MAX_CLASSES {
            let problem = format!("it has {} classes", folders.len());
            return Err(Error::unusable(dir, problem, format!("at most {MAX_CLASSES} are read: take some of them")));
        }
        let root = root.canonicalize().map_err(Error::io(root))?;
        let mut listing = Self::default();
        for (class, folder) in folders.iter().enumerate() {
            let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
            listing.walk(folder, &root, 0, &mut found)?;
            if found.is_empty() {
                let remedy = "put images of the class there, or remove the folder";
                return Err(Error::unusable(folder, "it holds no PNG or JPEG file", remedy));
            }
            // as torchvision: folders by their whole path, then files by name
            found.sort_by(|a, b| (a.0.as_os_str(), &a.1).cmp(&(b.0.as_os_str(), &b.1)));
            listing.files.extend(found.into_iter().map(|(_, path)| (path, class as u16)));
            listing.classes.push(name(folder)?);
        }
        Ok(listing)
    }

    fn walk(&mut self, dir: &Path, root: &Path, depth: usize, found: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
        within(dir, root)?;
        if depth > DEEPEST {
            let problem = format!("it lies more than {DEEPEST} folders deep");
            return Err(Error::unusable(dir, problem, "look for a link to a folder above it"));
        }
        for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
            let path = entry.map_err(Error::io(dir))?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let end = path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default();
            if hidden {
                continue;
            }
            if path.is_dir() {
                self.walk(&path, root, depth + 1, found)?;
            } else if READ.contains(&end.as_str()) {
                within(&path, root)?;
                found.push((dir.to_path_buf(), path));
            } else if UNREAD.contains(&end.as_str()) {
                let problem = format!("images of the sort {end} are not read");
                return Err(Error::unusable(&path, problem, "convert it to PNG or JPEG, or remove it"));
            } else {
                self.others += 1;
            }
            if found.len() + self.files.len() > MOST {
                return Err(Error::unusable(root, format!("it holds more than {MOST} images"), "take some of them"));
            }
        }
        Ok(())
    }

    /// The same images with the classes of another listing, all of which its own must be.
    pub(super) fn among(mut self, classes: &[String], dir: &Path) -> Result<Self> {
        let index = |name: &String| classes.iter().position(|known| known == name);
        let places: Vec<Option<usize>> = self.classes.iter().map(index).collect();
        if let Some(i) = places.iter().position(Option::is_none) {
            let (problem, known) =
                (format!("its class {} is none of the training images", self.classes[i]), classes.join(", "));
            return Err(Error::unusable(dir, problem, format!("they have {known}: rename or remove the folder")));
        }
        for (_, class) in &mut self.files {
            *class = places[usize::from(*class)].unwrap_or_default() as u16;
        }
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// What the heads of all files say.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a file that is no PNG or JPEG, [`Error::Io`].
    pub(super) fn heads(&self) -> Result<Heads> {
        let heads: Vec<Head> = self.files.par_iter().map(|(path, _)| picture::head(path)).collect::<Result<_>>()?;
        let odd = heads.iter().position(|head| head.sides != heads[0].sides);
        let odd = odd.map(|i| [0, i].map(|i| (self.files[i].0.clone(), heads[i].sides)));
        let colored = heads.iter().any(|head| head.colored);
        Ok(Heads { sizes: heads.iter().map(|head| head.sides).collect(), odd, colored })
    }

    /// Decodes every file, on all threads.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged file, [`Error::Io`].
    fn read(&self, channels: usize, size: ImageSize, done: &(impl Fn() + Sync)) -> Result<Split> {
        let [height, width] = size.sides();
        let bytes = channels * height * width;
        let mut images = vec![0; self.files.len() * bytes];
        images.par_chunks_exact_mut(bytes).zip(&self.files).try_for_each(|(image, (path, _))| {
            let (sides, planes) = picture::pixels(path, channels)?;
            fit(&planes, sides, size, image);
            done();
            Ok::<_, Error>(())
        })?;
        let labels = self.files.iter().map(|(_, class)| *class).collect();
        Split::new(images, labels, [channels, height, width], self.classes.len())
    }
}

/// What the files of a folder look like.
pub(super) struct Heads {
    /// The heights and widths that occur.
    sizes: BTreeSet<[usize; 2]>,
    /// Two files of different sizes.
    odd: Option<[(PathBuf, [usize; 2]); 2]>,
    colored: bool,
}

/// Refuses a link that leads out of a folder.
fn within(path: &Path, root: &Path) -> Result<()> {
    let real = path.canonicalize().map_err(Error::io(path))?;
    match real.starts_with(root) {
        true => Ok(()),
        false => Err(Error::unusable(
            path,
            format!("it is a link to {}, which is not in {}", real.display(), root.display()),
            "copy what it leads to",
        )),
    }
}

/// The parts of a data set of folders, the classes of the first being those of all.
fn parts(dirs: &[&Path], root: &Path) -> Result<Vec<Listing>> {
    let mut parts: Vec<Listing> = Vec::new();
    for dir in dirs {
        let listing = Listing::of(dir, root)?;
        parts.push(match parts.first() {
            Some(first) => listing.among(&first.classes, dir)?,
            None => listing,
        });
    }
    Ok(parts)
}

/// What the images of these parts are.
fn sides(heads: &[Heads]) -> (Sides, usize) {
    let all: BTreeSet<[usize; 2]> = heads.iter().flat_map(|heads| heads.sizes.iter().copied()).collect();
    let area = |[h, w]: &&[usize; 2]| h * w;
    let smallest = all.iter().min_by_key(area).copied().unwrap_or_default();
    let largest = all.iter().max_by_key(area).copied().unwrap_or_default();
    let channels = if heads.iter().any(|heads| heads.colored) { 3 } else { 1 };
    (Sides { smallest, largest, channels }, all.len())
}

/// What the images of folders are, from the heads of the files alone.
pub(super) fn survey(dirs: &[&Path], root: &Path) -> Result<Sides> {
    let heads: Vec<Heads> = parts(dirs, root)?.iter().map(Listing::heads).collect::<Result<_>>()?;
    Ok(sides(&heads).0)
}

/// The parts of a data set of folders, its classes, and what its images were like.
pub(super) fn read(
    dirs: &[&Path],
    root: &Path,
    options: &OwnOptions,
    watch: &Watch<'_>,
) -> Result<(Vec<Split>, Vec<String>, Sides, usize)> {
    let mut parts = parts(dirs, root)?;
    let heads: Vec<Heads> = parts.iter().map(Listing::heads).collect::<Result<_>>()?;
    let (found, sizes) = sides(&heads);
    let channels = options.channels.unwrap_or(found.channels);
    let size = match (options.size, sizes) {
        (Some(size), _) => size,
        (None, 1) => ImageSize::of(found.smallest),
        (None, _) => {
            let [h, w] = found.smallest;
            let example = heads.iter().find_map(|heads| heads.odd.as_ref()).map(|pair| {
                let one = |(path, [h, w]): &(PathBuf, [usize; 2])| format!("{} is {h}x{w}", path.display());
                format!(": {}, {}", one(&pair[0]), one(&pair[1]))
            });
            return Err(Error::unusable(
                root,
                format!("its images are of {sizes} sizes{}", example.unwrap_or_default()),
                format!("bring them to one with --image-size N (the smallest is {h}x{w}, height by width)"),
            ));
        }
    };
    let count: usize = parts.iter().map(|part| part.files.len()).sum();
    enough_memory(root, count, channels, size, dirs.len() == 1)?;
    let read = AtomicU64::new(0);
    let done = || watch(1 + read.fetch_add(1, Ordering::Relaxed), count as u64);
    let splits = parts.iter().map(|part| part.read(channels, size, &done)).collect::<Result<_>>()?;
    let others = parts.iter().map(|part| part.others).sum();
    let classes = parts.swap_remove(0).classes;
    Ok((splits, classes, found, others))
}
