//! Models: sizes, derivatives, modes.

use crate::check::{F64, difference, double_backward, normal};
use candle_core::{DType, Device, Tensor};
use flat_core::{ParamVec, Purpose, Streams};
use flat_nn::{Activation, Arch, Loss, Mode, Model, ModelConfig, Norm, Result, Stem, networks};

pub fn config(arch: Arch, in_channels: usize, side: usize) -> ModelConfig {
    ModelConfig {
        arch,
        in_channels,
        height: side,
        width: side,
        classes: 10,
        hidden: if arch == networks::MLP { vec![12] } else { vec![] },
        ..ModelConfig::default()
    }
}

pub fn build(config: &ModelConfig, dtype: DType) -> Result<Model> {
    Model::new(config, dtype, &Device::Cpu, &Streams::new(1))
}

fn batch(config: &ModelConfig, n: usize) -> Result<(Tensor, Tensor)> {
    let labels: Vec<u32> = (0..n as u32).map(|i| (i * 7 + 1) % 10).collect();
    let x = normal(&[n, config.in_channels, config.height, config.width], 1);
    Ok((x, Tensor::from_vec(labels, n, &F64.1)?))
}

const LOSS: Loss = Loss::CrossEntropy { label_smoothing: 0.0 };

#[test]
fn parameter_counts_are_those_of_pytorch() -> Result<()> {
    let count = |c: &ModelConfig| Ok::<_, flat_nn::Error>(build(c, DType::F32)?.params().layout().len());
    // 32 * 25 + 32, 64 * 32 * 25 + 64, 1024 * 64 * 4 * 4 + 1024, 10 * 1024 + 10
    assert_eq!(count(&config(networks::LENET, 1, 28))?, 832 + 51_264 + 1_049_600 + 10_250);
    // fc1 takes 64 * 5 * 5
    assert_eq!(count(&config(networks::LENET, 3, 32))?, 2_432 + 51_264 + 1_639_424 + 10_250);
    let mut mlp = config(networks::MLP, 1, 28);
    mlp.hidden = vec![256, 128];
    assert_eq!(count(&mlp)?, 784 * 256 + 256 + 256 * 128 + 128 + 1290);
    // stem 464, stages 14016, 51648 and 205696, fc 650; with shortcuts by padding instead of 1x1 convolutions and norms
    // (2752) it is the 269722 of the literature
    assert_eq!(count(&config(networks::RESNET20, 3, 32))?, 272_474);
    // the usual CIFAR ResNet-18
    assert_eq!(count(&config(networks::RESNET18, 3, 32))?, 11_173_962);
    // stem 432, stages 121248, 525184 and 2098944, last norm 512, fc 2570
    assert_eq!(count(&config(networks::WRN_16_4, 3, 32))?, 2_748_890);
    // Table 6 of He et al. 2016 has 0.46, 0.66, 0.85 and 1.7 M, without the 2752 of the shortcuts
    for (arch, expected) in [
        (networks::RESNET32, 466_906),
        (networks::RESNET44, 661_338),
        (networks::RESNET56, 855_770),
        (networks::RESNET110, 1_730_714),
    ] {
        assert_eq!(count(&config(arch, 3, 32))?, expected, "{arch}");
    }
    // Table 4 of Zagoruyko & Komodakis 2016 has 36.5 M and 8.9 M
    assert_eq!(count(&config("wrn-28-10".parse()?, 3, 32))?, 36_479_194);
    assert_eq!(count(&config("wrn-40-4".parse()?, 3, 32))?, 8_949_210);
    // of PyTorch too, by tests/reference/models.py
    assert_eq!(count(&ModelConfig { channels: Some(5), ..config(networks::LENET, 1, 16) })?, 4_760);
    assert_eq!(count(&ModelConfig { channels: Some(6), ..config(networks::RESNET20, 3, 32) })?, 38_944);
    Ok(())
}

