//! The tape against candle's graph of the same models, which is itself checked against differences.

use crate::check::normal;
use crate::models::{build, config};
use candle_core::{DType, Tensor};
use flat_core::{ParamVec, Purpose, Streams};
use flat_nn::{Activation, Loss, Mode, ModelConfig, Norm, Result, Stem, networks};

/// Every architecture with what its layers depend on.
fn cases() -> Vec<(ModelConfig, Mode)> {
    let mut cases = Vec::new();
    for activation in [Activation::Relu, Activation::Tanh, Activation::Gelu] {
        for arch in [networks::MLP, networks::LENET, networks::RESNET20, networks::WRN_16_4] {
            for (norm, mode) in
                [(Norm::Batch, Mode::BatchStats), (Norm::Batch, Mode::Eval), (Norm::Group, Mode::BatchStats)]
            {
                let normalised = arch.takes("norm");
                // the wide one is slow: once is enough
                if (normalised || (norm, mode) == (Norm::Batch, Mode::Eval))
                    && (arch != networks::WRN_16_4 || (activation, norm) == (Activation::Relu, Norm::Batch))
                {
                    let side = if arch == networks::LENET { 16 } else { 8 };
                    cases.push((ModelConfig { activation, norm, ..config(arch, 2, side) }, mode));
                }
            }
        }
    }
    let narrow = ModelConfig { channels: Some(4), ..config(networks::RESNET50, 2, 16) };
    cases.push((ModelConfig { stem: Stem::Imagenet, ..narrow.clone() }, Mode::Eval));
    cases.push((narrow, Mode::BatchStats));
    let vgg = ModelConfig { channels: Some(4), ..config(networks::VGG13_BN, 2, 32) };
    cases.push((ModelConfig { stem: Stem::Imagenet, ..vgg.clone() }, Mode::BatchStats));
    cases.push((vgg, Mode::Eval));
    cases.push((config(networks::VIT_TINY, 2, 8), Mode::Eval));
    cases
}

