//! The uses of random numbers.

/// What a stream is for. The number is part of the key: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights, one stream a parameter name.
    Init = 1,
    /// Order of the examples, one stream an epoch.
    Order = 2,
    /// Augmentation, one stream an epoch and example.
    Augment = 3,
    /// Perturbation directions, one stream a step.
    Perturb = 4,
    /// Which example of the batch SAP uses, one stream a step; labels drawn from a model, one stream a batch and draw.
    Sample = 5,
    /// SAP's random sign, one stream a step.
    Sign = 6,
    /// Trace probes, one stream a probe.
    Probe = 7,
    /// Choice of a subset of a data set.
    Subset = 8,
    /// Anything in tests and examples.
    Test = 9,
    /// Which elements a perturbation leaves out, one stream a step and part of the batch.
    Mask = 10,
    /// Noise within a step's chain of updates, one stream a step and update.
    Chain = 12,
    /// A spurious attribute of an example, one stream an example; its balanced form, one a class and round.
    Attribute = 20,
    /// Examples drawn by their groups, one stream an epoch and batch.
    Groups = 21,
}