#[test]
fn names_are_those_of_torchvision() -> Result<()> {
    let model = build(&config(networks::RESNET20, 3, 8), DType::F32)?;
    for name in ["conv1.weight", "bn1.bias", "layer2.0.downsample.0.weight", "layer3.2.bn2.weight", "fc.bias"] {
        assert!(model.params().layout().position(name).is_some(), "{name}");
    }
    assert!(model.params().layout().position("layer1.0.downsample.0.weight").is_none());
    assert!(model.buffers().contains_key("layer2.0.downsample.1.running_var"));
    assert_eq!(model.buffers().len(), 21 * 3);
    Ok(())
}

/// Products of the Hessian of a model's loss with a direction, three ways.
pub fn check_model(config: &ModelConfig, mode: Mode, tolerance: f64) -> Result<()> {
    let model = build(config, DType::F64)?;
    let (x, y) = batch(config, 6)?;
    let params = model.params();
    let v = ParamVec::sphere(params.space(), &Streams::new(2).at(Purpose::Probe, 0))?;
    let along = LOSS.mean(&model.logits_tangent(&x, &v, mode)?, &y)?;
    let g = params.gradient(&LOSS.mean(&model.logits(&x, mode)?, &y)?.backward()?)?;
    let (tangent, exact): (f64, f64) = (along.tangent.to_scalar()?, g.dot(&v)?);
    assert!((tangent - exact).abs() <= 1e-11 * g.norm()?, "{config:?}: {tangent} against {exact}");
    let hv = params.gradient(&along.tangent.backward()?)?;
    let twice = double_backward(|| LOSS.mean(&model.logits(&x, mode)?, &y), params, &v)?;
    let by_difference =
        difference(params, &v, 1e-4, || Ok(params.gradient(&LOSS.mean(&model.logits(&x, mode)?, &y)?.backward()?)?))?;
    let off = |other: &ParamVec| Ok::<_, flat_nn::Error>(hv.plus(-1.0, other)?.norm()? / hv.norm()?);
    assert!(off(&twice)? < 1e-9, "{config:?}: double backward off by {:e}", off(&twice)?);
    assert!(off(&by_difference)? < tolerance, "{config:?}: differences off by {:e}", off(&by_difference)?);
    Ok(())
}

#[test]
fn hessian_vector_products_of_models_are_exact() -> Result<()> {
    for activation in [Activation::Tanh, Activation::Gelu] {
        for arch in [networks::MLP, networks::LENET, networks::RESNET20] {
            for norm in [Norm::Batch, Norm::Group] {
                let c =
                    ModelConfig { activation, norm, ..config(arch, 2, if arch == networks::LENET { 16 } else { 8 }) };
                if norm == Norm::Batch || arch == networks::RESNET20 {
                    // through twenty layers the fifth derivative, which the difference neglects, is large
                    check_model(&c, Mode::BatchStats, 1e-7)?;
                }
            }
        }
        check_model(&ModelConfig { activation, ..config(networks::RESNET20, 2, 8) }, Mode::Eval, 1e-7)?;
    }
    Ok(())
}

#[test]
fn products_through_bottlenecks_and_the_stem_for_large_images_are_exact() -> Result<()> {
    for arch in [networks::RESNET50, networks::RESNET18] {
        let c = ModelConfig { channels: Some(4), activation: Activation::Tanh, ..config(arch, 2, 16) };
        check_model(&ModelConfig { stem: Stem::Imagenet, ..c.clone() }, Mode::Eval, 1e-7)?;
        check_model(&ModelConfig { norm: Norm::Group, ..c }, Mode::BatchStats, 1e-7)?;
    }
    // five poolings: a smooth nonlinearity, but the largest of four may change
    let vgg = ModelConfig { channels: Some(4), activation: Activation::Tanh, ..config(networks::VGG11_BN, 2, 32) };
    check_model(&vgg, Mode::BatchStats, 1e-7)?;
    check_model(&ModelConfig { stem: Stem::Imagenet, norm: Norm::Group, ..vgg }, Mode::BatchStats, 1e-7)
}

#[test]
fn products_through_attention_are_exact() -> Result<()> {
    check_model(&config(networks::VIT_TINY, 2, 8), Mode::Eval, 1e-7)
}

