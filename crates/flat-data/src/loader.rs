//! Batches at random access: any batch of any epoch, without having drawn the ones before it.
#![cfg_attr(not(test), deny(clippy::disallowed_methods))] // a step waits for no device: clippy.toml

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device};
use flat_core::{Purpose, Streams};
use serde::{Deserialize, Serialize};

use crate::augment::Plan;
use crate::pass::Pass;
use crate::sampler::Sampler;
use crate::{Augment, Batch, Error, Normalisation, Result, Split};

/// How a split is cut into batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoaderOptions {
    /// Examples a batch.
    pub batch_size: usize,
    /// A new random order each epoch; otherwise the split's own.
    pub shuffle: bool,
    /// Leaves out an epoch's last batch where it is smaller than the others.
    pub drop_last: bool,
    /// Augmentation of the images.
    pub augment: Augment,
    /// Draws examples by class and spurious attribute, with replacement, all classes alike. The attributes of a class
    /// have their shares in the data at 0, equal shares at 1, and a mix of both between. `shuffle` has no effect
    /// then.
    pub balance: Option<f64>,
}

impl Default for LoaderOptions {
    /// Batches of 128 in the split's order, the last one included, without augmentation.
    fn default() -> Self {
        Self { batch_size: 128, shuffle: false, drop_last: false, augment: Augment::NONE, balance: None }
    }
}

/// Normalised batches of a split.
///
/// The order of an epoch is drawn from the stream (order, epoch), the augmentation of an example from (augment, epoch,
/// example): batch `index` of epoch `epoch` is the same whether or not others were drawn before it, so resuming needs
/// two numbers. On the CPU a batch is gathered, augmented, scaled and normalised in one pass. On another device the whole
/// split lies there as bytes, from the first batch on, and the same is done there to the same bits: what is sent for a
/// batch are the indices of its examples and the few numbers that were drawn for each.
#[derive(Debug)]
pub struct Loader {
    split: Arc<Split>,
    options: LoaderOptions,
    streams: Streams,
    dtype: DType,
    device: Device,
    pass: Pass,
    sampler: Option<Sampler>,
    /// The order drawn last and its epoch.
    order: Mutex<Option<(u64, Arc<Vec<usize>>)>>,
}

impl Loader {
    /// A loader of `split`, whose batches are `dtype` (f32, f64, f16 or bf16) on `device`.
    ///
    /// # Errors
    /// [`Error::BadOption`] for a batch size of 0 or one that `drop_last` leaves no batch of, a normalisation of
    /// another number of channels or with a deviation that is not positive, and a dtype of integers.
    pub fn new(
        split: Arc<Split>,
        normalisation: Normalisation,
        options: LoaderOptions,
        streams: Streams,
        dtype: DType,
        device: Device,
    ) -> Result<Self> {
        let wrong = |option, problem: String| Err(Error::BadOption { option, problem });
        check(options, &split)?;
        let Normalisation { mean, std } = &normalisation;
        if mean.len() != split.channels() || std.len() != split.channels() {
            let problem = format!("{} means and {} deviations, {} channels", mean.len(), std.len(), split.channels());
            return wrong("normalisation", problem);
        }
        if !mean.iter().all(|m| m.is_finite()) || !std.iter().all(|s| s.is_finite() && *s > 0.0) {
            return wrong(
                "normalisation",
                format!("means {mean:?} and deviations {std:?} must be finite, deviations positive"),
            );
        }
        if !matches!(dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
            return wrong("dtype", format!("{dtype:?} holds no normalised images; use f32, f64, f16 or bf16"));
        }
        let pass = Pass::new(&normalisation, dtype, &device)?;
        let sampler = options.balance.map(|balance| Sampler::new(&split, balance)).transpose()?;
        Ok(Self { split, options, streams, dtype, device, pass, sampler, order: Mutex::new(None) })
    }

    /// Another loader of the same split, dtype and device, with which it shares the images that lie on the device.
    ///
    /// # Errors
    /// As [`Self::new`], for the options.
    pub fn beside(&self, options: LoaderOptions, streams: Streams) -> Result<Self> {
        check(options, &self.split)?;
        let (split, device, pass) = (Arc::clone(&self.split), self.device.clone(), self.pass.clone());
        let sampler = options.balance.map(|balance| Sampler::new(&split, balance)).transpose()?;
        Ok(Self { split, options, streams, dtype: self.dtype, device, pass, sampler, order: Mutex::new(None) })
    }

