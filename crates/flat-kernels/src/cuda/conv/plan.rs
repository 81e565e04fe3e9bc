//! How cuDNN carries out a pass: descriptors and algorithms, found once a shape.

use crate::shape::{Geometry, Pass};
use candle_core::cuda::cudarc::cudnn::{CudnnDataType, CudnnError, result, sys};
use candle_core::{Error, Result};
use std::ffi::{c_int, c_void};

/// What decides a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pass: Pass,
    geometry: Geometry,
    stored: sys::cudnnDataType_t,
    summed: sys::cudnnDataType_t,
    tf32: bool,
}

impl Key {
    /// A pass over `T`, summed in `C`.
    pub(super) fn of<T: CudnnDataType, C: CudnnDataType>(pass: Pass, geometry: Geometry, tf32: bool) -> Self {
        Self { pass, geometry, stored: T::DATA_TYPE, summed: C::DATA_TYPE, tf32 }
    }
}

/// An algorithm of one of the passes.
#[derive(Debug, Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    GradInput(sys::cudnnConvolutionBwdDataAlgo_t),
    GradWeight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

/// Descriptors, and the algorithms that add in a fixed order with the bytes of their workspaces, fastest first.
#[derive(Debug)]
pub(super) struct Plan {
    of: Descriptors,
    summed: sys::cudnnDataType_t,
    algorithms: Vec<(Algorithm, usize)>,
}

#[derive(Debug)]
struct Descriptors {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        // SAFETY: made in `Descriptors::new` and given to nobody; an error at the end helps nobody either.
        unsafe {
            let _ = result::destroy_tensor_descriptor(self.x);
            let _ = result::destroy_filter_descriptor(self.w);
            let _ = result::destroy_tensor_descriptor(self.y);
            let _ = result::destroy_convolution_descriptor(self.conv);
        }
    }
}

fn int(x: usize) -> Result<c_int> {
    c_int::try_from(x).map_err(|_| Error::Msg(format!("conv2d: a side of {x} is too long")))
}

fn ints(x: [usize; 4]) -> Result<[c_int; 4]> {
    Ok([int(x[0])?, int(x[1])?, int(x[2])?, int(x[3])?])
}

impl Descriptors {
    fn new(key: &Key) -> Result<Self> {
        let g = &key.geometry;
        let (stride, padding) = (int(g.stride)?, int(g.padding)?);
        let x = ints([g.n, g.channels, g.h, g.w])?;
        let w = ints([g.out_channels, g.channels, g.kh, g.kw])?;
        let y = ints([g.n, g.out_channels, g.oh, g.ow])?;
        // the default would round f32 to tf32 unasked
        let exact = key.stored == sys::cudnnDataType_t::CUDNN_DATA_FLOAT && !key.tf32;
        let math = if exact { sys::cudnnMathType_t::CUDNN_FMA_MATH } else { sys::cudnnMathType_t::CUDNN_DEFAULT_MATH };
        let format = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        // SAFETY: every descriptor was just made and is given its own data.
        let made = || unsafe {
            let of = Self {
                x: result::create_tensor_descriptor()?,
                w: result::create_filter_descriptor()?,
                y: result::create_tensor_descriptor()?,
                conv: result::create_convolution_descriptor()?,
            };
            result::set_tensor4d_descriptor(of.x, format, key.stored, x)?;
            result::set_filter4d_descriptor(of.w, key.stored, format, w)?;
            result::set_tensor4d_descriptor(of.y, format, key.stored, y)?;
            let (conv, summed) = (of.conv, key.summed);
            result::set_convolution2d_descriptor(conv, padding, padding, stride, stride, 1, 1, mode, summed)?;
            result::set_convolution_math_type(conv, math)?;
            Ok::<Self, CudnnError>(of)
        };
        made().map_err(Error::wrap)
    }
}

/// Proposals of cuDNN that work and add in a fixed order, fastest first; for an `unsafe` block.
macro_rules! proposals {
    ($most:literal, $perf:ty, $ask:expr) => {{
        // structs of numbers, for which zeros are values
        let mut found: [$perf; $most] = std::mem::zeroed();
        let mut count: c_int = 0;
        $ask($most, &mut count, found.as_mut_ptr()).map_err(Error::wrap)?;
        let fixed = sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
        let works = sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS;
        let all = found.into_iter().take(usize::try_from(count).unwrap_or(0));
        all.filter(|p| p.status == works && p.determinism == fixed).map(|p| p.algo).collect::<Vec<_>>()
    }};
}