#[test]
fn the_stem_decides_about_the_initial_weights() -> Result<()> {
    let weights = |stem| -> Result<Vec<f64>> {
        let model = build(&ModelConfig { stem, ..config(networks::RESNET18, 3, 32) }, DType::F64)?;
        Ok(model.state()?["layer2.0.conv1.weight"].flatten_all()?.to_vec1()?)
    };
    let moments = |w: &[f64]| {
        let [second, fourth] = [2, 4].map(|k| w.iter().map(|x| x.powi(k)).sum::<f64>() / w.len() as f64);
        (second, fourth / (second * second))
    };
    // 128 x 64 x 3 x 3: PyTorch's uniform numbers of variance 1 / (3 fan_in) with kurtosis 9/5, torchvision's normal
    // ones of variance 2 / fan_out with kurtosis 3; 73728 numbers make 0.5 % and 2 % of error, one deviation
    let (variance, kurtosis) = moments(&weights(Stem::Cifar)?);
    assert!((variance * 3.0 * 576.0 - 1.0).abs() < 0.03 && (kurtosis - 1.8).abs() < 0.1, "{variance}, {kurtosis}");
    let (variance, kurtosis) = moments(&weights(Stem::Imagenet)?);
    assert!((variance * 1152.0 / 2.0 - 1.0).abs() < 0.03 && (kurtosis - 3.0).abs() < 0.1, "{variance}, {kurtosis}");
    Ok(())
}

#[test]
fn the_mode_decides_about_running_statistics() -> Result<()> {
    let c = config(networks::RESNET20, 3, 8);
    let model = build(&c, DType::F64)?;
    let (x, _) = batch(&c, 4)?;
    let read = |name: &str| Ok::<Vec<f64>, flat_nn::Error>(model.buffers()[name].as_detached_tensor().to_vec1()?);
    let count = || Ok::<i64, flat_nn::Error>(model.buffers()["bn1.num_batches_tracked"].to_scalar()?);
    let before = model.logits_no_grad(&x, Mode::Eval)?.to_vec2::<f64>()?;
    model.logits(&x, Mode::BatchStats)?;
    model.logits(&x, Mode::Eval)?;
    assert_eq!(read("bn1.running_mean")?, [0.0; 16]);
    assert_eq!(count()?, 0);

    let batch_logits = model.logits(&x, Mode::BatchStats)?.to_vec2::<f64>()?;
    assert_eq!(model.logits(&x, Mode::Train)?.to_vec2::<f64>()?, batch_logits, "the same function of the batch");
    assert_eq!(count()?, 1);
    // the first norm's input is a convolution of the images: mean and unbiased variance by hand
    let w =
        model.params().vars()[model.params().layout().position("conv1.weight").expect("conv1")].as_detached_tensor();
    let h = flat_nn::ops::Conv2d { stride: 1, padding: 1 }.forward(&x, &w, None)?;
    let channel: Vec<f64> = h.narrow(1, 3, 1)?.flatten_all()?.to_vec1()?;
    let n = channel.len() as f64;
    let mean = channel.iter().sum::<f64>() / n;
    let var = channel.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    assert!((read("bn1.running_mean")?[3] - 0.1 * mean).abs() < 1e-15);
    assert!((read("bn1.running_var")?[3] - (0.9 + 0.1 * var)).abs() < 1e-14);
    assert_ne!(model.logits_no_grad(&x, Mode::Eval)?.to_vec2::<f64>()?, before);
    Ok(())
}

#[test]
fn evaluation_without_a_graph_gives_the_same_logits() -> Result<()> {
    for arch in [networks::LENET, networks::RESNET20] {
        let c = config(arch, 1, 16);
        let model = build(&c, DType::F32)?;
        let x = batch(&c, 2)?.0.to_dtype(DType::F32)?;
        let y = model.logits_no_grad(&x, Mode::Eval)?;
        assert!(!y.track_op());
        assert_eq!(y.to_vec2::<f32>()?, model.logits(&x, Mode::Eval)?.to_vec2::<f32>()?);
    }
    Ok(())
}

