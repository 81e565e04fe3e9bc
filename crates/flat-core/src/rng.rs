//! Randomness keyed by (seed, purpose, index): every use draws from a stream of its own.
//!
//! Nothing is ever saved of a generator: a stream is recomputed from its key, so a resumed run draws what the
//! uninterrupted one would have drawn, and adding a draw in one place shifts nothing elsewhere. All draws happen on the
//! host, so that CPU and CUDA runs see the same numbers.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

/// What a stream is for. The number is part of the key: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights, one stream a parameter name.
    Init = 1,
    /// Order of the examples, one stream an epoch.
    Order = 2,
    /// Augmentation, one stream an epoch and example.
    Augment = 3,
    /// Perturbation directions, one stream a step.
    Perturb = 4,
    /// Which example of the batch SAP uses, one stream a step; labels drawn from a model, one stream a batch and draw.
    Sample = 5,
    /// SAP's random sign, one stream a step.
    Sign = 6,
    /// Trace probes, one stream a probe.
    Probe = 7,
    /// Choice of a subset of a data set.
    Subset = 8,
    /// Anything in tests and examples.
    Test = 9,
    /// Which elements a perturbation leaves out, one stream a step and part of the batch.
    Mask = 10,
    /// Noise within a step's chain of updates, one stream a step and update.
    Chain = 12,
    /// A spurious attribute of an example, one stream an example; its balanced form, one a class and round.
    Attribute = 20,
    /// Examples drawn by their groups, one stream an epoch and batch.
    Groups = 21,
}

/// All streams of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream for the `index`-th use (step, epoch, probe) of `purpose`.
    pub fn at(&self, purpose: Purpose, index: u64) -> Stream {
        self.keyed(purpose, index, 0)
    }

    /// The stream for a pair of indices, such as (epoch, example).
    pub fn at2(&self, purpose: Purpose, major: u64, minor: u64) -> Stream {
        self.keyed(purpose, major, minor.wrapping_add(1))
    }

    /// The stream of a name, such as a parameter's.
    pub fn named(&self, purpose: Purpose, name: &str) -> Stream {
        // FNV-1a, 64 bits: stable across platforms and releases
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        self.keyed(purpose, hash, 0)
    }

    fn keyed(&self, purpose: Purpose, a: u64, b: u64) -> Stream {
        let mut key = [0u8; 32];
        for (slot, word) in key.chunks_exact_mut(8).zip([self.seed, purpose as u64, a, b]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        Stream { key, rng: ChaCha8Rng::from_seed(key) }
    }
}

/// One stream of random numbers (ChaCha with 8 rounds).
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u8; 32],
    rng: ChaCha8Rng,
}

/// Numbers a sub-stream provides in the parallel draws; part of the definition of the draws: never change.
pub(crate) const CHUNK: usize = 1 << 14;

impl Stream {
    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        self.rng.sample(StandardNormal)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.rng.random()
    }

    /// -1 or +1 with equal probability.
    pub fn sign(&mut self) -> f64 {
        if self.rng.random::<bool>() { 1.0 } else { -1.0 }
    }

    /// Uniform in 0..n.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // u64, so that 32-bit and 64-bit machines agree
        self.rng.random_range(0..n as u64) as usize
    }

    /// A uniformly random order of 0..n (Fisher-Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }

    /// `n` standard normal numbers, drawn in parallel; the same for any number of threads.
    ///
    /// They depend on the stream's key alone, not on what was drawn from it before.
    pub fn normals(&self, n: usize) -> Vec<f64> {
        self.fill(n, |rng| rng.sample(StandardNormal))
    }

    /// `n` signs, -1 or +1 with equal probability; in parallel, as [`Self::normals`].
    pub fn signs(&self, n: usize) -> Vec<f64> {
        self.fill(n, |rng| if rng.random::<bool>() { 1.0 } else { -1.0 })
    }

    /// `n` numbers uniform in [0, 1); in parallel, as [`Self::normals`].
    pub fn uniforms(&self, n: usize) -> Vec<f64> {
        self.fill(n, |rng| rng.random())
    }

    fn fill(&self, n: usize, draw: impl Fn(&mut ChaCha8Rng) -> f64 + Sync) -> Vec<f64> {
        let mut out = vec![0.0; n];
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
            let mut part = self.part(i);
            chunk.iter_mut().for_each(|x| *x = draw(&mut part.rng));
        });
        out
    }

    /// The sub-stream of the `i`-th chunk of a parallel draw.
    pub(crate) fn part(&self, i: usize) -> Self {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(i as u64 + 1);
        Self { key: self.key, rng }
    }
}

impl RngCore for Stream {
    fn next_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }
    fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }
    fn fill_bytes(&mut self, dst: &mut [u8]) {
        self.rng.fill_bytes(dst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_independent() {
        let s = Streams::new(7);
        assert_eq!(s.at(Purpose::Perturb, 3).normals(10), s.at(Purpose::Perturb, 3).normals(10));
        assert_ne!(s.at(Purpose::Perturb, 3).normals(10), s.at(Purpose::Perturb, 4).normals(10));
        assert_ne!(s.at(Purpose::Perturb, 3).normals(10), s.at(Purpose::Probe, 3).normals(10));
        assert_ne!(s.at(Purpose::Perturb, 3).normals(10), Streams::new(8).at(Purpose::Perturb, 3).normals(10));
        assert_ne!(s.at(Purpose::Augment, 3).next_u64(), s.at2(Purpose::Augment, 3, 0).next_u64());
    }

    #[test]
    fn draws_do_not_depend_on_the_number_of_threads() {
        let draw = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| Streams::new(1).at(Purpose::Probe, 0).normals(3 * CHUNK + 5))
        };
        assert_eq!(draw(1), draw(3));
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let n = 200_000;
        let x = Streams::new(3).at(Purpose::Test, 0).normals(n);
        let mean = x.iter().sum::<f64>() / n as f64;
        let var = x.iter().map(|v| v * v).sum::<f64>() / n as f64;
        // five standard errors: 1/sqrt(n) for the mean, sqrt(2/n) for the variance
        assert!(mean.abs() < 5.0 / (n as f64).sqrt(), "{mean}");
        assert!((var - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "{var}");
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut p = Streams::new(0).at(Purpose::Order, 1).permutation(100);
        p.sort_unstable();
        assert_eq!(p, (0..100).collect::<Vec<_>>());
    }
}
