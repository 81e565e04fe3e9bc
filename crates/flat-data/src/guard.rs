//! A guard around decoders that may panic on hostile input: the panic becomes an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::Fault;

/// Runs a third-party decoder and turns a panic in it into a [`Fault::Decode`]. The value built inside is dropped with
/// the panic, so nothing half-made is seen outside.
pub(crate) fn guarded<T, E: From<Fault>>(decoder: &str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Fault::Decode(format!("the {decoder} decoder panicked on it")).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_fault() {
        let result: Result<(), Fault> = guarded("test", || panic!("expected in this test"));
        assert_eq!(result, Err(Fault::Decode("the test decoder panicked on it".into())));
    }
}
