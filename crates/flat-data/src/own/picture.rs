//! A PNG or JPEG file of any sort and size to bytes, channels first.

use std::io::{BufReader, Cursor};
use std::path::Path;

use flat_core::file;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::guard::guarded;
use crate::source::whole;
use crate::{Error, Fault, Place, Result};

/// Most bytes of a file.
const MAX_FILE: u64 = 1 << 28;
/// Most pixels of an image.
const MAX_PIXELS: u64 = 1 << 26;

/// What the head of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Height and width.
    pub(super) sides: [usize; 2],
    /// Whether it has colours.
    pub(super) colored: bool,
}

fn failed(what: impl std::fmt::Display) -> Fault {
    Fault::Decode(format!("image: {what}"))
}

fn decoder<'a>(reader: impl std::io::BufRead + std::io::Seek + 'a) -> Result<Box<dyn ImageDecoder + 'a>, Fault> {
    let mut reader = ImageReader::new(reader).with_guessed_format().map_err(failed)?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(failed("neither PNG nor JPEG"));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    reader.limits(limits);
    Ok(Box::new(reader.into_decoder().map_err(failed)?))
}

fn head_of(decoder: &dyn ImageDecoder) -> Result<Head, Fault> {
    let (width, height) = decoder.dimensions();
    let found = u64::from(width) * u64::from(height);
    if found > MAX_PIXELS {
        return Err(Fault::TooLarge { what: "the number of pixels", found, limit: MAX_PIXELS });
    }
    let grey = matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16);
    Ok(Head { sides: [height as usize, width as usize], colored: !grey })
}

/// Size and colours of a file, from its first bytes.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] for what is no PNG or JPEG or has too many pixels.
pub(super) fn head(path: &Path) -> Result<Head> {
    let file = BufReader::new(file::open(path).map_err(Error::io(path))?);
    let read = guarded("image", || head_of(decoder(file)?.as_ref()));
    read.map_err(|fault: Fault| Error::corrupt(path, Place::Whole, fault))
}

/// The pixels of a file: its height and width, then `channels` (1 or 3) planes of them. Colours become grey as
/// Pillow makes them, 16 bits become 8, and transparency is dropped.
///
/// # Errors
/// As [`head`]; a file that is cut short or damaged.
pub(super) fn pixels(path: &Path, channels: usize) -> Result<([usize; 2], Vec<u8>)> {
    let bytes = whole(path, MAX_FILE)?;
    let image = guarded("image", || {
        let decoder = decoder(Cursor::new(&bytes))?;
        head_of(decoder.as_ref())?;
        if bytes.starts_with(&[0xff, 0xd8]) && is_cut(&bytes) {
            return Err(failed("the JPEG has no end: it is cut short"));
        }
        DynamicImage::from_decoder(decoder).map_err(failed)
    });
    let image = image.map_err(|fault: Fault| Error::corrupt(path, Place::Whole, fault))?;
    let sides = [image.height() as usize, image.width() as usize];
    let grey = matches!(image, DynamicImage::ImageLuma8(_));
    Ok((
        sides,
        match (channels, grey) {
            (1, true) => image.into_luma8().into_raw(),
            (1, false) => image.into_rgb8().as_raw().chunks_exact(3).map(|p| grey_of([p[0], p[1], p[2]])).collect(),
            _ => {
                let pixels = image.into_rgb8();
                (0..3).flat_map(|c| pixels.as_raw().iter().skip(c).step_by(3).copied()).collect()
            }
        },
    ))
}

/// Grey of red, green and blue by ITU-R 601-2, rounded as in Pillow.
pub(super) fn grey_of(pixel: [u8; 3]) -> u8 {
    let sum: u32 = pixel.into_iter().zip([19595, 38470, 7471]).map(|(p, w)| u32::from(p) * w).sum();
    ((sum + 0x8000) >> 16) as u8
}

/// Whether no end follows the last scan of a JPEG. Decoders fill up what is missing with grey.
fn is_cut(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) <= last(0xda)
}
