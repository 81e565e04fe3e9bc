//! SGD in the dominant subspace of the Hessian alone.

projected! {
    DomSgd keeps Dominant: "dom-sgd",
    "the update on the span of the Hessian's top k eigenvectors alone",
    "P u", "P g",
    "stops falling, although nearly all of the gradient lies in the subspace",
    "[2.4, -2.0]"
}
