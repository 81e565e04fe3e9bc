//! Layers, losses and models against central differences, naive loops and known numbers.

mod adopt;
mod check;
mod checkpoint;
mod conv;
mod layers;
mod losses;
mod models;
mod network;
mod pool;
mod pullback;
