//! Randomness keyed by (seed, purpose, index): every use draws from a stream of its own.
//!
//! Nothing is ever saved of a generator: a stream is recomputed from its key, so a resumed run draws what the
//! uninterrupted one would have drawn, and adding a draw in one place shifts nothing elsewhere. CPU and CUDA runs see the
//! same numbers: a kernel draws to the bit what the host would, and what none draws comes from the host.

mod purpose;
mod table;

pub use purpose::Purpose;
pub use table::{Place, Table};

use flat_kernels::Float;
use flat_kernels::cpu::normal;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use table::Given;

/// All streams of one seed.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    seed: u64,
    table: Option<&'static dyn Table>,
}

impl Streams {
    /// The streams of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, table: None }
    }

    /// Streams whose numbers a table gives.
    ///
    /// ```
    /// use flat_core::{Place, Purpose, Streams, Table};
    /// /// Every normal number is its index.
    /// #[derive(Debug)]
    /// struct Counted;
    /// impl Table for Counted {
    ///     fn normal(&self, _: Place, index: usize) -> f64 {
    ///         index as f64
    ///     }
    ///     fn uniform(&self, _: Place, _: usize) -> f64 {
    ///         0.5
    ///     }
    /// }
    /// assert_eq!(Streams::from_table(&Counted).at(Purpose::Perturb, 0).normals(3), [0.0, 1.0, 2.0]);
    /// ```
    pub fn from_table(table: &'static dyn Table) -> Self {
        Self { seed: 0, table: Some(table) }
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
        let place = Place { purpose, major: a, minor: b };
        Stream { key, rng: ChaCha8Rng::from_seed(key), given: self.table.map(|table| Given { table, place, next: 0 }) }
    }
}

/// One stream of random numbers (ChaCha with 8 rounds).
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u8; 32],
    rng: ChaCha8Rng,
    given: Option<Given>,
}

/// Numbers a sub-stream provides in the parallel draws; part of the definition of the draws: never change.
pub(crate) const CHUNK: usize = 1 << 14;

/// The sub-streams of noise are numbered from here; part of the definition of the draws: never change.
const NOISE: u64 = 1 << 63;

impl Stream {
    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        match &mut self.given {
            None => self.rng.sample(StandardNormal),
            Some(given) => given.next(|table, of, index| table.normal(of, index)),
        }
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        match &mut self.given {
            None => self.rng.random(),
            Some(given) => given.next(|table, of, index| table.uniform(of, index)),
        }
    }

    /// -1 or +1 with equal probability.
    pub fn sign(&mut self) -> f64 {
        let plus = if self.given.is_some() { self.uniform() < 0.5 } else { self.rng.random() };
        if plus { 1.0 } else { -1.0 }
    }

    /// Uniform in 0..n.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if self.given.is_some() {
            return (self.uniform() * n as f64) as usize;
        }
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
        self.fill(n, Self::normal)
    }

    /// `n` signs, -1 or +1 with equal probability; in parallel, as [`Self::normals`].
    pub fn signs(&self, n: usize) -> Vec<f64> {
        self.fill(n, Self::sign)
    }

    /// `n` numbers uniform in [0, 1); in parallel, as [`Self::normals`].
    pub fn uniforms(&self, n: usize) -> Vec<f64> {
        self.fill(n, Self::uniform)
    }

    /// The words of the key, from which a device draws the same numbers; none where a table gives them.
    #[cfg(feature = "cuda")]
    pub(crate) fn key(&self) -> Option<[u64; 4]> {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.key.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        self.given.is_none().then_some(words)
    }

    fn fill(&self, n: usize, draw: impl Fn(&mut Self) -> f64 + Sync) -> Vec<f64> {
        let mut out = vec![0.0; n];
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
            let mut part = self.part(i);
            chunk.iter_mut().for_each(|x| *x = draw(&mut part));
        });
        out
    }

    /// The sub-stream of the `i`-th chunk of a parallel draw.
    pub(crate) fn part(&self, i: usize) -> Self {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(i as u64 + 1);
        Self { key: self.key, rng, given: self.given.map(|given| Given { next: i * CHUNK, ..given }) }
    }

    /// The signs of the `i`-th chunk, those of [`Self::signs`], many at a time.
    pub(crate) fn write_signs<T: Float>(&self, i: usize, out: &mut [T]) {
        let mut part = self.part(i);
        let (minus, plus) = (T::from_f64(-1.0), T::from_f64(1.0));
        if part.given.is_some() {
            return out.iter_mut().for_each(|x| *x = T::from_f64(part.sign()));
        }
        let mut words = [[0; 4]; 256];
        for out in out.chunks_mut(words.len()) {
            part.rng.fill_bytes(words[..out.len()].as_flattened_mut());
            for (x, word) in out.iter_mut().zip(words) {
                // the highest bit is the one that a draw of a truth value looks at
                *x = if word[3] >> 7 == 1 { plus } else { minus };
            }
        }
    }

    /// Standard normal numbers of the `i`-th chunk, many at a time: other ones than those of
    /// [`Self::normals`], in a third of the time.
    pub(crate) fn noise<T: Float>(&self, i: usize, out: &mut [T]) {
        match self.given {
            None => {
                let mut rng = ChaCha8Rng::from_seed(self.key);
                rng.set_stream(NOISE | i as u64);
                normal::fill(std::array::from_fn(|_| std::array::from_fn(|_| rng.next_u64())), out);
            }
            Some(_) => {
                let mut part = self.part(i);
                out.iter_mut().for_each(|x| *x = T::from_f64(part.normal()));
            }
        }
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

    /// Normal numbers are their index and the use, uniform ones run through eighths.
    #[derive(Debug)]
    struct Counted;

    impl Table for Counted {
        fn normal(&self, of: Place, index: usize) -> f64 {
            1e6 * of.major as f64 + index as f64
        }
        fn uniform(&self, of: Place, index: usize) -> f64 {
            (index as u64 + of.minor) as f64 % 8.0 / 8.0
        }
    }

    #[test]
    fn a_table_gives_every_draw_of_a_stream_its_place_and_index() {
        let stream = |major, minor| Streams::from_table(&Counted).at2(Purpose::Test, major, minor);
        let n = 2 * CHUNK + 5;
        assert_eq!(stream(3, 0).normals(n), (0..n).map(|i| 3e6 + i as f64).collect::<Vec<_>>());
        let mut noise = [0f64; 4];
        stream(0, 0).noise(1, &mut noise);
        assert_eq!(noise, [0, 1, 2, 3].map(|i| (CHUNK + i) as f64));
        // the second index of a pair is kept plus 1
        assert_eq!(stream(0, 1).uniforms(4), [0.25, 0.375, 0.5, 0.625]);
        assert_eq!(stream(0, 1).signs(4), [1.0, 1.0, -1.0, -1.0]);
        let mut one = stream(0, 1);
        assert_eq!([one.below(16), one.below(16), one.below(16)], [4, 6, 8]);
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
