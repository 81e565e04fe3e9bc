//! The kernels of normalisation and pooling on CUDA: operands to addresses, launches, results to storage.

use super::device::{New, Read, address_of, read, run, tensor, touch};
use super::launch::{NORM, POOL};
use super::max_pool;
use super::norm::{self, Gradients, Layer, Mask};
use super::sent::sent;
use crate::{Float, Split, Windows, dispatch};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};

type Operand<'a> = (&'a CudaStorage, &'a Layout);

/// The storage of a tensor that must be on CUDA.
pub(super) fn cuda<'a>(op: &str, storage: &'a Storage) -> Result<&'a CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => bail!("{op}: the operands must be on one device"),
    }
}

pub(super) fn device(op: &str, of: &Tensor) -> Result<CudaDevice> {
    match of.device() {
        Device::Cuda(device) => Ok(device.clone()),
        _ => bail!("{op}: the operands must be on one device"),
    }
}

/// A tensor of the same elements that the kernels can read.
pub(super) fn plain(t: &Tensor) -> Result<Tensor> {
    t.detach().contiguous()
}

/// What a layer normalises by.
#[derive(Debug, Clone)]
pub enum Statistics {
    /// The batch's, with this constant under the root.
    Batch(f64),
    /// Constants, as [`norm`] finds them: `(3, channels)` in f64.
    Fixed(Tensor),
}