#[test]
fn initial_weights_depend_on_seed_and_name_alone_and_keep_their_bound() -> Result<()> {
    let mut deep = config(networks::MLP, 1, 4);
    deep.hidden = vec![12, 12];
    let (a, b) = (build(&config(networks::MLP, 1, 4), DType::F64)?, build(&deep, DType::F64)?);
    let weight = |m: &Model, name: &str| Ok::<Vec<f64>, flat_nn::Error>(m.state()?[name].flatten_all()?.to_vec1()?);
    assert_eq!(weight(&a, "fc1.weight")?, weight(&b, "fc1.weight")?, "a further layer shifts nothing");
    let other = Model::new(&deep, DType::F64, &Device::Cpu, &Streams::new(2))?;
    assert_ne!(weight(&b, "fc1.weight")?, weight(&other, "fc1.weight")?);
    assert_ne!(weight(&b, "fc2.weight")?[..12], weight(&b, "fc1.weight")?[..12]);
    // 192 numbers uniform within 1/4: the largest exceeds 0.97 of the bound but for a chance of 0.3 %
    let largest = weight(&a, "fc1.weight")?.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
    assert!(largest <= 0.25 && largest > 0.97 * 0.25, "{largest}");
    Ok(())
}

#[test]
fn unusable_sizes_and_inputs_are_refused_by_name() -> Result<()> {
    let message = |c: &ModelConfig| build(c, DType::F32).map(|_| ()).expect_err("unusable").to_string();
    assert!(message(&config(networks::LENET, 1, 15)).contains("at least 16x16"));
    assert!(message(&ModelConfig { classes: 0, ..config(networks::MLP, 1, 4) }).contains("classes"));
    assert!(message(&ModelConfig { hidden: vec![3], ..config(networks::LENET, 1, 28) }).contains("hidden"));
    assert!(message(&ModelConfig { channels: Some(3), ..config(networks::MLP, 1, 28) }).contains("channels"));
    assert!(message(&ModelConfig { channels: Some(0), ..config(networks::LENET, 1, 28) }).contains("channels"));
    let uneven = message(&ModelConfig { patch: 5, ..config(networks::VIT_TINY, 3, 32) });
    let expected = "unusable model: patch 5 does not divide images of 32x32: give vit-tiny a divisor of both sides";
    assert_eq!(uneven, expected);
    let stemmed = ModelConfig { stem: Stem::Imagenet, ..config(networks::LENET, 1, 28) };
    let small = message(&config(networks::VGG11_BN, 1, 28));
    assert_eq!(small, "unusable model: arch vgg11-bn needs images of at least 32x32, not 28x28");
    assert!(message(&stemmed).contains("stem imagenet belongs to resnet20"), "{}", message(&stemmed));
    assert!(message(&ModelConfig { hidden: vec![3, 0], ..config(networks::MLP, 1, 28) }).contains("hidden"));

    let model = build(&config(networks::MLP, 1, 4), DType::F32)?;
    let err = model.logits(&Tensor::zeros((2, 1, 4, 5), DType::F32, &Device::Cpu)?, Mode::Eval).expect_err("4x5");
    assert!(err.to_string().contains("[1, 4, 4]"), "{err}");
    assert!(model.logits(&Tensor::zeros((2, 1, 4, 4), DType::F64, &Device::Cpu)?, Mode::Eval).is_err());
    let model = build(&config(networks::RESNET18, 1, 8), DType::F32)?;
    let one = Tensor::zeros((1, 1, 8, 8), DType::F32, &Device::Cpu)?;
    let err = model.logits(&one, Mode::Train).expect_err("one value a channel in the last stage").to_string();
    assert!(err.contains("layer4.0.bn1"), "{err}");
    assert!(model.logits(&one, Mode::Eval).is_ok());
    Ok(())
}

/// The formula of tests/reference/models.py.
fn formula(n: usize, phase: f64) -> Vec<f64> {
    (0..n).map(|i| (0.7 * i as f64 + phase).sin()).collect()
}

