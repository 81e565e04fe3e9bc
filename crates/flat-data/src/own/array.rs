//! Arrays of images and labels: which axis is which, and numbers to bytes.

use super::npy::Npy;
use super::picture::grey_of;

/// Most classes: a label takes two bytes.
pub(super) const MAX_CLASSES: usize = 1 << 16;

/// Images as bytes, channels first, and what was made of them.
pub(super) struct Pixels {
    /// All bytes.
    pub(super) bytes: Vec<u8>,
    /// Channels, height, width.
    pub(super) shape: [usize; 3],
    /// How the numbers became bytes; empty where they are bytes.
    pub(super) note: Option<String>,
}

/// Where the channels of an array `(n, ...)` of images are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// There are none, or they come before height and width.
    First,
    /// They are the last axis, of so many.
    Last(usize),
}

/// Channels, height and width of an array of images of this shape, and where the channels are.
fn sides(shape: &[usize]) -> Result<([usize; 3], Axis), String> {
    let root = |n: usize| (1..=n.isqrt()).rfind(|side| side * side == n);
    match *shape {
        [_, h, w] => Ok(([1, h, w], Axis::First)),
        [_, pixels] => match root(pixels) {
            Some(side) => Ok(([1, side, side], Axis::First)),
            None => Err(format!(
                "rows of {pixels} pixels are no square images: give the shape (n, height, width, channels)"
            )),
        },
        [_, c, h, w] => match (matches!(c, 1 | 3), matches!(w, 1 | 3 | 4)) {
            (true, true) => Err(format!(
                "the shape {shape:?} has channels first or last, which its sizes do not tell: give another layout"
            )),
            (true, false) => Ok(([c, h, w], Axis::First)),
            (false, true) => Ok(([if w == 4 { 3 } else { w }, c, h], Axis::Last(w))),
            (false, false) => Err(format!("the shape {shape:?} has no axis of 1, 3 or 4 channels, first or last")),
        },
        _ => Err(format!(
            "the shape {shape:?} is not of images: give (n, height, width, channels) or (n, channels, height, width)"
        )),
    }
}

/// The images in an array of NumPy.
pub(super) fn pixels(array: Npy) -> Result<Pixels, String> {
    let shape = array.shape().to_vec();
    let (bytes, note) = match array.is_bytes() {
        true => (array.into_bytes(), None),
        false => scaled(&array)?,
    };
    let (bytes, shape) = arranged(bytes, &shape)?;
    Ok(Pixels { bytes, shape, note })
}

/// The images in bytes of this shape, channels first.
pub(super) fn arranged(bytes: Vec<u8>, shape: &[usize]) -> Result<(Vec<u8>, [usize; 3]), String> {
    let (sides, axis) = sides(shape)?;
    if shape.contains(&0) {
        return Err(format!("the shape {shape:?} holds no image"));
    }
    let [channels, height, width] = sides;
    let bytes = match axis {
        Axis::First | Axis::Last(1) => bytes,
        Axis::Last(stride) => {
            let mut planes = Vec::with_capacity(bytes.len() / stride * channels);
            for image in bytes.chunks_exact(height * width * stride) {
                (0..channels).for_each(|c| planes.extend(image[c..].iter().step_by(stride)));
            }
            planes
        }
    };
    Ok((bytes, sides))
}

/// Grey images as colours, or colours as grey, where `wanted` is another number of channels; `plane` is height times width.
pub(super) fn converted(bytes: Vec<u8>, [channels, wanted]: [usize; 2], plane: usize) -> Vec<u8> {
    match (channels, wanted) {
        (1, 3) => bytes.chunks_exact(plane).flat_map(|image| [image; 3].concat()).collect(),
        (3, 1) => {
            let pixel = |image: &[u8], i: usize| grey_of([image[i], image[plane + i], image[2 * plane + i]]);
            let image = |image: &[u8]| (0..plane).map(|i| pixel(image, i)).collect::<Vec<u8>>();
            bytes.chunks_exact(3 * plane).flat_map(image).collect()
        }
        _ => bytes,
    }
}

/// Numbers as bytes: those of [0, 1] times 255, those of [0, 255] as they are, both rounded.
fn scaled(array: &Npy) -> Result<(Vec<u8>, Option<String>), String> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (i, x) in array.numbers().enumerate() {
        if !x.is_finite() {
            return Err(format!("pixel {i} is {x}"));
        }
        (low, high) = (low.min(x), high.max(x));
    }
    let factor = match (array.is_float(), low, high) {
        (_, low, high) if low < 0.0 || high > 255.0 => {
            return Err(format!(
                "its pixels are from {low} to {high}: give them in [0, 255] or [0, 1], as they were before they were normalised"
            ));
        }
        (true, _, high) if high <= 1.0 => 255.0,
        _ => 1.0,
    };
    let mut worst = 0f64;
    let byte = |x: f64| {
        let y = x * factor;
        worst = worst.max((y - y.round()).abs());
        y.round() as u8
    };
    let bytes = array.numbers().map(byte).collect();
    let range = if factor == 1.0 { "[0, 255]" } else { "[0, 1]" };
    // an f32 in [0, 1] that was a byte over 255 is off by a rounding
    let rounded = if worst < 1e-4 { "without loss" } else { "rounded to 256 levels" };
    Ok((bytes, array.is_float().then(|| format!("pixels in {range} became bytes, {rounded}"))))
}

/// The labels in an array of NumPy.
pub(super) fn labels(array: &Npy) -> Result<Vec<u16>, String> {
    if !matches!(array.shape(), [_] | [_, 1]) {
        return Err(format!(
            "labels of the shape {:?}: give one whole number an image, not one-hot rows",
            array.shape()
        ));
    }
    let label = |(i, x): (usize, f64)| match x {
        x if x.fract() == 0.0 && (0.0..MAX_CLASSES as f64).contains(&x) => Ok(x as u16),
        x => Err(format!("label {i} is {x}: give whole numbers from 0 to {}", MAX_CLASSES - 1)),
    };
    array.numbers().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_found_first_and_last_and_alpha_is_dropped() {
        assert_eq!(sides(&[5, 28, 20]), Ok(([1, 28, 20], Axis::First)));
        assert_eq!(sides(&[5, 3, 28, 20]), Ok(([3, 28, 20], Axis::First)));
        assert_eq!(sides(&[5, 28, 20, 3]), Ok(([3, 28, 20], Axis::Last(3))));
        assert_eq!(sides(&[5, 64]), Ok(([1, 8, 8], Axis::First)));
        for bad in [&[5, 3, 28, 3][..], &[5, 65], &[5], &[5, 7, 8, 9], &[1, 2, 3, 4, 5]] {
            assert!(sides(bad).is_err(), "{bad:?}");
        }
        // one image of 2x2 pixels of red, green, blue, alpha
        let pixels = (0..4u8).flat_map(|i| [i, 10 + i, 20 + i, 255]).collect();
        let planes = (0..3u8).flat_map(|c| (0..4).map(move |i| 10 * c + i)).collect();
        assert_eq!(arranged(pixels, &[1, 2, 2, 4]), Ok((planes, [3, 2, 2])));
    }
}
