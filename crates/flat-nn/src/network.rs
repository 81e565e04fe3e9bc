//! Networks, written once over any [`Value`].

use crate::Result;
use crate::count::Shaped;
use crate::dual::Dual;
use crate::jet::Jet;
use crate::scope::Scope;
use crate::specs::Specs;
use crate::tape::TapeTensor;
use crate::tape::bundle::Bundle;
use crate::value::Value;
use candle_core::Tensor;

/// A classifier of your own: its parameters, and one forward pass over any [`Value`].
///
/// [`Model::of`](crate::Model::of) runs that pass over plain tensors, over the tape (gradients), over tangents (exact
/// Hessian-vector products), over second derivatives along a line (quadratic forms) and over shapes (work, kinks).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use flat_core::{ParamVec, Purpose, Streams};
/// use flat_nn::{Activation, Loss, Mode, Model, Network, Result, Scope, Specs, Value};
///
/// struct Net;
///
/// impl Network for Net {
///     fn input(&self) -> Vec<usize> {
///         vec![2]
///     }
///     fn specs(&self) -> Result<Specs> {
///         let mut specs = Specs::default();
///         specs.linear("hidden", 2, 16);
///         specs.linear("out", 16, 3);
///         Ok(specs)
///     }
///     fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
///         scope.linear("out", &scope.linear_of("hidden", x)?.activate(Activation::Tanh)?)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let streams = Streams::new(0);
/// let model = Model::of(Net, DType::F64, &Device::Cpu, &streams)?;
/// let (x, labels) = (Tensor::ones((5, 2), DType::F64, &Device::Cpu)?, Tensor::new(&[0u32, 1, 2, 1, 0], &Device::Cpu)?);
/// let v = ParamVec::sphere(model.params().space(), &streams.at(Purpose::Probe, 0))?;
/// let hv = model.hessian_product(Loss::Mse, &x, &labels, &v, Mode::Eval)?;
/// assert!(v.dot(&hv)?.is_finite());
/// # Ok(())
/// # }
/// ```
pub trait Network: Send + Sync + 'static {
    /// A name for messages and the header of a checkpoint: by default the type's.
    fn name(&self) -> String {
        std::any::type_name::<Self>().rsplit("::").next().unwrap_or_default().to_string()
    }

    /// Shape of one example.
    fn input(&self) -> Vec<usize>;

    /// Parameters and normalisation layers.
    ///
    /// # Errors
    /// Sizes that the network cannot take.
    fn specs(&self) -> Result<Specs>;

    /// Logits `(n, classes)` of inputs `x (n, ...)`, by the layers of `scope` and the operations of [`Value`].
    ///
    /// # Errors
    /// Shapes that do not fit.
    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V>;
}

/// Writes the instances of [`Network::forward`] down: a method each for behind `dyn`, and which value takes which.
macro_rules! instances {
    ($($method:ident: $value:ty),+ $(,)?) => {
        /// A [`Network`] behind `dyn`.
        pub(crate) trait AnyNetwork: Send + Sync {
            fn name(&self) -> String;
            fn input(&self) -> Vec<usize>;
            fn specs(&self) -> Result<Specs>;
            $(fn $method(&self, scope: &Scope<'_, $value>, x: &Tensor) -> Result<$value>;)+
        }

        impl<N: Network> AnyNetwork for N {
            fn name(&self) -> String {
                Network::name(self)
            }
            fn input(&self) -> Vec<usize> {
                Network::input(self)
            }
            fn specs(&self) -> Result<Specs> {
                Network::specs(self)
            }
            $(fn $method(&self, scope: &Scope<'_, $value>, x: &Tensor) -> Result<$value> {
                self.forward(scope, x)
            })+
        }

        /// A [`Value`] that networks are compiled for.
        pub(crate) trait Instance: Value {
            fn forward(network: &dyn AnyNetwork, scope: &Scope<'_, Self>, x: &Tensor) -> Result<Self>;
        }

        $(impl Instance for $value {
            fn forward(network: &dyn AnyNetwork, scope: &Scope<'_, Self>, x: &Tensor) -> Result<Self> {
                network.$method(scope, x)
            }
        })+
    };
}

instances! {
    plain: Tensor,
    tangent: Dual,
    jet: Jet,
    taped: TapeTensor,
    bundle: Bundle,
    shaped: Shaped,
}