fn against_pytorch(c: &ModelConfig, expected: [f64; 8]) -> Result<()> {
    let model = build(c, DType::F64)?;
    for (k, (entry, var)) in model.params().layout().entries().iter().zip(model.params().vars()).enumerate() {
        let dims = entry.shape.dims();
        let a = if dims.len() > 1 { 1.0 / (dims[1..].iter().product::<usize>() as f64).sqrt() } else { 0.1 };
        let shift = if dims.len() == 1 && entry.name.ends_with("weight") { 1.0 } else { 0.0 };
        let values = formula(entry.len, 1.3 * k as f64 + 0.5).into_iter().map(|s| a * s + shift).collect::<Vec<f64>>();
        var.set(&Tensor::from_vec(values, dims, &Device::Cpu)?)?;
    }
    let shape = (4, c.in_channels, c.height, c.width);
    let x = Tensor::from_vec(formula(4 * c.in_channels * c.height * c.width, 0.1), shape, &Device::Cpu)?;
    let y = Tensor::new(&[0u32, 3, 9, 3], &Device::Cpu)?;
    let smooth = Loss::CrossEntropy { label_smoothing: 0.1 };

    let params = model.params();
    let d = params.layout().len();
    let v = ParamVec::from_f64(params.space(), (0..d).map(|i| (0.3 * i as f64).cos()).collect())?;
    let logits = model.logits(&x, Mode::Train)?;
    let loss = smooth.mean(&logits, &y)?;
    let g = params.gradient(&loss.backward()?)?;
    let along = smooth.mean(&model.logits_tangent(&x, &v, Mode::BatchStats)?, &y)?;
    let hv = params.gradient(&along.tangent.backward()?)?;
    let eval = model.logits_no_grad(&x, Mode::Eval)?;
    let scalar = |t: Tensor| t.to_scalar::<f64>();
    let got = [
        scalar(logits.get(1)?.get(2)?)?,
        scalar(loss)?,
        scalar(Loss::Mse.mean(&logits, &y)?)?,
        g.norm()?,
        g.dot(&v)?,
        hv.norm()?,
        hv.dot(&v)?,
        scalar(LOSS.mean(&eval, &y)?)?,
    ];
    let names = ["logit", "loss", "mse", "|g|", "<g, v>", "|Hv|", "<v, Hv>", "eval loss"];
    for (name, (got, expected)) in names.iter().zip(got.iter().zip(expected)) {
        // rounding, grown through twenty layers and the cancellation of sums of up to 1e7 terms
        assert!((got - expected).abs() < 1e-8 * expected.abs(), "{} {name}: {got} against {expected}", c.arch);
    }
    Ok(())
}

/// Numbers of PyTorch 2 from tests/reference/models.py.
#[test]
fn values_gradients_and_hessian_products_are_those_of_pytorch() -> Result<()> {
    let group = |c: ModelConfig| ModelConfig { norm: Norm::Group, ..c };
    against_pytorch(
        &config(networks::LENET, 1, 16),
        [
            0.147365904904056,
            2.5571417530989,
            0.32428743472727,
            3.35312552770824,
            -0.276153810579588,
            24.444662419073,
            219.622505536399,
            2.57538433723316,
        ],
    )?;
    against_pytorch(
        &ModelConfig { activation: Activation::Gelu, ..config(networks::MLP, 1, 16) },
        [
            1.08257612324192,
            4.28805367887989,
            2.04502002690532,
            9.11936544189582,
            -5.8186149496447,
            51.7490657959813,
            158.62202183099,
            4.43533664905085,
        ],
    )?;
    against_pytorch(
        &config(networks::RESNET20, 3, 8),
        [
            -0.720203894517383,
            2.74567994235892,
            0.454622241331938,
            5.85812820416241,
            -0.510330312805072,
            45.2634679585569,
            -94.4844229611878,
            13.2462864302193,
        ],
    )?;
    against_pytorch(
        &config(networks::RESNET18, 3, 8),
        [
            -0.169459811276902,
            2.37306275552086,
            6.82793076004184,
            1172.77480547438,
            -406.18056088932,
            3695586.65277376,
            -1458193.77463201,
            53.7226483294984,
        ],
    )?;
    against_pytorch(
        &config(networks::WRN_16_4, 3, 8),
        [
            0.133369819483701,
            2.69911239177852,
            0.346310502250508,
            13.8843322685273,
            5.85204912425854,
            766.556949304901,
            -394.202967283689,
            13.6195743428309,
        ],
    )?;
    against_pytorch(
        &group(config(networks::RESNET20, 3, 8)),
        [
            -0.574378551557454,
            2.65442093736479,
            0.331402933903333,
            6.67427642053285,
            0.0137301940146966,
            30.6221937329186,
            -46.6553446997475,
            2.68405197156873,
        ],
    )?;
    against_pytorch(
        &group(config(networks::RESNET18, 3, 8)),
        [
            0.55853290388213,
            2.92384709859125,
            2.13064784350191,
            22.6774782969811,
            2.51579013236955,
            302.374941738173,
            1.62262956659349,
            2.96251585425099,
        ],
    )?;
    against_pytorch(
        &group(config(networks::WRN_16_4, 3, 8)),
        [
            0.0995533024835866,
            2.62035006910301,
            0.310757606069443,
            24.1747810289337,
            -7.31848841805256,
            697.011621873021,
            941.475305486,
            2.64758909744058,
        ],
    )?;
    Ok(())
}

