//! Conversion of bytes to normalised numbers: one pass on the CPU, tensor operations on other devices.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::augment::Plan;
use crate::resident::Resident;
use crate::{Normalisation, Result, Split};

/// How the images of a batch are gathered, augmented, scaled and normalised.
#[derive(Debug, Clone)]
pub(crate) enum Pass {
    /// Here, by a table a channel.
    F32(Vec<[f32; 256]>),
    /// Here, in f64.
    F64(Vec<[f64; 256]>),
    /// On the device, where the whole split lies.
    There(Arc<Resident>),
}

impl Pass {
    /// The pass for batches of this dtype on this device.
    pub(crate) fn new(normalisation: &Normalisation, dtype: DType, device: &Device) -> Result<Self> {
        match (device.is_cpu(), dtype) {
            (false, _) => Self::there(normalisation, dtype, device),
            (true, DType::F64) => Ok(Self::F64(normalisation.table())),
            (true, _) => {
                let tables = normalisation.table();
                Ok(Self::F32(tables.iter().map(|table| table.map(|x| x as f32)).collect()))
            }
        }
    }

    fn there(normalisation: &Normalisation, dtype: DType, device: &Device) -> Result<Self> {
        Ok(Self::There(Arc::new(Resident::new(&normalisation.table(), dtype, device)?)))
    }

    /// The images with these indices, each with its plan, and their labels.
    pub(crate) fn both(
        &self,
        split: &Split,
        indices: &[usize],
        plans: &[Plan],
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        #[cfg(feature = "cuda")]
        if let Self::There(resident) = self
            && device.is_cuda()
        {
            return resident.both(split, indices, plans);
        }
        Ok((self.run(split, indices, plans, device)?, self.labels(split, indices, device)?))
    }

    /// (n, channels, height, width), f32 or f64: the images with these indices, each with its plan.
    pub(crate) fn run(&self, split: &Split, indices: &[usize], plans: &[Plan], device: &Device) -> Result<Tensor> {
        let (n, [channels, height, width]) = (indices.len(), split.shape());
        let shape = (n, channels, height, width);
        match self {
            Self::F32(table) => Ok(Tensor::from_vec(fill(split, indices, plans, table, 0f32), shape, device)?),
            Self::F64(table) => Ok(Tensor::from_vec(fill(split, indices, plans, table, 0f64), shape, device)?),
            Self::There(resident) => resident.images(split, indices, plans),
        }
    }

    /// (n), u32: the labels of the examples with these indices.
    pub(crate) fn labels(&self, split: &Split, indices: &[usize], device: &Device) -> Result<Tensor> {
        if let Self::There(resident) = self {
            return resident.labels(split, indices);
        }
        let labels: Vec<u32> = indices.iter().map(|&i| u32::from(split.labels()[i])).collect();
        Ok(Tensor::from_vec(labels, indices.len(), device)?)
    }
}

/// Pixels that are worth a task of their own: some ten microseconds.
const TASK: usize = 1 << 14;

/// The images through a table a channel, with `blank` in the holes, on all threads.
fn fill<T: Copy + Default + Send + Sync>(
    split: &Split,
    indices: &[usize],
    plans: &[Plan],
    table: &[[T; 256]],
    blank: T,
) -> Vec<T> {
    let [_, height, width] = split.shape();
    let (image, plane) = (split.image_bytes(), height * width);
    let mut out = vec![T::default(); indices.len() * image];
    let images = indices.par_iter().zip(plans).zip(out.par_chunks_exact_mut(image));
    images.with_min_len(TASK.div_ceil(image)).for_each(|((&index, plan), out)| {
        let source = &split.images()[index * image..(index + 1) * image];
        let planes = source.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((source, out), table) in planes.zip(table) {
            plan.apply(source, height, table, out);
            plan.blank(width, blank, out);
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Augment, DatasetKind};
    use flat_core::{Purpose, Streams};

    #[test]
    fn the_pass_for_other_devices_gives_the_bits_of_the_cpu_pass() {
        let images = (0..40 * 3072).map(|i| (i * 7 % 251) as u8).collect();
        let split = Split::new(images, (0..40).map(|i| i % 10).collect(), [3, 32, 32], 10).expect("split");
        let normalisation = DatasetKind::Cifar10.normalisation();
        let indices: Vec<usize> = (0..40).rev().collect();
        for names in ["none", "crop", "flip", "cutout", "crop,flip,cutout"] {
            let augment: Augment = names.parse().expect(names);
            let plan = |&i: &usize| augment.plan(Streams::new(1).at2(Purpose::Augment, 0, i as u64), 32, 32);
            let plans: Vec<Plan> = indices.iter().map(plan).collect();
            let values = |pass: &Pass| {
                let images = pass.run(&split, &indices, &plans, &Device::Cpu).expect("images");
                assert_eq!(images.dims(), [40, 3, 32, 32]);
                images.to_dtype(DType::F64).and_then(|t| t.flatten_all()?.to_vec1::<f64>()).expect("values")
            };
            for dtype in [DType::F32, DType::F64] {
                let here = Pass::new(&normalisation, dtype, &Device::Cpu).expect("pass");
                let there = Pass::there(&normalisation, dtype, &Device::Cpu).expect("pass");
                assert!(values(&here) == values(&there), "{names} {dtype:?}");
                let labels = |p: &Pass| {
                    p.labels(&split, &indices, &Device::Cpu).and_then(|t| Ok(t.to_vec1::<u32>()?)).expect("labels")
                };
                assert_eq!(labels(&here), labels(&there));
            }
        }
    }
}
