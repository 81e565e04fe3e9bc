//! Rules, bases and the optimizer as a user sees them, in f64 on the CPU.

mod averages;
mod batches;
mod buffers;
mod by_hand;
mod closed_form;
mod conformance;
mod functions;
mod invariants;
mod pace;
mod pending;
mod projection;
mod pytorch;
mod ranked;
mod reductions;
mod resume;
mod rules;
mod schedule_free;
mod skipping;
