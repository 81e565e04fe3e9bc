//! A symmetric matrix whose products a Python callable gives.

use crate::array;
use crate::elements::exchange;
use crate::failure::Raised;
use candle_core::DType;
use flat_core::{ParamVec, Space};
use flat_metrics::{BatchForm, Error, LinearOperator, Observer, Product, Progress, Provenance};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A symmetric matrix given by `product(v) -> (A v, forms)`: both vectors are flat arrays over the parameters in order
/// of their names, `forms` holds `<v, A_i v>` of each batch, or nothing. `weights` are the batches' fractions of the
/// examples. With `in_place` it is `product(v, out) -> forms`, which writes `A v`: both are buffers that share the
/// memory of the estimator's vectors, for the time of the call.
#[pyclass(frozen, module = "flatness._core")]
pub(crate) struct Operator {
    space: Space,
    product: Py<PyAny>,
    in_place: bool,
    weights: Vec<f64>,
    provenance: Provenance,
}

#[pymethods]
impl Operator {
    /// The operator over `parameters`, a list of names with shapes.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    #[pyo3(signature = (product, parameters, *, dtype, name, weights = vec![], examples = None, bn_mode = None, in_place = false))]
    fn new(
        product: Py<PyAny>,
        parameters: Vec<(String, Vec<usize>)>,
        dtype: &str,
        name: String,
        weights: Vec<f64>,
        examples: Option<usize>,
        bn_mode: Option<String>,
        in_place: bool,
    ) -> PyResult<Self> {
        let space = array::space(parameters, dtype)?;
        let provenance = Provenance {
            operator: Some(name),
            dim: space.layout.len(),
            examples,
            batches: (!weights.is_empty()).then_some(weights.len()),
            bn_mode,
            dtype: space.dtype.as_str().into(),
        };
        Ok(Self { space, product, in_place, weights, provenance })
    }

    /// The number of parameters.
    #[getter]
    fn size(&self) -> usize {
        self.space.layout.len()
    }
}

/// An [`Operator`] during one computation.
pub(crate) struct Running<'a> {
    of: &'a Operator,
    raised: Raised,
    matvecs: u64,
}

impl Operator {
    pub(crate) fn start(&self, raised: &Raised) -> Running<'_> {
        Running { of: self, raised: raised.clone(), matvecs: 0 }
    }
}

impl Running<'_> {
    fn call(&self, v: &ParamVec) -> PyResult<(ParamVec, Vec<f64>)> {
        Python::attach(|py| {
            let callable = self.of.product.bind(py);
            let (product, forms) = if self.of.in_place {
                exchange(py, v, |v, out| callable.call1((v, out))?.extract::<Vec<f64>>())?
            } else {
                let given = callable.call1((array::to_python(py, v)?,))?;
                let (product, forms): (Bound<'_, PyAny>, Vec<f64>) = given.extract()?;
                (array::from_python(&self.of.space, &product)?, forms)
            };
            let batches = self.of.weights.len();
            if !forms.is_empty() && forms.len() != batches {
                let text = format!("the callable returned the forms of {} batches, not of {batches}", forms.len());
                return Err(PyValueError::new_err(text));
            }
            Ok((product, forms))
        })
    }
}

impl LinearOperator for Running<'_> {
    fn space(&self) -> &Space {
        &self.of.space
    }

    fn product(&mut self, v: &ParamVec, observer: &mut dyn Observer) -> flat_metrics::Result<Product> {
        self.of.space.layout.same_as(v.layout())?;
        if observer.observe(&Progress::default()).is_break() {
            return Err(Error::Interrupted);
        }
        let (product, forms) = self.call(v).map_err(|e| self.raised.keep(e))?;
        let norm = product.norm()?;
        if !norm.is_finite() {
            let kind = if self.of.space.dtype == DType::F32 { "float32" } else { "float64" };
            return Err(Error::NonFinite { quantity: format!("the norm of a product in {kind}"), value: norm });
        }
        self.matvecs += 1;
        let form = |(group, (weight, form)): (usize, (&f64, f64))| BatchForm { weight: *weight, form, group };
        let batches = self.of.weights.iter().zip(forms).enumerate().map(form).collect();
        Ok(Product { product, batches })
    }

    fn matvecs(&self) -> u64 {
        self.matvecs
    }

    fn provenance(&self) -> Provenance {
        self.of.provenance.clone()
    }
}
