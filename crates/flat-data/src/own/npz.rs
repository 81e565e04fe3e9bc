//! NumPy's `.npz`: images and labels by the names that people give them.

use std::path::Path;

use super::array::{self, Pixels};
use super::npy::{MAX_HEADER, Npy};
use super::room;
use super::zip::{Member, Zip};
use crate::{Error, Fault, Place, Result};

/// Names of the training images and labels, and of those to test on, as they go together.
const NAMES: [[&str; 4]; 6] = [
    ["x_train", "y_train", "x_test", "y_test"],
    ["train_images", "train_labels", "test_images", "test_labels"],
    ["images_train", "labels_train", "images_test", "labels_test"],
    ["train_x", "train_y", "test_x", "test_y"],
    ["X_train", "Y_train", "X_test", "Y_test"],
    ["arr_0", "arr_1", "arr_2", "arr_3"],
];

/// Names of images and labels that are all one part.
const WHOLE: [[&str; 2]; 5] = [["images", "labels"], ["x", "y"], ["X", "y"], ["data", "labels"], ["data", "target"]];

/// Images and labels.
pub(super) type Part = (Pixels, Vec<u16>);

/// The parts of a file: to train on, and to test on where there are any.
///
/// # Errors
/// [`Error::Corrupt`] for what is no such file, [`Error::Unusable`] where no names go together.
pub(super) fn read(path: &Path) -> Result<Vec<Part>> {
    let mut zip = Zip::open(path)?;
    let find = |name: &str| zip.members.iter().find(|m| m.name.strip_suffix(".npy") == Some(name)).cloned();
    let there = |names: &[&str]| names.iter().map(|name| find(name)).collect::<Option<Vec<Member>>>();
    let four = NAMES.iter().find_map(|names| there(names));
    let two = || NAMES.iter().map(|names| &names[..2]).chain(WHOLE.iter().map(|names| &names[..])).find_map(there);
    let Some(members) = four.or_else(two) else {
        let held: Vec<String> = zip
            .members
            .iter()
            .take(12)
            .map(|m| m.name.trim_end_matches(".npy").escape_debug().take(40).collect())
            .collect();
        return Err(Error::unusable(
            path,
            format!("it holds {}", if held.is_empty() { "nothing".into() } else { held.join(", ") }),
            "name the arrays x_train, y_train, x_test and y_test, or images and labels",
        ));
    };
    let mut parts = Vec::new();
    for pair in members.chunks_exact(2) {
        let mut array = |member: &Member| -> Result<Npy> {
            let bytes = zip.read(member, room(), MAX_HEADER, |head| Npy::fits(head, member.bytes))?;
            Npy::parse(bytes).map_err(|problem| wrong(path, member, problem))
        };
        let (images, labels) = (array(&pair[0])?, array(&pair[1])?);
        let images = array::pixels(images).map_err(|problem| wrong(path, &pair[0], problem))?;
        let labels = array::labels(&labels).map_err(|problem| wrong(path, &pair[1], problem))?;
        let n = images.bytes.len() / images.shape.iter().product::<usize>();
        if n != labels.len() {
            let name = format!("{} and {}", pair[0].name, pair[1].name);
            let fault = Box::new(Fault::Count { images: n, labels: labels.len() });
            return Err(Error::corrupt(path, Place::Whole, Fault::Member { name, fault }));
        }
        parts.push((images, labels));
    }
    Ok(parts)
}

fn wrong(path: &Path, member: &Member, problem: String) -> Error {
    let name = member.name.escape_debug().take(60).collect();
    Error::corrupt(path, Place::Whole, Fault::Member { name, fault: Box::new(Fault::Decode(problem)) })
}
