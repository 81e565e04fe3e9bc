//! The largest loss in a ball.

use crate::ball::Ball;
use crate::surface::Surface;
use crate::{Objective, Result, Watch};
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
    watch: &mut dyn FnMut(u64, crate::Tick) -> std::ops::ControlFlow<()>,
) -> Result<f64> {
    let mut delta = start;
    let mut here = {
        let watch: &mut Watch<'_> = &mut |tick| watch(0, tick);
        surface.gradient(&theta.plus(1.0, &delta)?, watch)?
    };
    let mut factor = 1.0;
    for step in 1..=steps {
        let next = match ball.steepest(&here.1)? {
            Some(direction) => ball.project(delta.plus(factor, &direction)?)?,
            None if step == 1 => nudge()?,
            None => break,
        };
        let watch: &mut Watch<'_> = &mut |tick| watch(step, tick);
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
