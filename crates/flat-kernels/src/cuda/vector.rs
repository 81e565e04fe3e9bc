//! Launches over flat vectors and over all parameters at once; see `source/vector.cu` and `source/table.cuh`.

use super::launch::{CHUNK, Launch, PRELUDE, Real, Source, chunks};
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

/// `<x, y>` in double, at `out`; `partial` is room for [`chunks`] doubles.
pub fn dot(real: Real, n: usize, x: u64, y: u64, partial: u64, out: u64) -> [Launch; 2] {
    [Launch::chunks("dot", real, n, &[x, y, partial, n as u64]), fold(partial, chunks(n), out)]
}

/// The sum of `n` partial sums, at `out`: 0 for none.
fn fold(partial: u64, n: usize, out: u64) -> Launch {
    Launch { kernel: "fold".into(), grid: [1, 1], args: vec![partial, out, n as u64] }
}

/// `<x, y>` over each of `entries` parameters, whose offsets are `entries + 1` numbers at `offsets`.
pub fn dot_entries(real: Real, entries: usize, x: u64, y: u64, offsets: u64, out: u64) -> Launch {
    Launch::new("dot_entries", real, [entries as u32, 1], &[x, y, offsets, out])
}

/// The parameters of a flat vector: what the kernels call a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// How many parameters there are.
    pub entries: usize,
    /// Elements of all.
    pub elements: usize,
    /// `entries + 1` offsets, then as many addresses as entries. An address of 0 leaves a parameter out of an update.
    pub numbers: Vec<u64>,
}

impl Table {
    /// Of the parameters' lengths and addresses.
    pub fn new(parameters: impl IntoIterator<Item = (usize, u64)>) -> Self {
        let (mut offsets, mut addresses, mut elements) = (vec![0], Vec::new(), 0);
        for (len, address) in parameters {
            elements += len;
            offsets.push(elements as u64);
            addresses.push(address);
        }
        let entries = addresses.len();
        offsets.append(&mut addresses);
        Self { entries, elements, numbers: offsets }
    }

    /// Copies the tensors of the table at `table` to `out` and sums their squares, at `square`; `partial` is room for
    /// [`chunks`] doubles.
    pub fn collect(&self, real: Real, table: u64, out: u64, partial: u64, square: u64) -> [Launch; 2] {
        let n = self.elements;
        [
            Launch::chunks("collect", real, n, &[table, self.entries as u64, out, partial, n as u64]),
            fold(partial, chunks(n), square),
        ]
    }

    /// Copies the tensors of the table at `table`, whose lengths are in words of 32 bits, to `out`.
    pub fn save_words(&self, table: u64, out: u64) -> Launch {
        let n = self.elements;
        Launch {
            kernel: "save_words".into(),
            grid: [chunks(n) as u32, 1],
            args: vec![table, self.entries as u64, out, n as u64],
        }
    }

    /// Copies them back where the byte at `keep` is zero.
    pub fn restore_words(&self, table: u64, saved: u64, keep: u64) -> Launch {
        let n = self.elements;
        Launch {
            kernel: "restore_words".into(),
            grid: [chunks(n) as u32, 1],
            args: vec![table, self.entries as u64, saved, keep, n as u64],
        }
    }
}

/// An element-wise recurrence as a kernel of its own, over all parameters of a table. It reads `inputs` flat vectors,
/// and reads and writes `state` ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    /// Vectors read.
    pub inputs: usize,
    /// Vectors updated.
    pub state: usize,
    /// Constants a parameter, of its own.
    pub constants: usize,
    /// CUDA C++ statements that compute `w_new` and `s0_new`, ... of one element. They read `w`, `x0`, ..., `s0`, ...
    /// and the constants `c[0]`, ..., and write `T` for the element type.
    pub body: String,
}

impl Recurrence {
    /// Whether the statements read a number by its name.
    fn sees(&self, name: &str) -> bool {
        self.body.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name)
    }

    /// The kernel.
    pub fn source(&self, real: Real) -> Source {
        let list = |n: usize, f: &dyn Fn(usize) -> String| (0..n).map(f).collect::<String>();
        let parameters =
            list(self.inputs, &|k| format!(", const T *in{k}")) + &list(self.state, &|k| format!(", T *state{k}"));
        // what the recurrence does not look at may never have been written
        let seen = |name: &str, load: String| if self.sees(name) { load } else { String::new() };
        let load = seen("w", "    const T w = *at;\n".into())
            + &list(self.inputs, &|k| {
                seen(&format!("x{k}"), format!("    const T x{k} = scaled == {k} ? in{k}[e] * by : in{k}[e];\n"))
            })
            + &list(self.state, &|k| seen(&format!("s{k}"), format!("    const T s{k} = state{k}[e];\n")));
        let store = list(self.state, &|k| format!("    state{k}[e] = s{k}_new;\n"));
        let text = format!(
            "{PRELUDE}typedef {} T;
extern \"C\" __global__ void update_{}(const u64 *table, u64 entries, u64 n, const double *constants, const unsigned char *keep, u64 scaled, const double *factor{parameters}) {{
  if (keep && !*keep) return;
  const T by = factor ? T(*factor) : T(1);
  (void)by;
  u64 begin = (u64)blockIdx.x * CHUNK, end = begin + CHUNK < n ? begin + CHUNK : n;
  u64 p = entry_of(table, entries, begin);
  for (u64 e = begin + threadIdx.x; e < end; e += BLOCK) {{
    while (e >= table[p + 1]) p++;
    T *at = (T *)table[entries + 1 + p];
    if (!at) continue;
    at += e - table[p];
    const double *c = constants + p * {};
    (void)c;
{load}{}    *at = w_new;
{store}  }}
}}
",
            real.c_name(),
            real.suffix(),
            self.constants,
            self.body,
        );
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Source { name: Cow::Owned(format!("flat_update_{:016x}", hasher.finish())), text: Cow::Owned(text) }
    }

    /// The launch over a table at `table`, with the constants of all parameters at `constants` and the vectors' addresses,
    /// inputs first.
    pub fn launch(
        &self,
        real: Real,
        of: &Table,
        table: u64,
        constants: u64,
        decided: Decided,
        vectors: &[u64],
    ) -> Launch {
        let Decided { keep, scaled: (scaled, factor) } = decided;
        let first = [table, of.entries as u64, of.elements as u64, constants, keep.unwrap_or(0), scaled as u64, factor];
        Launch::chunks("update", real, of.elements, &[&first[..], vectors].concat())
    }
}

/// What numbers on the device decide of a recurrence, by their addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decided {
    /// A byte: where it is 0, nothing is written.
    pub keep: Option<u64>,
    /// Which input is multiplied by which double, rounded to the element type; an address of 0 for none.
    pub scaled: (usize, u64),
}

const _: () = assert!(CHUNK.is_multiple_of(super::launch::BLOCK as usize));
