//! The dominant subspace of a run: the top eigenvectors of the Hessian of the whole training loss, for rules that project.

use crate::measure::hessian_method::HessianMethod;
use crate::parts::setup::{Data, EVAL_BATCH};
use crate::settings::choice::{BnModeName, HvpName};
use crate::settings::config::RunConfig;
use crate::signal::{self, GivenUp};
use crate::usage::usage;
use anyhow::Result;
use flat_core::Streams;
use flat_data::{Augment, Loader, LoaderOptions};
use flat_metrics::{
    DominantConfig, DominantSubspace, ModelObjective, Progress, TangentHessian, check_determinism, gradient_watched,
};
use flat_nn::{Loss, Model, Precision};
use flat_optim::{Account, Error, ParamVec, Params, StateVisitor, Stateful, Subspace};
use std::sync::Arc;

/// The eigenvectors of the k largest eigenvalues of the Hessian of the mean loss over all training images. They are
/// found anew every so many steps, from those before. The loss has no weight decay and no augmentation; BatchNorm
/// takes its running statistics.
///
/// The variables are the model's own. The vectors are part of the optimizer's state, so that a resumed run begins where the
/// other one was. For s > 1 the subspace is that of up to s - 1 steps ago.
pub struct HessianSubspace {
    model: Model,
    loss: Loss,
    data: Loader,
    precision: Precision,
    every: u64,
    streams: Streams,
    method: DominantSubspace,
    k: usize,
    /// What the method keeps; zeros before its first call.
    block: Vec<ParamVec>,
    /// The first k of them, once they are asked for.
    basis: Option<Arc<[ParamVec]>>,
    /// One more than the step that they were found in; 0 before.
    found: u64,
    products: u64,
    gradients: u64,
    refreshes: u64,
    unconverged: u64,
    /// Not a number where nothing is known.
    gap: f64,
    residual: f64,
    share: f64,
}

impl HessianSubspace {
    /// The subspace that the settings of a run ask for, of the model's variables.
    ///
    /// # Errors
    /// More dimensions than parameters.
    pub fn of_run(config: &RunConfig, model: &Model, loss: Loss, data: &Data) -> Result<Self> {
        let space = model.params().space();
        let (k, d) = (config.subspace_k.unwrap_or(model.classes()), space.layout.len());
        if k > d {
            return Err(usage(format!("--subspace-k {k}: the model has {d} parameters, give at most as many")));
        }
        let dominant = DominantConfig { rel_tol: config.subspace_tol, ..DominantConfig::of(k) };
        let kept = (k + dominant.extra + 1).min(d);
        let options = LoaderOptions {
            batch_size: EVAL_BATCH,
            shuffle: false,
            drop_last: false,
            augment: Augment::default(),
            balance: None,
        };
        Ok(Self {
            model: model.handle(),
            loss,
            data: data.train_plain.beside(options, Streams::new(0))?,
            precision: config.precision,
            every: config.subspace_every,
            streams: Streams::new(config.seed),
            method: DominantSubspace::new(dominant)?,
            k,
            block: (0..kept).map(|_| ParamVec::zeros(space)).collect::<flat_core::Result<_>>()?,
            basis: None,
            found: 0,
            products: 0,
            gradients: 0,
            refreshes: 0,
            unconverged: 0,
            gap: f64::NAN,
            residual: f64::NAN,
            share: f64::NAN,
        })
    }

