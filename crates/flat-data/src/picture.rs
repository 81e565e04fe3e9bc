//! One PNG or JPEG image to bytes, channels first.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::Fault;
use crate::guard::guarded;

/// Most bytes an image decoder may allocate.
const MAX_ALLOC: u64 = 16 << 20;

/// Appends the pixels of an encoded image of `shape` (channels 1 or 3, height, width) to `out`, channels first. Grey
/// images become colour and the reverse, as the number of channels asks.
pub(crate) fn decode(encoded: &[u8], shape: [usize; 3], out: &mut Vec<u8>) -> Result<(), Fault> {
    let [channels, height, width] = shape;
    let image = guarded("image", || read(encoded, height, width))?;
    if channels == 1 {
        out.extend_from_slice(image.into_luma8().as_raw());
    } else {
        let pixels = image.into_rgb8();
        for channel in 0..channels {
            out.extend(pixels.as_raw().iter().skip(channel).step_by(3));
        }
    }
    Ok(())
}

fn read(encoded: &[u8], height: usize, width: usize) -> Result<DynamicImage, Fault> {
    let failed = |what: &str| Fault::Decode(format!("image: {what}"));
    let mut reader =
        ImageReader::new(Cursor::new(encoded)).with_guessed_format().map_err(|e| failed(&e.to_string()))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(failed("neither PNG nor JPEG"));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|e| failed(&e.to_string()))?;
    let (found_width, found_height) = decoder.dimensions();
    if (found_width as usize, found_height as usize) != (width, height) {
        let (found_width, found_height) = (found_width.into(), found_height.into());
        return Err(Fault::ImageSize { found_width, found_height, width, height });
    }
    DynamicImage::from_decoder(decoder).map_err(|e| failed(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, RgbImage};

    fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).expect("encode");
        bytes.into_inner()
    }

    fn decoded(encoded: &[u8], shape: [usize; 3]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        decode(encoded, shape, &mut out).map(|()| out)
    }

    /// Red is the column, green the row, blue 7: 3 wide and 2 high.
    fn picture() -> RgbImage {
        RgbImage::from_fn(3, 2, |x, y| image::Rgb([x as u8, y as u8, 7]))
    }

    #[test]
    fn a_png_keeps_its_pixels_and_its_orientation() {
        let pixels = decoded(&encode(picture(), ImageFormat::Png), [3, 2, 3]).expect("png");
        assert_eq!(pixels, [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 7, 7, 7, 7, 7, 7]);
        let grey = GrayImage::from_fn(3, 2, |x, y| image::Luma([(10 * y + x) as u8]));
        let pixels = decoded(&encode(grey, ImageFormat::Png), [1, 2, 3]).expect("png");
        assert_eq!(pixels, [0, 1, 2, 10, 11, 12]);
    }

    #[test]
    fn a_jpeg_of_one_colour_keeps_it_within_a_rounding() {
        let image = RgbImage::from_pixel(32, 32, image::Rgb([200, 100, 50]));
        let pixels = decoded(&encode(image, ImageFormat::Jpeg), [3, 32, 32]).expect("jpeg");
        for (channel, expected) in [200i16, 100, 50].into_iter().enumerate() {
            // a constant block has one coefficient, quantised in steps of 2 (quality 75): 2 levels in each channel
            let found = &pixels[channel * 1024..(channel + 1) * 1024];
            assert!(found.iter().all(|&p| (i16::from(p) - expected).abs() <= 2), "{channel}: {:?}", &found[..4]);
        }
    }

    #[test]
    fn an_image_of_another_size_is_an_error() {
        let fault = decoded(&encode(picture(), ImageFormat::Png), [3, 3, 2]).expect_err("transposed");
        assert_eq!(fault, Fault::ImageSize { found_width: 3, found_height: 2, width: 2, height: 3 });
    }

    #[test]
    fn damaged_images_are_errors() {
        assert!(matches!(decoded(b"no image", [3, 2, 3]), Err(Fault::Decode(_))));
        assert!(matches!(decoded(b"", [3, 2, 3]), Err(Fault::Decode(_))));
        assert!(matches!(decoded(b"GIF89a\x03\0\x02\0\0\0\0", [3, 2, 3]), Err(Fault::Decode(_))));
        let png = encode(picture(), ImageFormat::Png);
        // the last 12 bytes are the empty end marker
        for cut in 0..png.len() - 12 {
            assert!(decoded(&png[..cut], [3, 2, 3]).is_err(), "cut at {cut}");
        }
        let mut wrong = png.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 0x55;
        assert!(matches!(decoded(&wrong, [3, 2, 3]), Err(Fault::Decode(_))));
    }

    #[test]
    fn no_single_damaged_byte_of_an_image_escapes_as_a_panic() {
        let image = RgbImage::from_fn(8, 8, |x, y| image::Rgb([(31 * x) as u8, (17 * y) as u8, (x * y) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let bytes = encode(image.clone(), format);
            for i in 0..bytes.len() {
                for flip in [0x01, 0x80, 0xff] {
                    let mut wrong = bytes.clone();
                    wrong[i] ^= flip;
                    // either is fine: what counts is that it returns, with the right size where it succeeds
                    if let Ok(pixels) = decoded(&wrong, [3, 8, 8]) {
                        assert_eq!(pixels.len(), 192);
                    }
                }
            }
        }
    }
}
