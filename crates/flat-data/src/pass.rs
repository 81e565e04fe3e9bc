//! Bytes to normalised numbers: on the CPU in one pass, for other devices there.

use candle_core::{DType, Device, Tensor};

use crate::augment::Plan;
use crate::{Normalisation, Result, Split};

/// How the images of a batch are gathered, augmented, scaled and normalised.
#[derive(Debug)]
pub(crate) enum Pass {
    /// Here, by a table a channel.
    F32(Vec<[f32; 256]>),
    /// Here, in f64.
    F64(Vec<[f64; 256]>),
    /// Gathered and augmented here, then on the device bytes * scale + shift, each (1, channels, 1, 1).
    Device {
        /// 1 / (255 std).
        scale: Tensor,
        /// -mean / std.
        shift: Tensor,
    },
}

impl Pass {
    /// The pass for batches of this dtype on this device.
    pub(crate) fn new(normalisation: &Normalisation, dtype: DType, device: &Device) -> Result<Self> {
        match (device.is_cpu(), dtype) {
            (false, _) => Self::on_device(normalisation, dtype, device),
            (true, DType::F64) => Ok(Self::F64(normalisation.table())),
            (true, _) => {
                let tables = normalisation.table();
                Ok(Self::F32(tables.iter().map(|table| table.map(|x| x as f32)).collect()))
            }
        }
    }

    fn on_device(normalisation: &Normalisation, dtype: DType, device: &Device) -> Result<Self> {
        let Normalisation { mean, std } = normalisation;
        // half precision could not tell neighbouring byte values apart: it is rounded to at the end
        let dtype = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let tensor = |values: Vec<f64>| {
            Tensor::new(values, &Device::Cpu)?.reshape((1, (), 1, 1))?.to_dtype(dtype)?.to_device(device)
        };
        let scale = tensor(std.iter().map(|std| 1.0 / (255.0 * std)).collect())?;
        let shift = tensor(mean.iter().zip(std).map(|(mean, std)| -mean / std).collect())?;
        Ok(Self::Device { scale, shift })
    }

    /// (n, channels, height, width), f32 or f64: the images with these indices, each with its plan.
    pub(crate) fn run(&self, split: &Split, indices: &[usize], plans: &[Plan], device: &Device) -> Result<Tensor> {
        let (n, [channels, height, width]) = (indices.len(), split.shape());
        let shape = (n, channels, height, width);
        match self {
            Self::F32(table) => Ok(Tensor::from_vec(fill(split, indices, plans, table, Some(0f32)), shape, device)?),
            Self::F64(table) => Ok(Tensor::from_vec(fill(split, indices, plans, table, Some(0f64)), shape, device)?),
            Self::Device { scale, shift } => {
                let identity = vec![std::array::from_fn(|byte| byte as u8); channels];
                let bytes = Tensor::from_vec(fill(split, indices, plans, &identity, None), shape, device)?;
                let images = bytes.to_dtype(scale.dtype())?.broadcast_mul(scale)?.broadcast_add(shift)?;
                if !plans.iter().any(Plan::has_hole) {
                    return Ok(images);
                }
                let mut mask = vec![1u8; n * height * width];
                mask.chunks_exact_mut(height * width).zip(plans).for_each(|(mask, plan)| plan.blank(width, 0, mask));
                let mask = Tensor::from_vec(mask, (n, 1, height, width), device)?;
                Ok(images.broadcast_mul(&mask.to_dtype(scale.dtype())?)?)
            }
        }
    }
}

/// The images through a table a channel, with `blank` in the holes.
fn fill<T: Copy + Default>(
    split: &Split,
    indices: &[usize],
    plans: &[Plan],
    table: &[[T; 256]],
    blank: Option<T>,
) -> Vec<T> {
    let [_, height, width] = split.shape();
    let (image, plane) = (split.image_bytes(), height * width);
    let mut out = vec![T::default(); indices.len() * image];
    for ((&index, plan), out) in indices.iter().zip(plans).zip(out.chunks_exact_mut(image)) {
        let source = &split.images()[index * image..(index + 1) * image];
        let planes = source.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((source, out), table) in planes.zip(table) {
            plan.apply(source, height, table, out);
            if let Some(blank) = blank {
                plan.blank(width, blank, out);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Augment, DatasetKind};
    use flat_core::{Purpose, Streams};

    #[test]
    fn the_pass_for_other_devices_gives_what_the_cpu_pass_gives() {
        let images = (0..40 * 3072).map(|i| (i * 7 % 251) as u8).collect();
        let split = Split::new(images, vec![0; 40], [3, 32, 32], 10).expect("split");
        let normalisation = DatasetKind::Cifar10.normalisation();
        let indices: Vec<usize> = (0..40).rev().collect();
        for augment in [Augment::NONE, Augment { crop: true, flip: true, cutout: true }] {
            let plan = |&i: &usize| augment.plan(Streams::new(1).at2(Purpose::Augment, 0, i as u64), 32, 32);
            let plans: Vec<Plan> = indices.iter().map(plan).collect();
            let values = |pass: Pass| {
                let images = pass.run(&split, &indices, &plans, &Device::Cpu).expect("images");
                assert_eq!(images.dims(), [40, 3, 32, 32]);
                images.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1::<f64>()).expect("values")
            };
            // each of byte * scale and + shift is rounded once, at numbers below 5, besides the two constants
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 2e-15)] {
                let here = values(Pass::new(&normalisation, dtype, &Device::Cpu).expect("pass"));
                let there = values(Pass::on_device(&normalisation, dtype, &Device::Cpu).expect("pass"));
                assert_eq!(here.len(), there.len());
                for (x, y) in here.iter().zip(&there) {
                    assert!((x - y).abs() <= tolerance, "{dtype:?}: {x} {y}");
                }
            }
        }
    }
}
