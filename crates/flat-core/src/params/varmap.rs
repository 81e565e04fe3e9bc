//! Parameters and buffers of a candle `VarMap`.

use super::Params;
use crate::{Error, Result};
use candle_core::Var;
use candle_nn::VarMap;
use std::collections::BTreeMap;

/// Whether a name is that of a BatchNorm buffer (`running_mean`, `running_var`, `num_batches_tracked`): state that is
/// never perturbed, decayed or counted in d.
pub fn is_buffer(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("running_mean" | "running_var" | "num_batches_tracked"))
}

impl Params {
    /// Every variable of a candle `VarMap` that is not a BatchNorm buffer.
    ///
    /// # Errors
    /// As [`Params::new`].
    pub fn from_varmap(map: &VarMap) -> Result<Self> {
        let data = map.data().lock().map_err(|_| Error::BadParams("the VarMap's lock is poisoned".into()))?;
        Self::new(data.iter().filter(|(n, _)| !is_buffer(n)).map(|(n, v)| (n.clone(), v.clone())))
    }

    /// The BatchNorm buffers of a candle `VarMap`, by name ([`is_buffer`]), sorted by it.
    ///
    /// # Errors
    /// [`Error::BadParams`] where the lock of the `VarMap` is poisoned.
    pub fn buffers_of(map: &VarMap) -> Result<Vec<Var>> {
        let data = map.data().lock().map_err(|_| Error::BadParams("the VarMap's lock is poisoned".into()))?;
        let buffers: BTreeMap<_, _> = data.iter().filter(|(name, _)| is_buffer(name)).collect();
        Ok(buffers.into_values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_known_by_their_last_component() {
        assert!(is_buffer("layer1.0.bn1.running_mean"));
        assert!(!is_buffer("layer1.0.bn1.weight"));
    }
}