impl Plan {
    /// Asks cuDNN.
    pub(super) fn new(handle: sys::cudnnHandle_t, key: &Key) -> Result<Self> {
        let of = Descriptors::new(key)?;
        let Descriptors { x, w, y, conv } = of;
        let mut algorithms = Vec::new();
        // SAFETY: handle and descriptors live; the lists have room for what is asked for.
        unsafe {
            match key.pass {
                Pass::Forward => {
                    let all = proposals!(8, sys::cudnnConvolutionFwdAlgoPerfStruct, |n, got, to| {
                        result::get_convolution_forward_algorithm(handle, x, w, conv, y, n, got, to)
                    });
                    for a in all {
                        // an algorithm that cannot say what it needs is not taken
                        let bytes = result::get_convolution_forward_workspace_size(handle, x, w, conv, y, a);
                        algorithms.extend(bytes.ok().map(|n| (Algorithm::Forward(a), n)));
                    }
                }
                Pass::GradInput => {
                    let all = proposals!(6, sys::cudnnConvolutionBwdDataAlgoPerfStruct, |n, got, to| {
                        result::get_convolution_backward_data_algorithm(handle, w, y, conv, x, n, got, to)
                    });
                    for a in all {
                        let bytes = result::get_convolution_backward_data_workspace_size(handle, w, y, conv, x, a);
                        algorithms.extend(bytes.ok().map(|n| (Algorithm::GradInput(a), n)));
                    }
                }
                Pass::GradWeight => {
                    let all = proposals!(7, sys::cudnnConvolutionBwdFilterAlgoPerfStruct, |n, got, to| {
                        result::get_convolution_backward_filter_algorithm(handle, x, y, conv, w, n, got, to)
                    });
                    for a in all {
                        let bytes = result::get_convolution_backward_filter_workspace_size(handle, x, y, conv, w, a);
                        algorithms.extend(bytes.ok().map(|n| (Algorithm::GradWeight(a), n)));
                    }
                }
            }
        }
        Ok(Self { of, summed: key.summed, algorithms })
    }

    /// The bytes that the `i`-th algorithm works in.
    pub(super) fn workspace(&self, i: usize) -> Option<usize> {
        self.algorithms.get(i).map(|(_, bytes)| *bytes)
    }

    /// The pass by the `i`-th algorithm: from two operands, in the order of the pass, to the third address.
    ///
    /// # Safety
    /// The addresses must hold tensors of the plan's shapes and type, the room as many bytes as it says.
    pub(super) unsafe fn run(
        &self,
        handle: sys::cudnnHandle_t,
        i: usize,
        [a, b, to]: [u64; 3],
        (room, bytes): (u64, usize),
    ) -> std::result::Result<(), CudnnError> {
        let Descriptors { x, w, y, conv } = self.of;
        let (a, b, to, room) = (a as *const c_void, b as *const c_void, to as *mut c_void, room as *mut c_void);
        let (ones, zeros) = ((1.0f32, 1.0f64), (0.0f32, 0.0f64));
        let (one, zero): (*const c_void, *const c_void) = match self.summed {
            sys::cudnnDataType_t::CUDNN_DATA_DOUBLE => ((&raw const ones.1).cast(), (&raw const zeros.1).cast()),
            _ => ((&raw const ones.0).cast(), (&raw const zeros.0).cast()),
        };
        // SAFETY: the caller's; handle and descriptors live.
        unsafe {
            match self.algorithms[i].0 {
                Algorithm::Forward(algorithm) => {
                    result::convolution_forward(handle, one, x, a, w, b, conv, algorithm, room, bytes, zero, y, to)
                }
                Algorithm::GradInput(algorithm) => result::convolution_backward_data(
                    handle, one, w, b, y, a, conv, algorithm, room, bytes, zero, x, to,
                ),
                Algorithm::GradWeight(algorithm) => result::convolution_backward_filter(
                    handle, one, x, a, y, b, conv, algorithm, room, bytes, zero, w, to,
                ),
            }
        }
    }
}