/// Numbers of the same script for widths that no vector of the machine divides.
#[test]
fn narrow_networks_are_those_of_pytorch() -> Result<()> {
    let narrow = |c: ModelConfig, channels: usize| ModelConfig { channels: Some(channels), ..c };
    against_pytorch(
        &narrow(config(networks::LENET, 1, 16), 5),
        [
            0.30988316230924,
            2.18667063906127,
            0.243690496179397,
            2.41822167331458,
            -0.202914900510737,
            14.2711227601915,
            40.2617332199642,
            2.16322755795726,
        ],
    )?;
    against_pytorch(
        &narrow(config(networks::RESNET20, 3, 8), 6),
        [
            -0.838917641337049,
            2.00945700149086,
            0.626903380301761,
            2.6059517465565,
            1.95751180001399,
            12.3307553346933,
            28.3748476098981,
            1.78443974964699,
        ],
    )?;
    against_pytorch(
        &narrow(ModelConfig { norm: Norm::Group, ..config(networks::WRN_16_4, 3, 8) }, 3),
        [
            -0.790787295295299,
            2.39856577043913,
            0.2260061110473,
            4.9012679666272,
            0.633280368779119,
            80.1898692300027,
            -15.251710885593,
            2.40335687092385,
        ],
    )?;
    Ok(())
}

#[test]
fn models_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Model>();
}

#[test]
fn the_last_layer_of_the_features_gives_the_logits() -> Result<()> {
    let mut deep = config(networks::MLP, 1, 5);
    deep.hidden = vec![9, 7];
    let mut plain = config(networks::MLP, 1, 5);
    plain.hidden = vec![];
    let cases = [
        (deep, "fc3", 7),
        (plain, "fc1", 25),
        (config(networks::LENET, 1, 16), "fc2", 1024),
        (config(networks::RESNET20, 3, 8), "fc", 64),
        (config(networks::WRN_16_4, 3, 8), "fc", 256),
    ];
    for (config, last, width) in cases {
        let model = build(&config, DType::F64)?;
        let (x, _) = batch(&config, 3)?;
        let features = model.features(&x, Mode::Eval)?;
        assert_eq!(features.dims(), [3, width], "{}", config.arch);
        let state = model.state()?;
        let (w, b) = (&state[&format!("{last}.weight")], &state[&format!("{last}.bias")]);
        let logits = features.matmul(&w.t()?)?.broadcast_add(b)?;
        let gap = (logits - model.logits_no_grad(&x, Mode::Eval)?)?.abs()?.max_all()?.to_scalar::<f64>()?;
        // rounding of sums of at most 1024 terms
        assert!(gap < 1e-12, "{}: {gap:e}", config.arch);
    }
    Ok(())
}

