//! Passes over all parameters at once: sums, the collecting of a gradient, leaving a point, and recurrences as kernels.

use crate::host::{Element, at, at_mut, compiler, run};
use candle_core::{Device, Tensor, Var};
use flat_core::{Number, ParamVec, Params, Purpose, Result, Streams, Update, recurrence};
use flat_kernels::cuda::launch::{VECTOR, chunks};
use flat_kernels::cuda::vector::{self, Decided, Table};

/// Parameters of uneven sizes, one of them empty, one larger than a chunk; their sizes are no multiples of a block.
fn params<T: Element>() -> Result<Params> {
    let sizes = [("a", 3), ("b", 0), ("c", 10_001), ("d", 1), ("e", 4096), ("f", 777)];
    let named = sizes.map(|(name, len)| {
        let x = Streams::new(6).named(Purpose::Test, name).normals(len);
        Ok((name.to_string(), Var::from_tensor(&Tensor::from_vec(x, len, &Device::Cpu)?.to_dtype(T::DTYPE)?)?))
    });
    Params::new(named.into_iter().collect::<Result<Vec<_>>>()?)
}

fn vectors(of: &Params, n: u64) -> Result<Vec<ParamVec>> {
    (0..n).map(|i| ParamVec::gaussian(of.space(), 1.0, &Streams::new(7).at(Purpose::Test, i))).collect()
}

fn host<T: Element>(x: &ParamVec) -> Result<Vec<T>> {
    Ok(x.as_tensor().to_vec1()?)
}

/// Copies of the variables, with a table of their addresses.
fn copies<T: Element>(of: &Params) -> Result<(Vec<Vec<T>>, Table)> {
    let mut copies = of.vars().iter().map(|v| Ok(v.flatten_all()?.to_vec1()?)).collect::<Result<Vec<Vec<T>>>>()?;
    let table = Table::new(copies.iter_mut().map(|x| (x.len(), at_mut(x))));
    Ok((copies, table))
}

fn bits<T: Element>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

fn sums<T: Element>(tolerance: f64) -> Result<()> {
    let params = params::<T>()?;
    let v = vectors(&params, 2)?;
    let (x, y, n) = (host::<T>(&v[0])?, host::<T>(&v[1])?, params.layout().len());
    let (mut partial, mut out) = (vec![f64::NAN; chunks(n)], vec![f64::NAN]);
    // SAFETY: vectors of n elements, room for the partial sums.
    unsafe { run(&VECTOR, &vector::dot(T::REAL, n, at(&x), at(&y), at_mut(&mut partial), at_mut(&mut out))) };
    let exact: f64 = x.iter().zip(&y).map(|(x, y)| x.to_f64() * y.to_f64()).sum();
    assert!((out[0] - exact).abs() < tolerance);
    assert!((out[0] - v[0].dot(&v[1])?).abs() < tolerance);

    let table = Table::new(params.layout().entries().iter().map(|e| (e.len, 0)));
    let mut each = vec![f64::NAN; table.entries];
    let launch = vector::dot_entries(T::REAL, table.entries, at(&x), at(&y), at(&table.numbers), at_mut(&mut each));
    // SAFETY: the offsets of both vectors, a number a parameter.
    unsafe { run(&VECTOR, &[launch]) };
    for (found, expected) in each.iter().zip(v[0].dot_per_entry(&v[1])?) {
        assert!((found - expected).abs() < tolerance);
    }

    let (_parts, table) = copies::<T>(&params)?;
    let (mut flat, mut square) = (vec![T::default(); n], vec![f64::NAN]);
    let launches =
        table.collect(T::REAL, at(&table.numbers), at_mut(&mut flat), at_mut(&mut partial), at_mut(&mut square));
    // SAFETY: the table names the parts; n elements of room.
    unsafe { run(&VECTOR, &launches) };
    let expected = params.read()?;
    assert_eq!(bits(&flat), bits(&host::<T>(&expected)?));
    assert!((square[0].sqrt() - expected.norm()?).abs() < tolerance);
    Ok(())
}

#[test]
fn sums_over_all_parameters_are_those_of_the_cpu() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    // sums of 15,000 products of size 1, in double in either case
    sums::<f32>(1e-10)?;
    sums::<f64>(1e-10)
}

#[test]
fn the_sum_over_nothing_is_zero() {
    if !compiler() {
        return;
    }
    let mut out = [f64::NAN];
    // SAFETY: no element is read.
    unsafe { run(&VECTOR, &vector::dot(f32::REAL, 0, 0, 0, 0, at_mut(&mut out))) };
    assert_eq!(out[0], 0.0);
}

/// Every operation of a number, two inputs, two vectors of state, constants that differ between parameters.
struct Everything(f64);

impl Update<2, 2> for Everything {
    fn update<E: Number>(&self, w: E, [x, y]: [E; 2], [s, t]: [E; 2]) -> (E, [E; 2]) {
        let s = s * 0.5 + x * self.0;
        let t = (t.clone() * t + 0.125) / 3.0;
        (w - s.clone() / (t.clone().sqrt() + 1.0) * y, [s, t])
    }
}

/// Momentum with weight decay, as an optimizer's.
struct Momentum(f64);

impl Update<1, 1> for Momentum {
    fn update<E: Number>(&self, w: E, [g]: [E; 1], [m]: [E; 1]) -> (E, [E; 1]) {
        let m = m * 0.9 + (g + w.clone() * 5e-4);
        (w - m.clone() * self.0, [m])
    }
}

