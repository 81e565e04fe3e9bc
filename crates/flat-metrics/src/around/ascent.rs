//! The largest loss in a ball, by projected gradient ascent.

use super::ball::Ball;
use super::surface::Surface;
use crate::Result;
use crate::objective::Objective;
use crate::observer::{Observer, Progress};
use flat_core::ParamVec;

/// Projected ascent from `theta + start`: steps along the ball's steepest direction, projected back, taken only where the
/// loss grows. The step starts as the radius; it doubles (up to four radii) after one that was taken and is halved after
/// one that was not. Returns the largest loss found. Each step costs one gradient, the start one more. Where the gradient vanishes at the start, it goes on from `nudge`.
pub(crate) fn ascend<O: Objective + ?Sized>(
    surface: &mut Surface<'_, O>,
    theta: &ParamVec,
    ball: &Ball,
    start: ParamVec,
    nudge: impl Fn() -> Result<ParamVec>,
    steps: u64,
    observer: &mut dyn Observer,
) -> Result<f64> {
    let mut delta = start;
    let mut here = surface.gradient(&theta.plus(1.0, &delta)?, observer)?;
    let mut factor = 1.0;
    for step in 1..=steps {
        let next = match ball.steepest(&here.1)? {
            Some(direction) => ball.project(delta.plus(factor, &direction)?)?,
            None if step == 1 => nudge()?,
            None => break,
        };
        let watch = &mut |at: &Progress| observer.observe(&Progress { done: step, ..*at });
        let there = surface.gradient(&theta.plus(1.0, &next)?, watch)?;
        if there.0 > here.0 {
            (delta, here, factor) = (next, there, (2.0 * factor).min(4.0));
        } else {
            factor /= 2.0;
            if factor < SMALLEST {
                break;
            }
        }
    }
    Ok(here.0)
}

/// A step of this many radii changes the loss by less than its rounding.
const SMALLEST: f64 = 1e-9;
