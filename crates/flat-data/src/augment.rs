//! Random crop, flip and cutout.

use std::fmt;
use std::str::FromStr;

use flat_core::Stream;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Pixels of padding on each side before a random crop.
pub const CROP_PADDING: usize = 4;

/// Which augmentations training images get, in this order. What an example gets depends on the seed, the epoch and the
/// example's index alone, and turning one augmentation on or off does not change what another one draws.
///
/// Parses from a comma list: `crop,flip,cutout`, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Pads each side with [`CROP_PADDING`] black pixels (0 before normalising, as in PyTorch's
    /// `transforms.RandomCrop(size, padding=4)`) and cuts the image's size out at a random place.
    pub crop: bool,
    /// Mirrors left and right with probability 1/2. Not for digits.
    pub flip: bool,
    /// Sets a square around a random pixel to 0, the mean after normalising. Its side is half the image's (16 for
    /// 32x32), and it is cut off at the borders (DeVries and Taylor 2017, arXiv 1708.04552, length 16 for CIFAR-10).
    pub cutout: bool,
}

impl Augment {
    /// How a choice is written: names with commas between them, or `none`.
    pub const FORMS: &'static str = "crop,flip,cutout|none";

    /// No augmentation.
    pub const NONE: Self = Self { crop: false, flip: false, cutout: false };

    /// Whether any is on.
    pub fn is_any(self) -> bool {
        self != Self::NONE
    }

    /// Draws what one image of this size gets.
    pub(crate) fn plan(self, mut stream: Stream, height: usize, width: usize) -> Plan {
        // all are drawn, whichever are on
        let shifts = [stream.below(2 * CROP_PADDING + 1), stream.below(2 * CROP_PADDING + 1)];
        let flip = stream.sign() < 0.0;
        let centre = [stream.below(height), stream.below(width)];
        let hole = |centre: usize, side: usize| {
            let start = centre as isize - side as isize / 4;
            (start.max(0) as usize, (start + side as isize / 2).clamp(0, side as isize) as usize)
        };
        let shift = |drawn: usize| if self.crop { drawn as isize - CROP_PADDING as isize } else { 0 };
        Plan {
            down: shift(shifts[0]),
            right: shift(shifts[1]),
            flip: self.flip && flip,
            hole: self.cutout.then(|| (hole(centre[0], height), hole(centre[1], width))),
        }
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(self.crop, "crop"), (self.flip, "flip"), (self.cutout, "cutout")];
        let on: Vec<_> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.pad(&if on.is_empty() { "none".to_string() } else { on.join(",") })
    }
}

impl FromStr for Augment {
    type Err = Error;

    fn from_str(list: &str) -> Result<Self, Error> {
        let mut augment = Self::NONE;
        if matches!(list.trim(), "" | "none") {
            return Ok(augment);
        }
        for name in list.split(',') {
            match name.trim() {
                "crop" => augment.crop = true,
                "flip" => augment.flip = true,
                "cutout" => augment.cutout = true,
                other => return Err(Error::UnknownAugmentation(other.to_string())),
            }
        }
        Ok(augment)
    }
}

/// Rows and columns, each from a first to before a last.
type Hole = ((usize, usize), (usize, usize));

/// What one image gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// Row and column of the source that end up at the top left, before flipping; negative in the padding.
    down: isize,
    right: isize,
    flip: bool,
    hole: Option<Hole>,
}

impl Plan {
    /// Writes one channel of `height` rows to `out`, each byte through `table`; the padding is byte 0.
    pub(crate) fn apply<T: Copy>(&self, source: &[u8], height: usize, table: &[T; 256], out: &mut [T]) {
        if (self.down, self.right, self.flip) == (0, 0, false) {
            out.iter_mut().zip(source).for_each(|(out, &byte)| *out = table[usize::from(byte)]);
            return;
        }
        let width = source.len() / height;
        // the columns of the output that have a source, before flipping
        let (first, last) =
            ((-self.right).max(0) as usize, (width as isize - self.right).clamp(0, width as isize) as usize);
        for (y, row) in out.chunks_exact_mut(width).enumerate() {
            row.fill(table[0]);
            let Some(from) = usize::try_from(y as isize + self.down).ok().filter(|&from| from < height) else {
                continue;
            };
            if first < last {
                let start = from * width + first.saturating_add_signed(self.right);
                let pixels = &source[start..start + (last - first)];
                row[first..last].iter_mut().zip(pixels).for_each(|(out, &byte)| *out = table[usize::from(byte)]);
            }
            if self.flip {
                row.reverse();
            }
        }
    }

    /// The same in numbers for another device, for images `width` wide: row and column of the output become row
    /// `row + down` and column `step * column + start` of the source; rows top to before bottom and columns left to before
    /// right of the output are the hole.
    pub(crate) fn numbers(&self, width: usize) -> [i64; 7] {
        let (step, start) = if self.flip { (-1, width as isize - 1 + self.right) } else { (1, self.right) };
        let ((top, bottom), (left, right)) = self.hole.unwrap_or_default();
        [self.down as i64, step, start as i64, top as i64, bottom as i64, left as i64, right as i64]
    }

