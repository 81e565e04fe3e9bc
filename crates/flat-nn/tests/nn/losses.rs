//! Losses: values, derivatives, refusals.

use crate::check::{Function, check, normal, variables};
use candle_core::{DType, Device, Tensor};
use flat_nn::{Loss, Result, Value};

struct OfLogits {
    loss: Loss,
    labels: Tensor,
}

impl Function for OfLogits {
    fn eval<V: Value>(&self, inputs: &[V]) -> Result<V> {
        self.loss.mean(&inputs[0], &self.labels)
    }
}

fn labels(values: &[u32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).expect("labels")
}

const LOSSES: [Loss; 3] =
    [Loss::CrossEntropy { label_smoothing: 0.0 }, Loss::CrossEntropy { label_smoothing: 0.1 }, Loss::Mse];

#[test]
fn losses_have_right_derivatives() {
    for loss in LOSSES {
        let f = OfLogits { loss, labels: labels(&[0, 3, 3, 1, 2]) };
        check(&format!("{loss:?}"), &f, &variables(&[&[5, 4]]), 1e-9);
    }
}

#[test]
fn losses_follow_their_definitions() -> Result<()> {
    let z = (normal(&[5, 4], 1) * 3.0)?;
    let y = [0usize, 3, 3, 1, 2];
    let rows = z.to_vec2::<f64>()?;
    for loss in LOSSES {
        let expected: Vec<f64> = rows
            .iter()
            .zip(y)
            .map(|(z, y)| {
                let lse = z.iter().map(|v| v.exp()).sum::<f64>().ln();
                let log_p: Vec<f64> = z.iter().map(|v| v - lse).collect();
                match loss {
                    Loss::CrossEntropy { label_smoothing: s } => {
                        -(1.0 - s) * log_p[y] - s / 4.0 * log_p.iter().sum::<f64>()
                    }
                    Loss::Mse => {
                        z.iter().enumerate().map(|(j, v)| (v - f64::from(u8::from(j == y))).powi(2)).sum::<f64>() / 4.0
                    }
                }
            })
            .collect();
        let y = labels(&y.map(|y| y as u32));
        for (a, b) in loss.per_example(&z, &y)?.to_vec1::<f64>()?.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-13 * b.abs().max(1.0), "{loss:?}: {a} against {b}");
        }
        let mean: f64 = loss.mean(&z, &y)?.to_scalar()?;
        assert!((mean - expected.iter().sum::<f64>() / 5.0).abs() < 1e-13 * mean.abs().max(1.0));
    }
    Ok(())
}

#[test]
fn cross_entropy_keeps_the_digits_of_tiny_losses_and_stays_finite_for_huge_logits() -> Result<()> {
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    let z = Tensor::new(&[[20.0f32, 0.0], [1000.0, -1000.0], [-1000.0, 1000.0]], &Device::Cpu)?;
    let l: Vec<f32> = loss.per_example(&z, &labels(&[0, 0, 0]))?.to_vec1()?;
    // ln(1 + e^-20), rounded to f32
    assert!((f64::from(l[0]) - 2.061_153_620_314_381e-9).abs() < 1e-15, "{}", l[0]);
    assert_eq!(l[1..], [0.0, 2000.0]);
    Ok(())
}

#[test]
fn labels_outside_the_classes_and_wrong_counts_are_refused() {
    let z = normal(&[2, 3], 1).to_dtype(DType::F32).expect("f32");
    for loss in LOSSES {
        let err = loss.mean(&z, &labels(&[0, 3])).expect_err("label 3 of 3").to_string();
        assert!(err.contains("label 3"), "{err}");
        assert!(loss.mean(&z, &labels(&[0])).is_err());
    }
    let loss = Loss::CrossEntropy { label_smoothing: 1.5 };
    assert!(loss.mean(&z, &labels(&[0, 1])).is_err());
}