    /// The split.
    pub fn split(&self) -> &Arc<Split> {
        &self.split
    }

    /// The options.
    pub fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// Number of batches an epoch has, 1 or more.
    pub fn batches_per_epoch(&self) -> usize {
        let (n, size) = (self.split.len(), self.options.batch_size);
        if self.options.drop_last { n / size } else { n.div_ceil(size) }
    }

    /// Number of examples an epoch visits.
    pub fn examples_per_epoch(&self) -> usize {
        self.split.len().min(self.batches_per_epoch().saturating_mul(self.options.batch_size))
    }

    /// Batch `index` of epoch `epoch`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `index` is not below [`Self::batches_per_epoch`].
    pub fn batch(&self, epoch: u64, index: usize) -> Result<Batch> {
        if index >= self.batches_per_epoch() {
            return Err(Error::OutOfRange { what: "batch", index, len: self.batches_per_epoch() });
        }
        let (start, n) = (index * self.options.batch_size, self.split.len());
        let end = n.min(start.saturating_add(self.options.batch_size));
        let indices = match (&self.sampler, self.split.groups()) {
            (Some(sampler), Some(groups)) => {
                let stream = self.streams.at2(Purpose::Groups, epoch, index as u64);
                let indices = sampler.draw(groups, end - start, stream);
                // an example that is drawn twice is augmented twice
                let plans = (start..end).map(|place| self.plan(epoch, place)).collect();
                return self.gather(indices, plans);
            }
            _ if self.options.shuffle => self.order(epoch)[start..end].to_vec(),
            _ => (start..end).collect(),
        };
        let plans = indices.iter().map(|&example| self.plan(epoch, example)).collect();
        self.gather(indices, plans)
    }

    /// The batches of an epoch in turn.
    pub fn iter(&self, epoch: u64) -> impl ExactSizeIterator<Item = Result<Batch>> + '_ {
        (0..self.batches_per_epoch()).map(move |index| self.batch(epoch, index))
    }

    /// The whole split as one batch, in its own order and without augmentation. Takes four bytes or more a pixel:
    /// 0.2 GB for MNIST's training images in f32, 0.6 GB for CIFAR-10's.
    pub fn all(&self) -> Result<Batch> {
        self.plain((0..self.split.len()).collect())
    }

    /// The batch of these examples, in this order and without augmentation.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for an index past the end, [`Error::BadOption`] for none at all.
    pub fn select(&self, indices: &[usize]) -> Result<Batch> {
        let len = self.split.len();
        if indices.is_empty() {
            return Err(Error::BadOption { option: "indices", problem: "none; name at least one example".into() });
        }
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(Error::OutOfRange { what: "example", index, len }),
            None => self.plain(indices.to_vec()),
        }
    }

    /// The order of an epoch.
    fn order(&self, epoch: u64) -> Arc<Vec<usize>> {
        // a panic while it was locked leaves nothing half-made: the value is replaced whole
        let mut cached = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, order)) = cached.as_ref()
            && *of == epoch
        {
            return Arc::clone(order);
        }
        let order = Arc::new(self.streams.at(Purpose::Order, epoch).permutation(self.split.len()));
        *cached = Some((epoch, Arc::clone(&order)));
        order
    }

    /// The augmentation of an example, or of a place in the epoch where examples are drawn with replacement.
    fn plan(&self, epoch: u64, of: usize) -> Plan {
        let [_, height, width] = self.split.shape();
        match self.options.augment {
            augment if augment.is_any() => {
                augment.plan(self.streams.at2(Purpose::Augment, epoch, of as u64), height, width)
            }
            _ => Plan::default(),
        }
    }

    /// A batch of these examples as they are.
    fn plain(&self, indices: Vec<usize>) -> Result<Batch> {
        let plans = vec![Plan::default(); indices.len()];
        self.gather(indices, plans)
    }

    /// A batch of these examples, augmented as planned.
    fn gather(&self, indices: Vec<usize>, plans: Vec<Plan>) -> Result<Batch> {
        let (images, labels) = self.pass.both(&self.split, &indices, &plans, &self.device)?;
        Ok(Batch { images: images.to_dtype(self.dtype)?, labels, indices })
    }
}