#[test]
fn the_traffic_of_known_networks_is_that_of_their_layers() -> Result<()> {
    // added up by benches/roofline.py from layers of its own
    for (arch, channels, side, per_example, per_batch) in [
        (networks::LENET, 1, 28, 163_390, 3_331_648),
        (networks::RESNET20, 3, 32, 3_463_390, 812_256),
        (networks::RESNET18, 3, 32, 10_583_582, 33_491_328),
        (networks::WRN_16_4, 3, 32, 8_657_694, 8_235_360),
    ] {
        let config = ModelConfig { classes: 10, ..config(arch, channels, side) };
        let traffic = build(&config, DType::F32)?.traffic();
        assert_eq!((traffic.per_example, traffic.per_batch), (per_example, per_batch), "{arch}");
    }
    Ok(())
}

#[test]
fn the_arithmetic_of_known_networks_is_counted() -> Result<()> {
    // ResNet-18 for CIFAR is known by 0.56 G multiply-adds, ResNet-20 by 41 M, LeNet's by hand
    let lenet = 25 * 32 * 24 * 24 + 25 * 32 * 64 * 8 * 8 + 1024 * 1024 + 10 * 1024;
    let mlp = 16 * 7 + 7 * 4;
    let mut small = config(networks::MLP, 1, 4);
    (small.hidden, small.classes) = (vec![7], 4);
    let ten = |mut c: ModelConfig| {
        c.classes = 10;
        c
    };
    let narrow = |arch, side, channels| ModelConfig { channels: Some(channels), ..ten(config(arch, 1, side)) };
    let large = |arch| ModelConfig { classes: 1000, stem: Stem::Imagenet, ..config(arch, 3, 224) };
    for (config, expected) in [
        (small, mlp),
        (ten(config(networks::LENET, 1, 28)), lenet),
        // layer by layer, each on an image halved once a stage
        (ten(config(networks::RESNET20, 3, 32)), 40_813_184),
        (ten(config(networks::RESNET18, 3, 32)), 555_422_720),
        (ten(config(networks::WRN_16_4, 3, 32)), 392_612_352),
        // torchvision's 4.09 G with 1000 classes of images of 224x224
        (large(networks::RESNET50), 4_089_184_256),
        (large(networks::RESNET34), 3_663_761_408),
        (large(networks::VGG11_BN), 7_609_090_048),
        // by hand: 196 patches of 768 numbers, 12 layers of 12 x 192^2 a token and 2 x 197^2 x 192, and 1000 classes;
        // the literature has 1.3 G
        (
            ModelConfig { classes: 1000, patch: 16, ..config(networks::VIT_TINY, 3, 224) },
            196 * 768 * 192 + 12 * (197 * 12 * 192 * 192 + 2 * 197 * 197 * 192) + 192 * 1000,
        ),
        (narrow(networks::RESNET20, 28, 8), 7_783_872),
        (narrow(networks::WRN_16_4, 17, 4), 8_124_580),
    ] {
        for norm in [Norm::Batch, Norm::Group] {
            let config = ModelConfig { norm, ..config.clone() };
            assert_eq!(build(&config, DType::F32)?.multiply_adds(), expected, "{}", config.arch);
        }
    }
    Ok(())
}

#[test]
fn relu_and_max_pooling_have_kinks_and_smooth_networks_have_none() -> Result<()> {
    for arch in Arch::all() {
        for activation in Activation::ALL {
            let config = ModelConfig { activation: *activation, ..config(arch, 1, 32) };
            let expected = *activation == Activation::Relu && arch != networks::VIT_TINY
                || [networks::LENET, networks::MNIST_EXAMPLE, networks::RESNET9].contains(&arch)
                || arch.name().starts_with("vgg");
            assert_eq!(build(&config, DType::F32)?.has_kinks(), expected, "{arch}, {activation}");
        }
    }
    let pooled =
        ModelConfig { stem: Stem::Imagenet, activation: Activation::Tanh, ..config(networks::RESNET20, 1, 16) };
    assert!(build(&pooled, DType::F32)?.has_kinks(), "max pooling behind the stem");
    // nothing that relu is applied to
    let linear = ModelConfig { hidden: vec![], ..config(networks::MLP, 1, 16) };
    assert!(!build(&linear, DType::F32)?.has_kinks());
    Ok(())
}
