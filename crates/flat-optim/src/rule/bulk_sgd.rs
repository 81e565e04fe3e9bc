//! SGD without the dominant subspace of the Hessian.

projected! {
    BulkSgd keeps Bulk: "bulk-sgd",
    "the update without its part in the span of the Hessian's top k eigenvectors",
    "u - P u", "g - P g",
    "falls as with SGD, although most of the gradient is taken away",
    "[3.0, -1.6]"
}
