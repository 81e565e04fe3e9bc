//! Bilinear resizing with antialiasing of 8-bit images, in the fixed-point arithmetic of Pillow's `Image.resize`.

use super::size::ImageSize;

/// Bits after the point of a weight.
const PRECISION: u32 = 32 - 8 - 2;

/// The first source pixel of an output pixel, and the weights of it and those that follow.
type Weights = (usize, Vec<i32>);

/// The weights of every output pixel along one side.
fn weights(from: usize, to: usize) -> Vec<Weights> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    let of = |x: usize| {
        let centre = (x as f64 + 0.5) * scale;
        let first = ((centre - support + 0.5) as i64).max(0) as usize;
        let end = ((centre + support + 0.5) as i64).clamp(0, from as i64) as usize;
        let triangle = |i: usize| (1.0 - ((i as f64 - centre + 0.5) / support).abs()).max(0.0);
        let all: Vec<f64> = (first..end).map(triangle).collect();
        let sum: f64 = all.iter().sum();
        (first, all.iter().map(|w| (0.5 + w / sum * f64::from(1 << PRECISION)) as i32).collect())
    };
    (0..to).map(of).collect()
}

/// The weighted sum of bytes.
fn sum(pixels: impl Iterator<Item = u8>, weights: &[i32]) -> u8 {
    let start = 1 << (PRECISION - 1);
    let sum = pixels.zip(weights).fold(start, |sum: i32, (p, w)| sum.wrapping_add(i32::from(p).wrapping_mul(*w)));
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// One channel of `from` height and width at another size.
fn plane(source: &[u8], from: [usize; 2], to: [usize; 2]) -> Vec<u8> {
    let across = if from[1] == to[1] {
        source.to_vec()
    } else {
        let weights = weights(from[1], to[1]);
        let row = |row: &[u8]| -> Vec<u8> {
            weights.iter().map(|(first, all)| sum(row[*first..].iter().copied(), all)).collect()
        };
        source.chunks_exact(from[1]).flat_map(row).collect()
    };
    if from[0] == to[0] {
        return across;
    }
    let width = to[1];
    let row = |(first, all): &Weights| -> Vec<u8> {
        let column = |x: usize| sum(across[first * width + x..].iter().step_by(width).copied(), all);
        (0..width).map(column).collect()
    };
    weights(from[0], to[0]).iter().flat_map(row).collect()
}

/// Writes the channels of an image, one after the other, at this size into `out`.
pub(super) fn fit(planes: &[u8], from: [usize; 2], size: ImageSize, out: &mut [u8]) {
    let to = size.sides();
    if from == to {
        out.copy_from_slice(planes);
        return;
    }
    let before = size.before_crop(from);
    let [top, left] = [0, 1].map(|side| centre(before[side] - to[side]));
    let channels = planes.chunks_exact(from[0] * from[1]).zip(out.chunks_exact_mut(to[0] * to[1]));
    for (source, out) in channels {
        let resized = plane(source, from, before);
        let rows = resized.chunks_exact(before[1]).skip(top);
        rows.zip(out.chunks_exact_mut(to[1])).for_each(|(row, out)| out.copy_from_slice(&row[left..left + to[1]]));
    }
}

/// Half of what is cut off, rounded to even as Python's `round` does.
fn centre(over: usize) -> usize {
    let half = over / 2;
    half + (over % 2) * (half % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels that a script can make too: `(x * 37 + y * 101 + x * y * 7) % 256`.
    fn picture([height, width]: [usize; 2]) -> Vec<u8> {
        (0..height * width).map(|i| (i / width, i % width)).map(|(y, x)| (x * 37 + y * 101 + x * y * 7) as u8).collect()
    }

    fn fitted(from: [usize; 2], size: ImageSize) -> Vec<u8> {
        let [height, width] = size.sides();
        let mut out = vec![0; height * width];
        fit(&picture(from), from, size, &mut out);
        out
    }

    #[test]
    fn images_are_resized_and_cropped_to_the_bytes_that_pillow_and_torchvision_make() {
        // tests/reference/resize.py prints these
        for (from, size, expected) in [
            ([7, 9], "4", &[75, 130, 119, 143, 158, 140, 117, 161, 142, 117, 119, 120, 150, 162, 124, 139][..]),
            ([9, 7], "5x3", &[89, 131, 140, 152, 132, 145, 136, 120, 118, 146, 140, 133, 116, 132, 150]),
            ([64, 64], "3", &[125, 125, 125, 123, 125, 132, 128, 125, 128]),
            (
                [40, 31],
                "5",
                &[
                    131, 132, 131, 128, 126, 123, 124, 127, 122, 125, 117, 126, 122, 116, 124, 127, 124, 131, 123, 130,
                    121, 125, 126, 93, 124,
                ],
            ),
            (
                [13, 29],
                "6",
                &[
                    127, 138, 141, 108, 151, 114, 141, 144, 125, 140, 109, 167, 123, 111, 143, 136, 106, 153, 116, 120,
                    132, 138, 124, 132, 112, 140, 110, 128, 139, 130, 154, 145, 122, 125, 136, 116,
                ],
            ),
            (
                [3, 4],
                "6",
                &[
                    9, 28, 46, 65, 83, 102, 35, 55, 74, 93, 112, 132, 86, 108, 129, 150, 171, 192, 138, 161, 168, 158,
                    165, 188, 189, 214, 191, 119, 96, 120, 215, 240, 202, 99, 61, 86,
                ],
            ),
        ] {
            assert_eq!(fitted(from, size.parse().expect("a size")), expected, "{from:?} to {size}");
        }
    }

    #[test]
    fn an_image_of_the_right_size_is_left_as_it_is() {
        assert_eq!(fitted([5, 5], ImageSize::Square(5)), picture([5, 5]));
    }
}
