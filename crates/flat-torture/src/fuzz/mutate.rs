//! Mutations of kept inputs.

use crate::random::Random;

/// Numbers that formats have trouble with.
const NUMBERS: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// Inputs without end, the same for the same seed.
pub(super) struct Mutator {
    corpus: Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
    random: Random,
}

impl Mutator {
    pub fn new(corpus: Vec<Vec<u8>>, words: &'static [&'static [u8]], seed: u64) -> Self {
        Self { corpus, words, random: Random::new(seed) }
    }

    /// The next input: one of the corpus with one to eight mutations, or so many random bytes.
    pub fn next(&mut self) -> Vec<u8> {
        if self.corpus.is_empty() || self.random.below(64) == 0 {
            let n = self.random.below(64);
            return (0..n).map(|_| self.random.bits() as u8).collect();
        }
        let mut bytes = self.one().to_vec();
        for _ in 0..1 << self.random.below(4) {
            self.mutate(&mut bytes);
        }
        bytes
    }

    fn one(&mut self) -> &[u8] {
        let i = self.random.below(self.corpus.len());
        &self.corpus[i]
    }

    /// A place in the bytes: where formats have their lengths, at either end, as often as anywhere.
    fn place(&mut self, n: usize) -> usize {
        match self.random.below(4) {
            0 => self.random.below(n.min(64)),
            1 => n.saturating_sub(1 + self.random.below(n.min(64))),
            2 => self.random.below(n.min(2048)),
            _ => self.random.below(n),
        }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let n = bytes.len();
        let at = self.place(n);
        let some = 1 + self.random.below(64);
        let end = (at + some).min(n);
        match self.random.below(10) {
            0 if n > 0 => bytes[at] ^= 1 << self.random.below(8),
            1 if n > 0 => bytes[at] = self.random.bits() as u8,
            2 => {
                let (number, size) = (*self.random.of(&NUMBERS), 1 << self.random.below(4));
                let number = if self.random.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
                let part = if self.random.below(2) == 0 { &number[..size] } else { &number[8 - size..] };
                bytes.iter_mut().skip(at).zip(part).for_each(|(byte, new)| *byte = *new);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            6 if !self.words.is_empty() => {
                let word = *self.random.of(self.words);
                let end = if self.random.below(2) == 0 { at } else { (at + word.len()).min(n) };
                bytes.splice(at..end, word.iter().copied());
            }
            7 => {
                // a number in text becomes another
                if let Some(digit) = bytes.iter().skip(at).position(u8::is_ascii_digit) {
                    let at = at + digit;
                    let end = at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let number = *self.random.of(&NUMBERS);
                    bytes.splice(at..end, number.to_string().into_bytes());
                }
            }
            8 => {
                let other = self.one().to_vec();
                let from = self.random.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let byte = self.random.bits() as u8;
                bytes.iter_mut().skip(at).take(some).for_each(|old| *old = byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_another_seed_makes_others() {
        let inputs = |seed| {
            let mut mutator = Mutator::new(vec![vec![1; 100], b"{\"n\": 12}".to_vec()], &[b"PAR1"], seed);
            (0..100).map(|_| mutator.next()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
