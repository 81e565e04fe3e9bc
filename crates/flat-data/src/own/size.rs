//! The size that images are brought to, and how.

use std::fmt;
use std::str::FromStr;

/// Longest side of an image that is asked for.
const MOST: usize = 1 << 13;

/// The size that images are brought to: bilinear with antialiasing, as Pillow and torchvision resize.
///
/// ```
/// use flat_data::ImageSize;
///
/// assert_eq!("32".parse(), Ok(ImageSize::Square(32)));
/// assert_eq!("28x40".parse(), Ok(ImageSize::Exact { height: 28, width: 40 }));
/// assert!("0".parse::<ImageSize>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSize {
    /// The shorter side becomes this long, then the square in the centre is taken.
    Square(usize),
    /// Both sides, whatever the proportions were.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl ImageSize {
    /// How it is written.
    pub const FORMS: &'static str = "N|HxW";

    /// Of images that have this height and width.
    pub fn of([height, width]: [usize; 2]) -> Self {
        if height == width { Self::Square(height) } else { Self::Exact { height, width } }
    }

    /// Height and width.
    pub fn sides(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Exact { height, width } => [height, width],
        }
    }

    /// The sides that an image is resized to before the centre is taken.
    pub(super) fn before_crop(self, [height, width]: [usize; 2]) -> [usize; 2] {
        let long = |n: usize, long: usize, short: usize| (n as u64 * long as u64 / short.max(1) as u64) as usize;
        match self {
            Self::Square(n) if width <= height => [long(n, height, width), n],
            Self::Square(n) => [n, long(n, width, height)],
            Self::Exact { height, width } => [height, width],
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Square(side) => write!(f, "{side}"),
            Self::Exact { height, width } => write!(f, "{height}x{width}"),
        }
    }
}

impl FromStr for ImageSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.trim().parse().ok().filter(|n| (1..=MOST).contains(n));
        let size = match text.split_once(['x', 'X']) {
            None => side(text).map(Self::Square),
            Some((height, width)) => side(height).zip(side(width)).map(|(height, width)| Self::Exact { height, width }),
        };
        size.ok_or_else(|| format!("give a side from 1 to {MOST} as in 64, or height and width as in 48x64"))
    }
}
