//! State dicts from elsewhere: what is taken, what is left out and named, what is refused.

use crate::models::{build, config};
use candle_core::{DType, Device, Tensor};
use flat_core::Streams;
use flat_nn::{Difference, Error, Model, ModelConfig, Norm, Result, networks};
use std::collections::BTreeMap;

type State = BTreeMap<String, Tensor>;

fn residual() -> Result<Model> {
    build(&config(networks::RESNET20, 3, 8), DType::F32)
}

fn renamed(state: &State, name: impl Fn(&str) -> String) -> State {
    state.iter().map(|(own, tensor)| (name(own), tensor.clone())).collect()
}

fn values(state: &State) -> Result<BTreeMap<String, Vec<f64>>> {
    state.iter().map(|(n, t)| Ok((n.clone(), t.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?))).collect()
}

fn assert_adopts(model: &Model, theirs: &State, what: &str) -> Result<()> {
    let adopted = model.adopt(theirs).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(values(&adopted.state)?, values(&model.state()?)?, "{what}");
    Ok(())
}

fn difference(model: &Model, theirs: &State) -> Difference {
    match model.adopt(theirs) {
        Err(Error::OtherModel { difference, .. }) => difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_one_prefix_of_all_names_is_taken_off() -> Result<()> {
    for model in [
        residual()?,
        build(&config(networks::LENET, 1, 28), DType::F32)?,
        build(&config(networks::MLP, 1, 4), DType::F32)?,
    ] {
        let own = model.state()?;
        for prefix in [
            "",
            "module.",
            "_orig_mod.",
            "model.",
            "module._orig_mod.",
            "state_dict.model.module.",
            "net.0.",
            "student.",
        ] {
            let theirs = renamed(&own, |name| format!("{prefix}{name}"));
            assert_adopts(&model, &theirs, prefix)?;
            assert_eq!(model.adopt(&theirs)?.prefix, prefix);
        }
    }
    Ok(())
}

#[test]
fn wrappers_within_names_are_seen_through() -> Result<()> {
    let model = residual()?;
    let theirs = renamed(&model.state()?, |name| {
        format!(
            "model.{}",
            name.replace("layer2.", "layer2._fsdp_wrapped_module.").replace(".conv2.", ".conv2._orig_mod.")
        )
    });
    assert_adopts(&model, &theirs, "inner wrappers")
}

#[test]
fn two_whole_sets_of_weights_are_ambiguous_and_two_halves_are_no_set() -> Result<()> {
    let model = residual()?;
    let own = model.state()?;
    let student = renamed(&own, |name| format!("student.{name}"));
    let teacher = renamed(&own, |name| format!("teacher.{name}"));
    let both: State = student.clone().into_iter().chain(teacher.clone()).collect();
    match model.adopt(&both) {
        Err(Error::Ambiguous { prefixes }) => assert_eq!(prefixes, ["student.", "teacher."]),
        other => panic!("{other:?}"),
    }
    // the first half of the names of one, the second of the other
    let half: State = student.into_iter().take(own.len() / 2).chain(teacher.into_iter().skip(own.len() / 2)).collect();
    assert_eq!(half.len(), own.len());
    assert!(matches!(difference(&model, &half), Difference::Missing { .. }));
    // the one whose shapes fit is no matter of choice
    let narrow = build(&ModelConfig { channels: Some(8), ..config(networks::RESNET20, 3, 8) }, DType::F32)?;
    let other = renamed(&narrow.state()?, |name| format!("teacher.{name}"));
    let fitting: State = renamed(&own, |name| format!("student.{name}")).into_iter().chain(other).collect();
    assert_adopts(&model, &fitting, "a narrow teacher")?;
    // beside the plain names another copy is left out, and said to be
    let beside: State = own.clone().into_iter().chain(renamed(&own, |name| format!("ema.{name}"))).collect();
    assert_adopts(&model, &beside, "plain names")?;
    assert_eq!(model.adopt(&beside)?.ignored.len(), own.len());
    Ok(())
}

#[test]
fn a_deeper_network_is_another_model_by_the_layer_that_it_has_more() -> Result<()> {
    let model = residual()?;
    let mut theirs = model.state()?;
    theirs.insert("layer4.0.conv1.weight".into(), Tensor::zeros((16, 16, 3, 3), DType::F32, &Device::Cpu)?);
    for prefix in ["", "module."] {
        let theirs = renamed(&theirs, |name| format!("{prefix}{name}"));
        match difference(&model, &theirs) {
            Difference::Extra { name, seen } => {
                assert_eq!((name, seen), (format!("{prefix}layer4.0.conv1.weight"), vec![16, 16, 3, 3]));
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

#[test]
fn entries_that_are_no_layers_are_left_out_and_named_even_when_not_finite() -> Result<()> {
    let model = residual()?;
    let own = model.state()?;
    let mut theirs = renamed(&own, |name| format!("module.{name}"));
    let extras = ["epoch", "module.normalize.mean", "optimizer.state.0.exp_avg", "projector.weight", "best"];
    for name in extras {
        theirs.insert(name.into(), Tensor::full(f32::NAN, 3, &Device::Cpu)?);
    }
    // moments have the names and shapes of the parameters
    theirs.extend(renamed(&own, |name| format!("exp_avg.{name}")));
    let adopted = model.adopt(&theirs)?;
    assert_eq!(adopted.ignored.len(), extras.len() + own.len());
    assert!(extras.iter().all(|extra| adopted.ignored.iter().any(|name| name == extra)));
    model.set_state(&adopted.state)?;
    // in a tensor that is used NaN is an error
    theirs.insert("module.bn1.running_var".into(), Tensor::full(f32::NAN, 16, &Device::Cpu)?);
    let broken = model.adopt(&theirs)?;
    match model.set_state(&broken.state) {
        Err(Error::NotFinite { name }) => assert_eq!(name, "bn1.running_var"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn optimizer_state_alone_is_no_network() -> Result<()> {
    let model = build(&config(networks::MLP, 1, 4), DType::F32)?;
    let moments = renamed(&model.state()?, |name| format!("exp_avg.{name}"));
    assert!(matches!(difference(&model, &moments), Difference::Missing { .. }));
    Ok(())
}

#[test]
fn names_of_other_implementations_are_the_same_layers() -> Result<()> {
    let model = residual()?;
    // kuangliu's and akamaster's pytorch-cifar
    let theirs = renamed(&model.state()?, |name| name.replace("downsample.", "shortcut.").replace("fc.", "linear."));
    assert_adopts(&model, &theirs, "shortcut and linear")?;
    for last in ["classifier", "head", "module.linear"] {
        let prefix = last.rsplit_once('.').map_or("", |_| "module.");
        let name = last.trim_start_matches("module.");
        let theirs = renamed(&model.state()?, |own| format!("{prefix}{}", own.replace("fc.", &format!("{name}."))));
        assert_adopts(&model, &theirs, last)?;
    }
    let mlp = build(&ModelConfig { hidden: vec![12, 7], ..config(networks::MLP, 1, 4) }, DType::F32)?;
    // nn.Sequential(Flatten, Linear, ReLU, Linear, ReLU, Linear), in the tutorial's class too
    let number = |name: &str| name.replace("fc1", "1").replace("fc2", "3").replace("fc3", "5");
    for prefix in ["", "linear_relu_stack.", "module.net."] {
        assert_adopts(&mlp, &renamed(&mlp.state()?, |name| format!("{prefix}{}", number(name))), prefix)?;
    }
    assert_adopts(&mlp, &renamed(&mlp.state()?, |name| name.replace("fc", "linear")), "linear1")
}

#[test]
fn counters_that_are_missing_are_nothing_and_statistics_that_are_missing_are_another_model() -> Result<()> {
    let model = residual()?;
    let mut old = model.state()?;
    old.retain(|name, _| !name.ends_with("num_batches_tracked"));
    assert_adopts(&model, &old, "without counters")?;
    old.retain(|name, _| !name.contains("running_"));
    assert!(matches!(difference(&model, &old), Difference::Missing { .. }));
    let group = build(&ModelConfig { norm: Norm::Group, ..config(networks::RESNET20, 3, 8) }, DType::F32)?;
    match difference(&group, &model.state()?) {
        Difference::Extra { name, .. } => assert!(name.contains("running_"), "{name}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn weights_for_other_classes_or_images_are_named_so() -> Result<()> {
    let model = residual()?;
    let other = |change: &dyn Fn(&mut ModelConfig)| -> Result<String> {
        let mut c = config(networks::RESNET20, 3, 8);
        change(&mut c);
        let theirs = Model::new(&c, DType::F32, &Device::Cpu, &Streams::new(0))?.state()?;
        Ok(model.adopt(&theirs).expect_err("another model").to_string())
    };
    let text = other(&|c| c.classes = 100)?;
    assert!(text.contains("100 classes") && text.contains("`fc."), "{text}");
    let text = other(&|c| c.in_channels = 1)?;
    assert!(text.contains("images of 1 channels"), "{text}");
    Ok(())
}
