//! The loss over batches, known by Python callables at any parameters.

use crate::array;
use crate::failure::Raised;
use candle_core::{DType, Device, Tensor, Var};
use flat_core::{ParamVec, Params, Space};
use flat_metrics::Objective;
use pyo3::prelude::*;

/// A loss over batches: `loss(theta, i)` is the mean loss of batch i at the flat vector `theta`, and `gradient(theta,
/// i)` the same with its gradient. `theta` is where the measures are taken around, `sizes` are the batches' numbers of
/// examples.
#[pyclass(frozen, module = "flatness._core")]
pub(crate) struct Loss {
    space: Space,
    loss: Py<PyAny>,
    gradient: Py<PyAny>,
    theta: Py<PyAny>,
    sizes: Vec<usize>,
    bn_mode: Option<&'static str>,
}

#[pymethods]
impl Loss {
    /// The loss over `parameters`, a list of names with shapes.
    #[new]
    #[pyo3(signature = (loss, gradient, theta, parameters, *, dtype, sizes, bn_frozen = false))]
    fn new(
        loss: Py<PyAny>,
        gradient: Py<PyAny>,
        theta: Py<PyAny>,
        parameters: Vec<(String, Vec<usize>)>,
        dtype: &str,
        sizes: Vec<usize>,
        bn_frozen: bool,
    ) -> PyResult<Self> {
        let space = array::space(parameters, dtype)?;
        Ok(Self { space, loss, gradient, theta, sizes, bn_mode: bn_frozen.then_some("running statistics") })
    }
}

/// A [`Loss`] during one computation, at parameters of its own.
pub(crate) struct Around<'a> {
    of: &'a Loss,
    params: Params,
    raised: Raised,
}

impl Loss {
    /// The loss at its `theta`.
    ///
    /// # Errors
    /// A `theta` that is not a vector of the space.
    pub(crate) fn start(&self, py: Python<'_>, raised: &Raised) -> PyResult<Around<'_>> {
        let theta = array::from_python(&self.space, self.theta.bind(py))?;
        let failed = |e: flat_metrics::Error| crate::failure::exception(e);
        let mut named = Vec::new();
        for (i, entry) in self.space.layout.entries().iter().enumerate() {
            let part = theta.entry(i).map_err(|e| failed(e.into()))?;
            named.push((entry.name.clone(), Var::from_tensor(&part).map_err(|e| failed(e.into()))?));
        }
        let params = Params::new(named).map_err(|e| failed(e.into()))?;
        Ok(Around { of: self, params, raised: raised.clone() })
    }
}

impl Around<'_> {
    /// What `call` makes of the present parameters.
    fn ask<T>(&self, call: impl FnOnce(Bound<'_, PyAny>) -> PyResult<T>) -> flat_metrics::Result<T> {
        let theta: ParamVec = self.params.read()?;
        Python::attach(|py| call(array::to_python(py, &theta)?)).map_err(|e| self.raised.keep(e))
    }

    /// Mean loss over all batches.
    ///
    /// # Errors
    /// The callable's.
    pub(crate) fn mean(&self) -> flat_metrics::Result<f64> {
        let theta: ParamVec = self.params.read()?;
        let all = Python::attach(|py| {
            let theta = array::to_python(py, &theta)?;
            let batch = |i| self.of.loss.bind(py).call1((&theta, i))?.extract::<f64>();
            (0..self.batches()).map(|i| Ok(self.weight(i) * batch(i)?)).sum::<PyResult<f64>>()
        });
        all.map_err(|e| self.raised.keep(e))
    }
}

impl Objective for Around<'_> {
    fn params(&self) -> &Params {
        &self.params
    }

    fn batches(&self) -> usize {
        self.of.sizes.len()
    }

    fn weight(&self, i: usize) -> f64 {
        self.of.sizes[i] as f64 / self.examples() as f64
    }

    fn examples(&self) -> usize {
        self.of.sizes.iter().sum()
    }

    fn loss(&self, i: usize) -> flat_metrics::Result<Tensor> {
        let loss = self.ask(|theta| self.of.loss.bind(theta.py()).call1((&theta, i))?.extract::<f64>())?;
        Ok(Tensor::new(loss, &Device::Cpu)?.to_dtype(DType::F64)?)
    }

    fn loss_and_gradient(&self, i: usize) -> flat_metrics::Result<(f64, ParamVec)> {
        self.ask(|theta| {
            let given = self.of.gradient.bind(theta.py()).call1((&theta, i))?;
            let (loss, gradient): (f64, Bound<'_, PyAny>) = given.extract()?;
            Ok((loss, array::from_python(&self.of.space, &gradient)?))
        })
    }

    fn bn_mode(&self) -> Option<&'static str> {
        self.of.bn_mode
    }
}
