//! Networks of a user's own.

use crate::models::config;
use candle_core::{DType, Device, Tensor};
use flat_core::{ParamVec, Purpose, Streams};
use flat_nn::ops::{Conv2d, Pool2d};
use flat_nn::{Activation, Init, Loss, Mode, Model, ModelConfig, Network, Result, Scope, Specs, Value, networks};

/// The built-in mlp with one hidden layer, written again.
struct Twin;

impl Network for Twin {
    fn input(&self) -> Vec<usize> {
        vec![1, 4, 4]
    }
    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        specs.linear("fc1", 16, 12);
        specs.linear("fc2", 12, 10);
        Ok(specs)
    }
    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        scope.linear("fc2", &scope.linear_of("fc1", &x.flatten_from(1)?)?.activate(Activation::Tanh)?)
    }
}

/// Convolution, batch and group normalisation with a residual, both poolings, and a parameter of its own.
struct Mixed;

impl Network for Mixed {
    fn input(&self) -> Vec<usize> {
        vec![2, 8, 8]
    }
    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        specs.conv("first", 2, 4, 3, true);
        specs.norm("batch", 4, None);
        specs.conv("second", 4, 4, 3, false);
        specs.norm("group", 4, Some(2));
        specs.param("mix", &[5, 4], Init::Uniform(0.5));
        specs.linear("out", 5, 3);
        Ok(specs)
    }
    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let h = scope.norm("batch", &scope.conv_of("first", x, 1, 1)?, None, Some(Activation::Gelu))?;
        let g = scope.norm("group", &scope.conv("second", &h, 1, 1)?, Some(&h), Some(Activation::Tanh))?;
        let pooled = g.max_pool(Pool2d::tiles(2))?.mean_pool(Pool2d::tiles(2))?.global_mean()?;
        scope.linear("out", &pooled.linear(scope.param("mix")?, None)?)
    }
}

/// Every layer's parameters are curved functions of the variables.
struct Bent;

impl Network for Bent {
    fn input(&self) -> Vec<usize> {
        vec![2, 6, 6]
    }
    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        specs.conv("first", 2, 3, 3, true);
        specs.conv("second", 3, 3, 3, true);
        specs.param("scale", &[3], Init::Uniform(1.0));
        specs.param("shift", &[3], Init::Uniform(1.0));
        specs.linear("out", 3, 4);
        Ok(specs)
    }
    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        let bent = |name: &str| scope.param(name)?.activate(Activation::Tanh);
        let conv = Conv2d { stride: 1, padding: 1 };
        let h = V::conv2d_of(x, &bent("first.weight")?, Some(&bent("first.bias")?), conv)?;
        let g = h.conv2d(&bent("second.weight")?, Some(&bent("second.bias")?), conv)?;
        let (g, _) = g.batch_norm_add(&bent("scale")?, &bent("shift")?, 1e-5, Some(&h), Some(Activation::Relu))?;
        g.global_mean()?.linear(&bent("out.weight")?, Some(&bent("out.bias")?))
    }
}

fn batch(shape: &[usize], classes: u32) -> Result<(Tensor, Tensor)> {
    let x = Streams::new(5).at(Purpose::Test, 0).normals(shape.iter().product());
    let labels = (0..shape[0] as u32).map(|i| i % classes).collect::<Vec<_>>();
    Ok((Tensor::from_vec(x, shape, &Device::Cpu)?, Tensor::from_vec(labels, shape[0], &Device::Cpu)?))
}

#[test]
fn a_network_written_again_is_the_built_in_one_bit_for_bit() -> Result<()> {
    let streams = Streams::new(1);
    let config = ModelConfig { activation: Activation::Tanh, ..config(networks::MLP, 1, 4) };
    let own = Model::of(Twin, DType::F64, &Device::Cpu, &streams)?;
    let built_in = Model::new(&config, DType::F64, &Device::Cpu, &streams)?;
    let (x, labels) = batch(&[6, 1, 4, 4], 10)?;
    let v = ParamVec::sphere(own.params().space(), &streams.at(Purpose::Probe, 0))?;
    let numbers = |model: &Model| -> Result<[Vec<f64>; 3]> {
        let hv = model.hessian_product(Loss::Mse, &x, &labels, &v, Mode::Eval)?;
        let logits = model.logits(&x, Mode::Eval)?.flatten_all()?.to_vec1()?;
        Ok([model.params().read()?.to_f64()?, logits, hv.to_f64()?])
    };
    assert_eq!(numbers(&own)?, numbers(&built_in)?);
    assert_eq!((own.name(), own.classes(), own.last_layer()), ("Twin".to_string(), 10, "fc2"));
    assert_eq!((own.multiply_adds(), own.has_kinks()), (built_in.multiply_adds(), false));
    Ok(())
}