    /// Writes `blank` over the hole, in one channel `width` wide.
    pub(crate) fn blank<T: Copy>(&self, width: usize, blank: T, out: &mut [T]) {
        if let Some(((top, bottom), (left, right))) = self.hole {
            for row in out.chunks_exact_mut(width).take(bottom).skip(top) {
                row[left..right].fill(blank);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_core::{Purpose, Streams};

    const IDENTITY: fn() -> [u8; 256] = || std::array::from_fn(|i| i as u8);

    fn stream(i: u64) -> Stream {
        Streams::new(5).at2(Purpose::Augment, 0, i)
    }

    fn applied(plan: Plan, source: &[u8], height: usize) -> Vec<u8> {
        let mut out = vec![99; source.len()];
        plan.apply(source, height, &IDENTITY(), &mut out);
        plan.blank(source.len() / height, 77, &mut out);
        out
    }

    #[test]
    fn lists_parse_and_print_and_a_wrong_name_is_answered_with_the_right_ones() {
        for text in ["none", "crop", "crop,flip", "crop,flip,cutout", "cutout"] {
            assert_eq!(text.parse::<Augment>().expect(text).to_string(), text);
        }
        assert_eq!(
            " flip , crop".parse::<Augment>().expect("spaces"),
            Augment { crop: true, flip: true, cutout: false }
        );
        let error = "crop,mixup".parse::<Augment>().expect_err("mixup").to_string();
        assert!(error.contains("`mixup`") && error.contains("cutout"), "{error}");
    }

    #[test]
    fn shifts_pad_with_black_and_flips_mirror() {
        let source = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        let plan = |down, right, flip| Plan { down, right, flip, hole: None };
        assert_eq!(applied(plan(0, 0, false), &source, 3), source);
        assert_eq!(applied(plan(0, 0, true), &source, 3), [3, 2, 1, 6, 5, 4, 9, 8, 7]);
        assert_eq!(applied(plan(1, 1, false), &source, 3), [5, 6, 0, 8, 9, 0, 0, 0, 0]);
        assert_eq!(applied(plan(-1, -2, false), &source, 3), [0, 0, 0, 0, 0, 1, 0, 0, 4]);
        assert_eq!(applied(plan(1, 1, true), &source, 3), [0, 6, 5, 0, 9, 8, 0, 0, 0]);
        assert_eq!(applied(plan(4, 0, false), &source, 3), [0; 9]);
        assert_eq!(applied(plan(0, -4, false), &source, 3), [0; 9]);
    }

    #[test]
    fn a_crop_agrees_with_cutting_from_a_padded_copy() {
        let (h, w) = (5, 6);
        let source: Vec<u8> = (1..=30).collect();
        let side = w + 2 * CROP_PADDING;
        let mut padded = vec![0; (h + 2 * CROP_PADDING) * side];
        for y in 0..h {
            padded[(y + CROP_PADDING) * side + CROP_PADDING..][..w].copy_from_slice(&source[y * w..][..w]);
        }
        for dy in 0..=2 * CROP_PADDING {
            for dx in 0..=2 * CROP_PADDING {
                let cut: Vec<u8> = (0..h).flat_map(|y| padded[(y + dy) * side + dx..][..w].to_vec()).collect();
                let shift = |d: usize| d as isize - CROP_PADDING as isize;
                let plan = Plan { down: shift(dy), right: shift(dx), flip: false, hole: None };
                assert_eq!(applied(plan, &source, h), cut, "{dy} {dx}");
            }
        }
    }

    #[test]
    fn cutout_blanks_a_square_of_half_the_side_cut_off_at_the_borders() {
        let only = Augment { cutout: true, ..Augment::NONE };
        let (mut whole, mut cut) = (0, 0);
        for i in 0..200 {
            let plan = only.plan(stream(i), 32, 32);
            let ((top, bottom), (left, right)) = plan.hole.expect("hole");
            assert!((8..=16).contains(&(bottom - top)) && (8..=16).contains(&(right - left)), "{plan:?}");
            let blanked = applied(plan, &[1; 1024], 32).iter().filter(|&&p| p == 77).count();
            assert_eq!(blanked, (bottom - top) * (right - left));
            if blanked == 256 { whole += 1 } else { cut += 1 }
        }
        // a centre 8 from every border, (17/32)^2 = 28 %, leaves the square whole
        assert!(whole > 20 && cut > 20, "{whole} {cut}");
    }

    #[test]
    fn one_augmentation_does_not_change_what_another_draws() {
        for i in 0..50 {
            let all = Augment { crop: true, flip: true, cutout: true }.plan(stream(i), 32, 32);
            let crop = Augment { crop: true, ..Augment::NONE }.plan(stream(i), 32, 32);
            let flip = Augment { flip: true, ..Augment::NONE }.plan(stream(i), 32, 32);
            let cutout = Augment { cutout: true, ..Augment::NONE }.plan(stream(i), 32, 32);
            assert_eq!(all, Plan { down: crop.down, right: crop.right, flip: flip.flip, hole: cutout.hole });
            assert_eq!(Augment::NONE.plan(stream(i), 32, 32), Plan::default());
        }
    }

    #[test]
    fn every_shift_and_both_sides_occur_about_equally_often() {
        let augment = Augment { crop: true, flip: true, cutout: false };
        let n = 9000;
        let mut counts = [[0u32; 9]; 2];
        let mut flips = 0;
        for i in 0..n {
            let plan = augment.plan(stream(i), 32, 32);
            counts[0][(plan.down + 4) as usize] += 1;
            counts[1][(plan.right + 4) as usize] += 1;
            flips += u32::from(plan.flip);
        }
        // binomial: 1000 +- 29.8 and 4500 +- 47.4; five standard deviations
        assert!(counts.as_flattened().iter().all(|&c| c.abs_diff(1000) < 150), "{counts:?}");
        assert!(flips.abs_diff(4500) < 240, "{flips}");
    }
}