    /// Does something with the loss over all training images, in products that are not rounded.
    fn with_objective<T>(
        &mut self,
        of: impl FnOnce(&mut Self, &ModelObjective<'_>) -> flat_metrics::Result<T>,
    ) -> flat_optim::Result<T> {
        let device = self.model.params().space().device.clone();
        let which = HessianMethod { bn_mode: BnModeName::Eval, hvp: HvpName::Exact };
        let (model, data) = (self.model.handle(), self.data.beside(*self.data.options(), Streams::new(0)));
        let data = data.map_err(Error::objective)?;
        Precision::F32.set(&device).map_err(Error::objective)?;
        let found = which.objective(&model, self.loss, &data).and_then(|objective| of(self, &objective));
        self.precision.set(&device).map_err(Error::objective)?;
        found.map_err(|e| match e {
            flat_metrics::Error::NonFinite { value, .. } => {
                Error::NonFinite { what: "Hessian of the training loss", value, place: "at theta" }
            }
            flat_metrics::Error::Interrupted => Error::objective(GivenUp),
            e => Error::objective(e),
        })
    }

    fn refresh(&mut self, step: u64) -> flat_optim::Result<()> {
        self.with_objective(|this, objective| {
            if this.refreshes == 0 {
                check_determinism(objective)?;
            }
            let mut hessian = TangentHessian::unchecked(objective);
            if this.found > 0 {
                this.method.begin_with(std::mem::take(&mut this.block));
            }
            let found = this.method.run(&mut hessian, &this.streams, step, &mut |_: &Progress| signal::go_on());
            if found.is_ok() || this.found > 0 {
                this.block = this.method.take();
            }
            let found = found?;
            this.products += found.effort.matvecs;
            this.refreshes += 1;
            this.unconverged += u64::from(!found.converged);
            (this.gap, this.residual) = (found.gap.unwrap_or(f64::NAN), found.residual);
            Ok(())
        })?;
        (self.found, self.basis) = (step + 1, None);
        Ok(())
    }
}

impl Stateful for HessianSubspace {
    fn visit(&mut self, visitor: &mut dyn StateVisitor) -> flat_optim::Result<()> {
        for (i, vector) in self.block.iter_mut().enumerate() {
            visitor.vector(&format!("block{i}"), vector)?;
        }
        for (name, count) in [
            ("found", &mut self.found),
            ("products", &mut self.products),
            ("gradients", &mut self.gradients),
            ("refreshes", &mut self.refreshes),
            ("unconverged", &mut self.unconverged),
        ] {
            visitor.count(name, count)?;
        }
        for (name, number) in [("gap", &mut self.gap), ("residual", &mut self.residual), ("share", &mut self.share)] {
            visitor.number(name, number)?;
        }
        self.basis = None;
        Ok(())
    }
}

impl Subspace for HessianSubspace {
    fn basis(&mut self, _: &Params, step: u64) -> flat_optim::Result<Arc<[ParamVec]>> {
        if self.found == 0 || step + 1 >= self.found + self.every {
            self.refresh(step)?;
        }
        if let Some(basis) = &self.basis {
            return Ok(Arc::clone(basis));
        }
        let copies = self.block[..self.k].iter().map(ParamVec::duplicate).collect::<flat_core::Result<Arc<[_]>>>()?;
        Ok(Arc::clone(self.basis.insert(copies)))
    }

    fn share(&mut self, params: &Params, step: u64) -> flat_optim::Result<f64> {
        let basis = self.basis(params, step)?;
        let (_, full) =
            self.with_objective(|_, objective| gradient_watched(objective, &mut |_: &Progress| signal::go_on()))?;
        self.gradients += 1;
        self.share = share_of(&full, &basis)?;
        Ok(self.share)
    }

    fn account(&self) -> Account {
        let known = |x: f64| Some(x).filter(|x| !x.is_nan());
        Account {
            products: self.products,
            gradients: self.gradients,
            refreshes: self.refreshes,
            unconverged: self.unconverged,
            gap: known(self.gap),
            residual: known(self.residual),
            share: known(self.share),
        }
    }
}

/// `|P g| / |g|` for orthonormal vectors; 0 for a zero gradient.
///
/// # Errors
/// Vectors of different spaces; candle's.
pub fn share_of(g: &ParamVec, basis: &[ParamVec]) -> flat_core::Result<f64> {
    let inside = basis.iter().map(|v| Ok(v.dot(g)?.powi(2))).sum::<flat_core::Result<f64>>()?;
    let whole = g.dot(g)?;
    Ok(if whole == 0.0 { 0.0 } else { (inside / whole).sqrt() })
}
