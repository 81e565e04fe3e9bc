//! Layers, losses and models against central differences, naive loops and known numbers.
#![allow(clippy::disallowed_macros)] // what it prints is for whoever runs it

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
mod theirs;
mod torch_files;
mod torchvision;