/// The layer of [`crate::cpu::norm::forward`]: the output, and `(3, c)` in f64 what it was normalised with: mean, variance, `r`.
///
/// # Errors
/// Shapes that do not fit; the driver's.
pub fn norm(
    source: &Statistics,
    relu: bool,
    x: Operand<'_>,
    gain_and_bias: [Operand<'_>; 2],
    skip: Option<Operand<'_>>,
) -> Result<(CudaStorage, Tensor)> {
    dispatch!("norm", x.0.dtype(), T => norm_of::<T>(source, relu, x, gain_and_bias, skip))
}

/// [`norm`] of tensors, through which no gradient goes.
///
/// # Errors
/// As there.
pub fn norm_of_tensors(
    source: &Statistics,
    relu: bool,
    [x, gain, bias]: [&Tensor; 3],
    skip: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    let operands = [plain(x)?, plain(gain)?, plain(bias)?];
    let skip = skip.map(plain).transpose()?;
    let (y, stats) = {
        let guards = operands.each_ref().map(Tensor::storage_and_layout);
        let of = |i: usize| Ok::<_, candle_core::Error>((cuda("norm", &guards[i].0)?, guards[i].1));
        let skip = skip.as_ref().map(Tensor::storage_and_layout);
        let skip = skip.as_ref().map(|(s, l)| Ok::<_, candle_core::Error>((cuda("norm", s)?, *l))).transpose()?;
        norm(source, relu, of(0)?, [of(1)?, of(2)?], skip)?
    };
    Ok((Tensor::from_storage(Storage::Cuda(y), x.shape(), BackpropOp::none(), false), stats))
}

fn norm_of<T: Float>(
    source: &Statistics,
    relu: bool,
    (s1, l1): Operand<'_>,
    [(s2, l2), (s3, l3)]: [Operand<'_>; 2],
    skip: Option<Operand<'_>>,
) -> Result<(CudaStorage, Tensor)> {
    let (shape, device) = (Split::of(l1.shape())?, &s1.device);
    let c = shape.channels;
    if l2.shape().elem_count() != c || l3.shape().elem_count() != c {
        bail!("norm: {} gains and {} biases for {c} channels", l2.shape().elem_count(), l3.shape().elem_count());
    }
    if let Some((_, l)) = skip.filter(|(_, l)| l.shape() != l1.shape()) {
        bail!("norm: a residual {:?} for {:?}", l.shape(), l1.shape());
    }
    let room = |len| (len > 0).then(|| New::<f64>::new(device, len)).transpose();
    let mut new = match source {
        Statistics::Batch(_) => Some(New::<f64>::new(device, 3 * c)?),
        Statistics::Fixed(stats) if stats.dims() == [3, c] => None,
        Statistics::Fixed(stats) => bail!("norm: statistics {:?} for {c} channels", stats.shape()),
    };
    let mut y = New::<T>::new(device, shape.elements())?;
    if shape.elements() > 0 {
        let x = read::<T>("norm", s1, l1)?;
        let (gain, bias) = (read::<T>("norm", s2, l2)?, read::<T>("norm", s3, l3)?);
        let skip = skip.map(|(s, l)| read::<T>("norm", s, l)).transpose()?;
        let skip = skip.as_ref().map_or(0, |s| s.address);
        let stats = match (source, &mut new) {
            (Statistics::Fixed(stats), _) => touch::<f64>(stats)?,
            (_, Some(new)) => new.address(),
            (Statistics::Batch(_), None) => 0,
        };
        let layer = Layer { x: x.address, gain: gain.address, bias: bias.address, stats };
        let mut partial = room(norm::partial(shape))?;
        let partial = partial.as_mut().map_or(0, New::address);
        let launches = match source {
            Statistics::Batch(eps) => norm::forward(T::REAL, shape, layer, partial, *eps, skip, relu, y.address()),
            Statistics::Fixed(_) => vec![norm::apply(T::REAL, shape, layer, skip, relu, y.address())],
        };
        // SAFETY: every operand has the elements of `shape` or its channels; memory is freed in the stream's order.
        unsafe { run(device, &NORM, &launches) }?;
    }
    let stats = match (new, source) {
        (_, Statistics::Fixed(stats)) => stats.clone(),
        // nothing was found where there was nothing to look at
        (Some(new), _) if shape.elements() > 0 => tensor(new, (3, c)),
        _ => Tensor::zeros((3, c), DType::F64, &Device::Cuda(device.clone()))?,
    };
    Ok((y.storage(), stats))
}

/// The gradients of [`crate::cpu::norm::backward`], for the statistics that [`norm`] found.
///
/// # Errors
/// As there.
pub fn norm_gradients(
    of: [&Tensor; 3],
    y: Option<&Tensor>,
    relu: bool,
    batch: bool,
    stats: &Tensor,
    g: &Tensor,
    wanted: bool,
) -> Result<[Option<Tensor>; 4]> {
    dispatch!("norm", g.dtype(), T => norm_gradients_of::<T>(of, y, relu, batch, stats, g, wanted))
}

fn norm_gradients_of<T: Float>(
    of: [&Tensor; 3],
    y: Option<&Tensor>,
    relu: bool,
    batch: bool,
    stats: &Tensor,
    g: &Tensor,
    wanted: bool,
) -> Result<[Option<Tensor>; 4]> {
    let (device, shape) = (device("norm", g)?, Split::of(g.shape())?);
    let (n, c) = (shape.elements(), shape.channels);
    let [x, gain, bias] = [plain(of[0])?, plain(of[1])?, plain(of[2])?];
    let (y, g) = (y.map(plain).transpose()?, plain(g)?);
    if x.shape() != g.shape() || gain.elem_count() != c || bias.elem_count() != c {
        bail!("norm: a gradient {:?} for {:?} and {} channels", g.shape(), x.shape(), gain.elem_count());
    }
    let mut new = [New::<T>::new(&device, n)?, New::new(&device, c)?, New::new(&device, c)?];
    let mut skip = wanted.then(|| New::<T>::new(&device, n)).transpose()?;
    if n > 0 {
        let guards = [&x, &gain, &bias, &g].map(Tensor::storage_and_layout);
        let operands =
            guards.iter().map(|(s, l)| read::<T>("norm", cuda("norm", s)?, l)).collect::<Result<Vec<Read<'_>>>>()?;
        let y_guard = y.as_ref().map(Tensor::storage_and_layout);
        let y_read = y_guard.as_ref().map(|(s, l)| read::<T>("norm", cuda("norm", s)?, l)).transpose()?;
        let mask = match (relu, &y_read) {
            (false, _) => Mask::All,
            (true, None) => Mask::Again,
            (true, Some(y)) => Mask::Output(y.address),
        };
        let [x, gain, bias, g] = [0, 1, 2, 3].map(|i| operands[i].address);
        let layer = Layer { x, gain, bias, stats: touch::<f64>(stats)? };
        let mut partial = match norm::partial(shape) {
            0 => None,
            len => Some(New::<f64>::new(&device, len)?),
        };
        let [dx, dgain, dbias] = new.each_mut().map(New::address);
        let to = Gradients { x: dx, gain: dgain, bias: dbias, skip: skip.as_mut().map_or(0, New::address) };
        let room = partial.as_mut().map_or(0, New::address);
        // SAFETY: as in `norm_of`.
        unsafe { run(&device, &NORM, &norm::backward(T::REAL, shape, layer, mask, g, room, batch, to)) }?;
    }
    let [dx, dgain, dbias] = new;
    let like = of[0].shape();
    if n == 0 {
        let zeros = |t: &Tensor| t.detach().zeros_like().map(Some);
        return Ok([zeros(of[0])?, zeros(of[1])?, zeros(of[2])?, if wanted { zeros(of[0])? } else { None }]);
    }
    Ok([
        Some(tensor(dx, like)),
        Some(tensor(dgain, of[1].shape())),
        Some(tensor(dbias, of[2].shape())),
        skip.map(|s| tensor(s, like)),
    ])
}

/// The running statistics of a layer, and the batch that moves them.
pub struct Running<'a> {
    /// Those of [`norm`].
    pub stats: &'a Tensor,
    /// `(channels)`.
    pub mean: &'a Tensor,
    /// `(channels)`.
    pub var: &'a Tensor,
    /// One i64: batches seen.
    pub seen: &'a Tensor,
    /// The batch's variance is multiplied by it.
    pub unbiased: f64,
}

/// Moves running statistics by `momentum` towards the batch's and counts the batch: all layers by one launch.
///
/// # Errors
/// Tensors that do not fit; the driver's.
pub fn running(layers: &[Running<'_>], momentum: f64) -> Result<()> {
    let Some(first) = layers.first() else { return Ok(()) };
    let device = device("norm", first.mean)?;
    dispatch!("norm", first.mean.dtype(), T => {
        let row = |l: &Running<'_>| {
            let channels = l.mean.elem_count();
            if l.var.elem_count() != channels || l.seen.elem_count() != 1 || l.stats.elem_count() != 3 * channels {
                bail!("norm: running statistics of {channels} and {} channels", l.var.elem_count());
            }
            Ok(norm::Running {
                stats: touch::<f64>(l.stats)?,
                mean: touch::<T>(l.mean)?,
                var: touch::<T>(l.var)?,
                seen: address_of::<i64>(l.seen)?,
                channels,
                unbiased: l.unbiased,
            })
        };
        let rows = || layers.iter().map(row).collect::<Result<Vec<_>>>();
        let table = sent(&device, &norm::Running::table(&rows()?))?;
        // SAFETY: the sizes were just compared; the tensors outlive the call, and memory is freed in the stream's order.
        unsafe { run(&device, &NORM, &[norm::running(T::REAL, layers.len(), table.address(), momentum)]) }?;
        rows().map(|_| ())
    })
}

/// Maxima and, as a tensor, their places.
///
/// # Errors
/// Operands that are not contiguous or not f32 or f64; the driver's.
pub fn max_pool(of: Windows, output: &Shape, (s, l): Operand<'_>) -> Result<(CudaStorage, Tensor)> {
    dispatch!("max-pool2d", s.dtype(), T => {
        let x = read::<T>("max-pool2d", s, l)?;
        let (mut y, mut places) = (New::<T>::new(&s.device, of.outputs())?, New::<u32>::new(&s.device, of.outputs())?);
        // SAFETY: the input's elements were counted by its shape; room for every output.
        unsafe { run(&s.device, &POOL, &[max_pool::max(T::REAL, of, x.address, y.address(), places.address())]) }?;
        Ok((y.storage(), tensor(places, output)))
    })
}

/// The elements of a tensor at the places of maxima.
///
/// # Errors
/// As of [`max_pool`].
pub fn pool_gather(of: Windows, (s1, l1): Operand<'_>, (s2, l2): Operand<'_>) -> Result<CudaStorage> {
    dispatch!("max-pool2d", s1.dtype(), T => {
        let (x, places) = (read::<T>("max-pool2d", s1, l1)?, read::<u32>("max-pool2d", s2, l2)?);
        let mut y = New::<T>::new(&s1.device, of.outputs())?;
        // SAFETY: the places are those of maxima in planes of this size.
        unsafe { run(&s1.device, &POOL, &[max_pool::gather(T::REAL, of, x.address, places.address, y.address())]) }?;
        Ok(y.storage())
    })
}

/// Elements put back to the places of maxima.
///
/// # Errors
/// As of [`max_pool`].
pub fn pool_scatter(of: Windows, (s1, l1): Operand<'_>, (s2, l2): Operand<'_>) -> Result<CudaStorage> {
    dispatch!("max-pool2d", s1.dtype(), T => {
        let (g, places) = (read::<T>("max-pool2d", s1, l1)?, read::<u32>("max-pool2d", s2, l2)?);
        let mut x = New::<T>::new(&s1.device, of.inputs())?;
        // SAFETY: a gradient and a place for every output; room for every input.
        unsafe { run(&s1.device, &POOL, &[max_pool::scatter(T::REAL, of, g.address, places.address, x.address())]) }?;
        Ok(x.storage())
    })
}