#[test]
fn gradients_and_hessian_products_on_the_tape_are_those_of_the_graph() -> Result<()> {
    for (config, mode) in cases() {
        for loss in [Loss::CrossEntropy { label_smoothing: 0.1 }, Loss::Mse] {
            let model = build(&config, DType::F64)?;
            let (params, x) = (model.params(), normal(&[3, 2, config.height, config.width], 1));
            let labels = Tensor::new(&[1u32, 7, 4], x.device())?;
            let v = ParamVec::sphere(params.space(), &Streams::new(2).at(Purpose::Probe, 0))?;
            let expected = loss.mean(&model.logits(&x, mode)?, &labels)?;
            let (value, g) = model.loss_and_gradient(loss, &x, &labels, mode)?;
            assert_eq!(value, expected.to_scalar::<f64>()?);
            let same = |got: &ParamVec, expected: &ParamVec, what: &str| -> Result<()> {
                // sums in another order: some roundings of 1e-16 each, amplified by the depth
                let off = got.plus(-1.0, expected)?.norm()? / expected.norm()?;
                assert!(off < 1e-12, "{what} of {config:?}, {mode:?}, {loss:?}: off by {off:e}");
                Ok(())
            };
            same(&g, &params.gradient(&expected.backward()?)?, "gradient")?;
            let along = loss.mean(&model.logits_tangent(&x, &v, mode)?, &labels)?.tangent;
            let hv = model.hessian_product(loss, &x, &labels, &v, mode)?;
            same(&hv, &params.gradient(&along.backward()?)?, "Hessian product")?;
            let w = ParamVec::sphere(params.space(), &Streams::new(2).at(Purpose::Probe, 1))?;
            let both = [v, w];
            let products = [hv, model.hessian_product(loss, &x, &labels, &both[1], mode)?];
            let together = model.hessian_products(loss, &x, &labels, &[&both[0], &both[1]], mode)?;
            assert_eq!(together.len(), both.len());
            for (one, of_both) in products.iter().zip(&together) {
                assert_eq!(one.to_f64()?, of_both.to_f64()?, "{config:?}, {mode:?}, {loss:?}");
            }
            for (form, (v, hv)) in
                model.hessian_forms(loss, &x, &labels, &both, mode)?.iter().zip(both.iter().zip(&products))
            {
                let (expected, size) = (v.dot(hv)?, hv.norm()?);
                // the bound of the product, for a vector of length one
                let off = (form - expected).abs() / size;
                assert!(off < 1e-12, "form of {config:?}, {mode:?}, {loss:?}: {form} for {expected}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_pullback_serves_any_function_of_the_logits() -> Result<()> {
    let model = build(&config(networks::MLP, 1, 4), DType::F64)?;
    let x = normal(&[5, 1, 4, 4], 3);
    let f = |z: &Tensor| z.narrow(0, 2, 1)?.sqr()?.sum_all();
    let pass = model.pullback(&x, Mode::Eval)?;
    let y = f(pass.logits())?;
    let got = pass.gradient(&y)?;
    let expected = model.params().gradient(&f(&model.logits(&x, Mode::Eval)?)?.backward()?)?;
    assert!(got.plus(-1.0, &expected)?.norm()? < 1e-13 * expected.norm()?);
    Ok(())
}

#[test]
fn the_running_statistics_move_as_in_any_forward_pass() -> Result<()> {
    let c = config(networks::RESNET20, 2, 8);
    let (a, b) = (build(&c, DType::F64)?, build(&c, DType::F64)?);
    let x = normal(&[4, 2, 8, 8], 1);
    a.logits(&x, Mode::Train)?;
    b.pullback(&x, Mode::Train)?;
    for (name, buffer) in a.buffers() {
        let numbers = |v: &candle_core::Var| v.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        assert_eq!(numbers(buffer)?, numbers(&b.buffers()[name])?, "{name}");
    }
    Ok(())
}

#[test]
fn gradients_and_hessian_products_in_f32_are_those_in_f64() -> Result<()> {
    // large enough for the kernels that take several passes together; tanh, so that no kink lies between the two
    for (arch, channels, side) in [(networks::LENET, 1, 28), (networks::RESNET20, 3, 32)] {
        let c = ModelConfig { activation: Activation::Tanh, ..config(arch, channels, side) };
        let (single, double) = (build(&c, DType::F32)?, build(&c, DType::F64)?);
        double.set_state(&single.state()?)?;
        let x = normal(&[5, channels, side, side], 1).to_dtype(DType::F32)?;
        let labels = Tensor::new(&[1u32, 7, 4, 0, 9], x.device())?;
        let v = ParamVec::sphere(single.params().space(), &Streams::new(2).at(Purpose::Probe, 0))?;
        let wide = ParamVec::from_f64(double.params().space(), v.to_f64()?)?;
        let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
        let off = |a: &ParamVec, b: &ParamVec| -> Result<f64> {
            let (a, b) = (a.to_f64()?, b.to_f64()?);
            let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
            Ok(norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()))
        };
        for mode in [Mode::Eval, Mode::BatchStats] {
            let x64 = x.to_dtype(DType::F64)?;
            let (g, g64) = (
                single.loss_and_gradient(loss, &x, &labels, mode)?.1,
                double.loss_and_gradient(loss, &x64, &labels, mode)?.1,
            );
            let (h, h64) = (
                single.hessian_product(loss, &x, &labels, &v, mode)?,
                double.hessian_product(loss, &x64, &labels, &wide, mode)?,
            );
            let twice = [v.scaled(-1.0)?, v.scaled(1.0)?];
            let together = single.hessian_products(loss, &x, &labels, &[&twice[0], &twice[1]], mode)?;
            assert_eq!(together[1].to_f64()?, h.to_f64()?, "{arch}, {mode:?}: others change a product");
            // the second direction takes the kernels that leave out the value
            let forms = single.hessian_forms(loss, &x, &labels, &[v.scaled(1.0)?, v.scaled(1.0)?], mode)?;
            let form64 = double.hessian_forms(loss, &x64, &labels, std::slice::from_ref(&wide), mode)?[0];
            assert_eq!(forms[0].to_bits(), forms[1].to_bits());
            let form = forms[0];
            let off_form = (form - form64).abs() / form64.abs();
            println!("{arch} {mode:?}: {:.1e} {:.1e} {off_form:.1e}", off(&g, &g64)?, off(&h, &h64)?);
            // transforms with relative errors of some 1e-6 each; the statistics of five images amplify them: seen 1e-6 to
            // 2e-6 without, 2e-5 and 4e-5 with them
            assert!(off(&g, &g64)? < 1e-4, "gradient of {arch}, {mode:?}: {:e}", off(&g, &g64)?);
            assert!(off(&h, &h64)? < 1e-4, "Hessian product of {arch}, {mode:?}: {:e}", off(&h, &h64)?);
            assert!(off_form < 1e-4, "quadratic form of {arch}, {mode:?}: {form} for {form64}");
        }
    }
    Ok(())
}
