//! Buffers that kernels fill without clearing them first (uninitialised), and loops compiled for the processor at hand.

use crate::Float;
use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A buffer that tasks fill run by run, in any order.
pub(crate) struct Buffer<T> {
    data: Vec<T>,
    len: usize,
}

/// Where the tasks write: runs of a [`Buffer`].
#[derive(Clone, Copy)]
pub(crate) struct Runs<'a, T> {
    start: *mut T,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: a place to write plain numbers; whoever takes a run answers for disjointness.
unsafe impl<T: Send> Send for Runs<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Runs<'_, T> {}

impl<T: Copy> Buffer<T> {
    pub(crate) fn new(len: usize) -> Self {
        Self { data: Vec::with_capacity(len), len }
    }

    /// All elements, to be written.
    pub(crate) fn all(&mut self) -> &mut [MaybeUninit<T>] {
        &mut self.data.spare_capacity_mut()[..self.len]
    }

    pub(crate) fn runs(&mut self) -> Runs<'_, T> {
        Runs { start: self.data.as_mut_ptr(), len: self.len, buffer: PhantomData }
    }

    /// # Safety
    /// Every element must have been written.
    pub(crate) unsafe fn finish(mut self) -> Vec<T> {
        // SAFETY: the capacity was asked for in `new`, the caller answers for the contents.
        unsafe { self.data.set_len(self.len) };
        self.data
    }
}

impl<'a, T> Runs<'a, T> {
    /// The address of the first element.
    pub(crate) fn start(self) -> *mut T {
        self.start
    }

    /// `len` elements from `at` on.
    ///
    /// # Safety
    /// No two runs that are alive at once may overlap.
    #[inline(always)]
    pub(crate) unsafe fn run(self, at: usize, len: usize) -> &'a mut [MaybeUninit<T>] {
        assert!(at + len <= self.len, "a run beyond its buffer");
        // SAFETY: within the buffer, which outlives 'a; the caller answers for disjointness.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at).cast(), len) }
    }
}

/// Where results go: shared by tasks that write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Dst<T>(pub *mut T);

// SAFETY: a plain address; whoever writes through it answers for disjointness.
unsafe impl<T: Send> Send for Dst<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Dst<T> {}

impl<T> Dst<T> {
    /// The address, `offset` elements on.
    pub(crate) fn at(self, offset: usize) -> *mut T {
        self.0.wrapping_add(offset)
    }
}

/// The same numbers, if they are f32.
pub(crate) fn single<T: 'static>(x: &[T]) -> Option<&[f32]> {
    // SAFETY: T is f32.
    (TypeId::of::<T>() == TypeId::of::<f32>())
        .then(|| unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len()) })
}

/// The operands from `at` on, each `len` long.
#[inline(always)]
pub(crate) fn cut<T, const N: usize>(from: [&[T]; N], at: usize, len: usize) -> [&[T]; N] {
    let mut cut = from;
    for (to, a) in cut.iter_mut().zip(from) {
        *to = &a[at..at + len];
    }
    cut
}

/// The `i`-th element of every operand.
///
/// # Safety
/// `i` must be within each of them.
#[allow(clippy::needless_range_loop)] // a plain loop is certain to be inlined
#[inline(always)]
pub(crate) unsafe fn elements_at<T: Float, const N: usize>(from: &[&[T]; N], i: usize) -> [T; N] {
    let mut values = [T::default(); N];
    for n in 0..N {
        // SAFETY: the caller's.
        values[n] = unsafe { *from[n].get_unchecked(i) };
    }
    values
}

/// `out_i = f(a_i, b_i, ...)`: writes every element of `out`.
#[inline(always)]
pub(crate) fn write<T: Float, const N: usize>(out: &mut [MaybeUninit<T>], from: [&[T]; N], f: impl Fn([T; N]) -> T) {
    let from = cut(from, 0, out.len());
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: each operand was cut to the length of `out`.
        out.write(f(unsafe { elements_at(&from, i) }));
    }
}

/// Calls a kernel compiled for the best instructions that this processor has. Its loops are plain Rust that the compiler
/// vectorises: the same operations in the same order whatever the instructions, so the results have the same bits.
/// Everything the kernel calls should be `#[inline(always)]`. A kernel is a type of its own ([`kernel!`]), not a closure: one
/// that borrows is called by way of a function of the standard library's, which is compiled for the oldest processor.
pub(crate) fn vectorized<K: pulp::NullaryFnOnce>(kernel: K) -> K::Output {
    pulp::Arch::new().dispatch(kernel)
}

/// Names a function to be called by [`vectorized`] with captured operands.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident<$lt:lifetime, $T:ident> { $($field:ident: $t:ty),* $(,)? } -> $out:ty, |$this:ident| $body:block) => {
        $(#[$doc])*
        struct $name<$lt, $T> { $($field: $t),* }
        impl<$lt, $T: Float> pulp::NullaryFnOnce for $name<$lt, $T> {
            type Output = $out;
            #[inline(always)]
            fn call(self) -> $out {
                let $this = self;
                $body
            }
        }
    };
}
pub(crate) use kernel;