fn recurrences<T: Element, const M: usize, const N: usize, U: Update<M, N>>(
    of: impl Fn(usize) -> U + Sync,
) -> Result<()> {
    let params = params::<T>()?;
    let mut v = vectors(&params, (M + N) as u64)?;
    let (parts, table) = copies::<T>(&params)?;
    let mut copied = v.iter().map(host::<T>).collect::<Result<Vec<_>>>()?;
    let steps: Vec<_> = (0..table.entries).map(|i| recurrence(&of(i))).collect();
    let kernel = &steps[0].0;
    assert!(steps.iter().all(|(k, _)| k == kernel), "constants alone differ");
    let constants: Vec<f64> = steps.iter().flat_map(|(_, c)| c.clone()).collect();
    let addresses: Vec<u64> = copied.iter_mut().map(|x| at_mut(x)).collect();
    let launch = kernel.launch(T::REAL, &table, at(&table.numbers), at(&constants), Decided::default(), &addresses);
    // SAFETY: the table names the copies; vectors of their length; the kernel's constants for every parameter.
    unsafe { run(&kernel.source(T::REAL), &[launch]) };

    let mut rest = v.split_off(M).into_iter();
    let mut state: [ParamVec; N] = std::array::from_fn(|_| rest.next().expect("a vector"));
    params.update(std::array::from_fn(|k| &v[k]), state.each_mut(), &of)?;
    // the same operations in the same order, each rounded to the element type: the same bits
    assert_eq!(bits(&parts.concat()), bits(&host::<T>(&params.read()?)?));
    for (found, expected) in copied[M..].iter().zip(&state) {
        assert_eq!(bits(found), bits(&host::<T>(expected)?));
    }
    for (untouched, input) in copied[..M].iter().zip(&v) {
        assert_eq!(bits(untouched), bits(&host::<T>(input)?));
    }
    Ok(())
}

#[test]
fn a_recurrence_as_a_kernel_gives_the_bits_of_the_cpu() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    recurrences::<f32, 2, 2, _>(|i| Everything(1.0 + i as f64 / 3.0))?;
    recurrences::<f64, 2, 2, _>(|i| Everything(1.0 + i as f64 / 3.0))?;
    recurrences::<f32, 1, 1, _>(|i| Momentum(0.1 * (1 + i) as f64))?;
    recurrences::<f64, 1, 1, _>(|i| Momentum(0.1 * (1 + i) as f64))
}

#[test]
fn a_parameter_without_an_address_is_left_out() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    let (kernel, constants) = recurrence(&Everything(1.0));
    let (mut a, mut b) = (vec![1.0f64; 300], vec![2.0f64; 300]);
    let table = Table::new([(300, at_mut(&mut a)), (300, 0), (300, at_mut(&mut b))]);
    let mut v: Vec<Vec<f64>> = vec![vec![1.0; 900]; 4];
    let addresses: Vec<u64> = v.iter_mut().map(|x| at_mut(x)).collect();
    let constants = constants.repeat(3);
    let launch = kernel.launch(f64::REAL, &table, at(&table.numbers), at(&constants), Decided::default(), &addresses);
    // SAFETY: the table names a and b alone.
    unsafe { run(&kernel.source(f64::REAL), &[launch]) };
    assert!(v[2][..300].iter().chain(&v[2][600..]).all(|s| *s == 1.5));
    assert!(v[2][300..600].iter().all(|s| *s == 1.0), "the state of what was left out is as it was");
    assert!(a[0] != 1.0 && a[299] == a[0] && b[0] != 2.0);
    Ok(())
}

#[test]
fn numbers_on_the_device_scale_an_input_and_leave_an_update_out() -> Result<()> {
    if !compiler() {
        return Ok(());
    }
    let (kernel, constants) = recurrence(&Momentum(0.5));
    let n = 5000;
    let update = |keep: u8, by: f64| {
        let (mut w, mut g, mut m) = (vec![1.0f32; n], vec![3.0f32; n], vec![0.25f32; n]);
        let table = Table::new([(n, at_mut(&mut w))]);
        let (keep, by) = ([keep], [by]);
        let decided = Decided { keep: Some(at(&keep)), scaled: (0, at(&by)) };
        let addresses = [at_mut(&mut g), at_mut(&mut m)];
        let launch = kernel.launch(f32::REAL, &table, at(&table.numbers), at(&constants), decided, &addresses);
        // SAFETY: vectors of n elements, the kernel's constants, a byte and a double.
        unsafe { run(&kernel.source(f32::REAL), &[launch]) };
        assert!(g.iter().all(|g| *g == 3.0), "an input is read alone");
        assert!(w.iter().all(|x| *x == w[0]) && m.iter().all(|x| *x == m[0]));
        (w[0], m[0])
    };
    let m = 0.25f32 * 0.9 + (3.0 * 0.1f32 + 5e-4);
    assert_eq!(update(1, 0.1), (1.0 - m * 0.5, m));
    assert_eq!(update(0, 0.1), (1.0, 0.25));
    Ok(())
}

/// What moves a point and remembers it: neither the old state nor an unused input is looked at.
struct Leave;

impl Update<1, 1> for Leave {
    fn update<E: Number>(&self, w: E, [x]: [E; 1], _: [E; 1]) -> (E, [E; 1]) {
        (w.clone() + x, [w])
    }
}

#[test]
fn a_kernel_reads_nothing_that_its_recurrence_does_not_look_at() {
    let text = recurrence(&Leave).0.source(f32::REAL).text;
    assert!(text.contains("state0[e] = s0_new") && !text.contains("= state0[e]"), "{text}");
    let text = recurrence(&Everything(1.0)).0.source(f32::REAL).text;
    assert!(text.contains("= state0[e]") && text.contains("= *at"), "{text}");
}