#[test]
fn an_own_network_has_the_tapes_gradients_and_hessian_products_of_candles_graph() -> Result<()> {
    let streams = Streams::new(2);
    let model = Model::of(Mixed, DType::F64, &Device::Cpu, &streams)?;
    let (x, labels) = batch(&[4, 2, 8, 8], 3)?;
    let v = ParamVec::sphere(model.params().space(), &streams.at(Purpose::Probe, 0))?;
    let loss = Loss::CrossEntropy { label_smoothing: 0.0 };
    for mode in [Mode::BatchStats, Mode::Eval] {
        let (_, gradient) = model.loss_and_gradient(loss, &x, &labels, mode)?;
        let graph = model.params().gradient(&loss.mean(&model.logits(&x, mode)?, &labels)?.backward()?)?;
        // roundings of numbers of size 1
        assert!(gradient.plus(-1.0, &graph)?.norm()? < 1e-12);
        let product = model.hessian_product(loss, &x, &labels, &v, mode)?;
        let along = loss.mean(&model.logits_tangent(&x, &v, mode)?, &labels)?;
        let graph = model.params().gradient(&along.tangent.backward()?)?;
        assert!(product.plus(-1.0, &graph)?.norm()? < 1e-11);
        let form = model.hessian_forms(loss, &x, &labels, std::slice::from_ref(&v), mode)?[0];
        assert!((form - v.dot(&graph)?).abs() < 1e-11);
    }
    // 3x3 windows of 2 and 4 channels at 64 places for 4 channels, then two products of matrices; max pooling has kinks
    let by_hand = 64 * 4 * 9 * (2 + 4) + 5 * 4 + 3 * 5;
    assert_eq!((model.multiply_adds(), model.has_kinks(), model.last_layer()), (by_hand, true, "out"));
    assert_eq!(model.features(&x, Mode::Eval)?.dims(), [4, 5]);
    assert!(model.has_batch_norm());
    Ok(())
}

#[test]
fn hessian_products_and_forms_see_that_parameters_are_functions_of_variables() -> Result<()> {
    let streams = Streams::new(6);
    let model = Model::of(Bent, DType::F64, &Device::Cpu, &streams)?;
    let (x, labels) = batch(&[5, 2, 6, 6], 4)?;
    for loss in [Loss::CrossEntropy { label_smoothing: 0.2 }, Loss::Mse] {
        let v = ParamVec::rademacher(model.params().space(), &streams.at(Purpose::Probe, 0))?;
        let along = loss.mean(&model.logits_tangent(&x, &v, Mode::BatchStats)?, &labels)?;
        let graph = model.params().gradient(&along.tangent.backward()?)?;
        let product = model.hessian_product(loss, &x, &labels, &v, Mode::BatchStats)?;
        assert!(product.plus(-1.0, &graph)?.norm()? < 1e-11 * graph.norm()?, "{loss:?}");
        let exact = v.dot(&graph)?;
        let form = model.hessian_forms(loss, &x, &labels, std::slice::from_ref(&v), Mode::BatchStats)?[0];
        // roundings of sums of some hundred terms
        assert!((form - exact).abs() < 1e-11 * exact.abs() && exact.abs() > 0.1, "{loss:?}: {form} for {exact}");
    }
    Ok(())
}

#[test]
fn weights_of_an_own_network_go_through_a_file_and_into_another_copy() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("own.safetensors");
    let model = Model::of(Mixed, DType::F32, &Device::Cpu, &Streams::new(3))?;
    model.save(&path, &Default::default())?;
    let other = model.again(&Streams::new(4))?;
    assert_ne!(other.params().read()?.to_f64()?, model.params().read()?.to_f64()?);
    other.load(&path)?;
    assert_eq!(other.params().read()?.to_f64()?, model.params().read()?.to_f64()?);
    assert_eq!(flat_nn::read_metadata(&path)?.get("arch").map(String::as_str), Some("Mixed"));
    Ok(())
}

/// Asks for a layer that it does not declare, or for one of the wrong size.
struct Wrong {
    layer: &'static str,
    inputs: usize,
}

impl Network for Wrong {
    fn input(&self) -> Vec<usize> {
        vec![2]
    }
    fn specs(&self) -> Result<Specs> {
        let mut specs = Specs::default();
        specs.linear("out", self.inputs, 3);
        Ok(specs)
    }
    fn forward<V: Value>(&self, scope: &Scope<'_, V>, x: &Tensor) -> Result<V> {
        scope.linear_of(self.layer, x)
    }
}

#[test]
fn a_network_whose_layers_do_not_fit_is_refused_before_its_first_batch() {
    let refused = |layer, inputs| {
        let model = Model::of(Wrong { layer, inputs }, DType::F32, &Device::Cpu, &Streams::new(0));
        model.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert!(refused("last", 2).contains("`last.weight` is missing"));
    assert!(refused("out", 3).contains("a layer of 3 inputs for 2"));
    assert_eq!(refused("out", 2), "");
}