/// Refuses options that make no batch.
fn check(options: LoaderOptions, split: &Split) -> Result<()> {
    let wrong = |problem| Err(Error::BadOption { option: "batch_size", problem });
    if options.batch_size == 0 {
        return wrong("0 examples a batch; use 1 or more".into());
    }
    if options.drop_last && options.batch_size > split.len() {
        return wrong(format!("{} leaves no batch of {} examples with drop_last", options.batch_size, split.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Augment = Augment { crop: true, flip: true, cutout: true };

    fn split(n: usize) -> Arc<Split> {
        let images = (0..n * 3072).map(|i| (i * 7 % 251) as u8).collect();
        Arc::new(Split::new(images, (0..n).map(|i| (i % 10) as u16).collect(), [3, 32, 32], 10).expect("split"))
    }

    fn normalisation() -> Normalisation {
        crate::DatasetKind::Cifar10.normalisation()
    }

    fn loader(n: usize, options: LoaderOptions, dtype: DType) -> Loader {
        Loader::new(split(n), normalisation(), options, Streams::new(3), dtype, Device::Cpu).expect("loader")
    }

    fn values(batch: &Batch) -> Vec<f32> {
        batch.images.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1()).expect("values")
    }

    #[test]
    fn an_epoch_visits_every_example_once_in_an_order_of_its_own() {
        let loader = loader(50, LoaderOptions { batch_size: 8, shuffle: true, ..Default::default() }, DType::F32);
        assert_eq!((loader.batches_per_epoch(), loader.examples_per_epoch(), loader.iter(0).len()), (7, 50, 7));
        let order = |epoch| loader.iter(epoch).flat_map(|b| b.expect("batch").indices).collect::<Vec<_>>();
        let mut sorted = order(0);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        assert_ne!(order(0), order(1));
        assert_eq!(order(0), Streams::new(3).at(Purpose::Order, 0).permutation(50));
    }

    #[test]
    fn a_batch_is_the_same_whatever_was_drawn_before_it() {
        let options = LoaderOptions { batch_size: 8, shuffle: true, augment: ALL, ..Default::default() };
        let (first, second) = (loader(50, options, DType::F32), loader(50, options, DType::F32));
        let whole: Vec<_> = (0..3).flat_map(|epoch| first.iter(epoch)).map(|b| b.expect("batch")).collect();
        for (epoch, index) in [(2, 6), (0, 3), (2, 0), (1, 5)] {
            let (one, other) = (second.batch(epoch, index).expect("batch"), &whole[epoch as usize * 7 + index]);
            assert_eq!(one.indices, other.indices);
            assert_eq!(values(&one), values(other));
            assert_eq!(one.labels.to_vec1::<u32>().expect("labels"), other.labels.to_vec1::<u32>().expect("labels"));
        }
    }

    #[test]
    fn a_batch_by_groups_is_a_function_of_epoch_and_index_and_augments_a_repeated_example_anew() {
        let groups = split(20).as_ref().clone().with_attributes(vec![0; 20], 1).expect("attributes");
        let options = LoaderOptions { batch_size: 64, augment: ALL, balance: Some(0.0), ..Default::default() };
        let new = || {
            let split = Arc::new(groups.select(&[0; 40].map(|i: usize| i)).expect("one example"));
            Loader::new(split, normalisation(), options, Streams::new(3), DType::F32, Device::Cpu).expect("loader")
        };
        let (first, second) = (new().batch(4, 0).expect("batch"), new().batch(4, 0).expect("batch"));
        assert_eq!((&first.indices, values(&first)), (&second.indices, values(&second)));
        assert_ne!(first.indices, new().batch(5, 0).expect("batch").indices);
        assert_eq!(first.len(), 40);
        let image = |i: usize| values(&first)[i * 3072..(i + 1) * 3072].to_vec();
        assert!((1..40).any(|i| image(i) != image(0)), "all augmented alike");
        let without = Loader::new(split(20), normalisation(), options, Streams::new(3), DType::F32, Device::Cpu);
        assert!(matches!(without, Err(Error::BadOption { option: "balance", .. })));
    }

    #[test]
    fn drop_last_leaves_out_the_small_batch() {
        let options = LoaderOptions { batch_size: 8, drop_last: true, ..Default::default() };
        let dropping = loader(50, options, DType::F32);
        assert_eq!((dropping.batches_per_epoch(), dropping.examples_per_epoch()), (6, 48));
        assert!(dropping.iter(0).all(|b| b.expect("batch").len() == 8));
        assert!(matches!(dropping.batch(0, 6), Err(Error::OutOfRange { index: 6, len: 6, .. })));
        let keeping = loader(50, LoaderOptions { drop_last: false, ..options }, DType::F32);
        assert_eq!(keeping.batch(0, 6).expect("last").indices, [48, 49]);
    }

    #[test]
    fn values_are_scaled_and_normalised_per_channel() {
        let loader = loader(5, LoaderOptions::default(), DType::F64);
        let batch = loader.all().expect("all");
        let (found, split, Normalisation { mean, std }) =
            (batch.images.flatten_all().and_then(|t| t.to_vec1::<f64>()).expect("values"), split(5), normalisation());
        for (i, (&byte, found)) in split.images().iter().zip(found).enumerate() {
            let channel = i / 1024 % 3;
            // the same three operations in f64
            assert_eq!(found, (f64::from(byte) / 255.0 - mean[channel]) / std[channel], "{i}");
        }
        assert_eq!(batch.labels.to_vec1::<u32>().expect("labels"), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn dtypes_differ_by_their_rounding_alone() {
        let options = LoaderOptions { augment: ALL, ..Default::default() };
        let exact = loader(5, options, DType::F64).batch(0, 0).expect("f64");
        let exact: Vec<f64> = exact.images.flatten_all().and_then(|t| t.to_vec1()).expect("values");
        // values are below 3: half an ulp there is 2^-23, 2^-10 and 2^-7 (bf16 after f32)
        for (dtype, tolerance) in [(DType::F32, 1.3e-7), (DType::F16, 1e-3), (DType::BF16, 8e-3)] {
            let batch = loader(5, options, dtype).batch(0, 0).expect("batch");
            assert_eq!(batch.images.dtype(), dtype);
            for (x, y) in values(&batch).into_iter().zip(&exact) {
                assert!((f64::from(x) - y).abs() <= tolerance, "{dtype:?}: {x} {y}");
            }
        }
    }

    #[test]
    fn augmentation_changes_with_the_epoch_and_leaves_all_and_select_alone() {
        let plain = loader(8, LoaderOptions { batch_size: 8, ..Default::default() }, DType::F32);
        let augmented = loader(8, LoaderOptions { batch_size: 8, augment: ALL, ..Default::default() }, DType::F32);
        let of = |epoch| values(&augmented.batch(epoch, 0).expect("batch"));
        assert_ne!(of(0), of(1));
        assert_ne!(of(0), values(&plain.batch(0, 0).expect("batch")));
        assert_eq!(values(&augmented.all().expect("all")), values(&plain.all().expect("all")));
        let picked = augmented.select(&[7, 0]).expect("select");
        assert_eq!(picked.indices, [7, 0]);
        assert_eq!(values(&picked)[3072..], values(&plain.all().expect("all"))[..3072]);
        assert!(matches!(plain.select(&[8]), Err(Error::OutOfRange { index: 8, .. })));
        assert!(matches!(plain.select(&[]), Err(Error::BadOption { .. })));
    }

    #[test]
    fn options_that_make_no_batches_are_refused_by_name() {
        let new = |options, normalisation, dtype| {
            Loader::new(split(5), normalisation, options, Streams::new(0), dtype, Device::Cpu).map(|_| ())
        };
        let good = LoaderOptions::default();
        assert!(new(good, normalisation(), DType::F32).is_ok());
        let grey = crate::DatasetKind::Mnist.normalisation();
        let flat = Normalisation { std: vec![0.0; 3], ..normalisation() };
        for (options, normalisation, dtype, name) in [
            (LoaderOptions { batch_size: 0, ..good }, normalisation(), DType::F32, "batch_size"),
            (LoaderOptions { batch_size: 6, drop_last: true, ..good }, normalisation(), DType::F32, "batch_size"),
            (good, grey, DType::F32, "normalisation"),
            (good, flat, DType::F32, "normalisation"),
            (good, normalisation(), DType::U8, "dtype"),
        ] {
            match new(options, normalisation, dtype) {
                Err(Error::BadOption { option, .. }) => assert_eq!(option, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
