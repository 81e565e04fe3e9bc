//! The Gauss-Newton family against explicit matrices.

use crate::explicit::{self, gap, worst};
use crate::models::{LOSS, batches, model};
use candle_core::{DType, Device, Tensor};
use flat_core::{Purpose, Streams};
use flat_metrics::{
    Block, ClosureObjective, Dense, DifferenceHessian, EmpiricalFisher, Error, Fisher, GaussNewton, Hutchinson,
    LinearOperator, ModelObjective, ModelingError, MonteCarloFisher, Objective, Result, Silent, TangentHessian,
    TraceConfig, check_symmetry, dense_of, exact_trace, gradient,
};
use flat_nn::{Activation, Loss, Mode, Model, ModelConfig, networks};

/// A network of d = 1,420 and batches of 7 and 5 examples with ten classes.
fn wide(hidden: usize, side: usize) -> Result<(Model, Vec<(Tensor, Tensor)>)> {
    let config = ModelConfig {
        arch: networks::MLP,
        in_channels: 1,
        height: side,
        width: side,
        classes: 10,
        hidden: vec![hidden],
        activation: Activation::Gelu,
        ..ModelConfig::default()
    };
    let model = Model::new(&config, DType::F64, &Device::Cpu, &Streams::new(31))?;
    let batches = [7usize, 5].iter().enumerate().map(|(k, &n)| {
        let mut s = Streams::new(32).at(Purpose::Test, k as u64);
        let images = Tensor::from_vec(s.normals(n * side * side), (n, 1, side, side), &Device::Cpu)?;
        let labels: Vec<u32> = (0..n).map(|_| s.below(10) as u32).collect();
        Ok((images, Tensor::from_vec(labels, n, &Device::Cpu)?))
    });
    let batches = batches.collect::<Result<Vec<_>>>()?;
    Ok((model, batches))
}

/// The dense matrix of the operator against the explicit one, relative in the Frobenius norm.
fn dense_gap(operator: &mut dyn LinearOperator, explicit: &explicit::Factors) -> Result<f64> {
    let dense = dense_of(operator)?;
    let d = dense.dim();
    let rows = (0..d).flat_map(|j| explicit.column(j)).collect();
    dense.distance(&Dense::new(operator.space().clone(), rows)?)
}

#[test]
fn the_whole_matrices_of_a_perceptron_are_the_explicit_ones() -> Result<()> {
    let (model, held) = wide(30, 6)?;
    let smooth = Loss::CrossEntropy { label_smoothing: 0.1 };
    for loss in [LOSS, smooth, Loss::Mse] {
        let objective = ModelObjective::new(&model, loss, Mode::Eval, held.clone())?;
        // sums of some hundred terms: rounding alone
        let ggn =
            dense_gap(&mut GaussNewton::new(&objective)?, &explicit::gauss_newton(&model, loss, Mode::Eval, &held)?)?;
        let empirical =
            dense_gap(&mut EmpiricalFisher::new(&objective)?, &explicit::empirical(&model, loss, Mode::Eval, &held)?)?;
        println!("d = {}, {loss:?}: {ggn:.1e} {empirical:.1e}", model.params().layout().len());
        assert!(ggn < 1e-12 && empirical < 1e-12, "{loss:?}: {ggn:.1e} {empirical:.1e}");
    }
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, held.clone())?;
    let s = Streams::new(5);
    let mut fisher = MonteCarloFisher::new(&objective, s, 3)?;
    let found = dense_gap(&mut fisher, &explicit::sampled(&model, Mode::Eval, &held, &s, 3)?)?;
    assert!(found < 1e-12, "{found:.1e}");
    Ok(())
}

#[test]
fn the_fisher_matrix_is_the_mean_over_every_label_the_model_gives_itself() -> Result<()> {
    let (model, held) = wide(30, 6)?;
    for loss in [LOSS, Loss::CrossEntropy { label_smoothing: 0.1 }, Loss::Mse] {
        let objective = ModelObjective::new(&model, loss, Mode::Eval, held.clone())?;
        let explicit = explicit::fisher(&model, loss, Mode::Eval, &held)?;
        let found = dense_gap(&mut Fisher::new(&objective)?, &explicit)?;
        assert!(found < 1e-12, "{loss:?}: {found:.1e}");
        let trace: f64 =
            explicit.rows.iter().map(|(w, a, b)| w * a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()).sum();
        // whatever the seed: no label is drawn, and 40 seeds miss 4 errors of 200 probes in less than 1 % of all cases
        for seed in 0..40 {
            let config = TraceConfig::fixed(200);
            let report =
                Hutchinson::new(config)?.run(&mut Fisher::new(&objective)?, &Streams::new(seed), &mut Silent)?;
            let error = report.probe_std_error.expect("200 probes");
            assert!((report.trace.value - trace).abs() < 4.0 * error, "{loss:?}, seed {seed}: {trace} {error}");
            assert!(error < 0.05 * trace, "{loss:?}, seed {seed}: {error} says nothing of {trace}");
        }
    }
    Ok(())
}

/// d = 12,730, whose dense matrix would take 1.3 GB: column by column.
#[test]
#[ignore = "minutes: every column of four matrices of size 12,730"]
fn every_column_of_a_large_perceptron_is_the_explicit_one() -> Result<()> {
    let (model, held) = wide(16, 28)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, held.clone())?;
    let (space, s) = (model.params().space().clone(), Streams::new(5));
    let d = space.layout.len();
    let matrices: [(&str, Box<dyn LinearOperator + '_>, explicit::Factors); 3] = [
        (
            "gauss-newton",
            Box::new(GaussNewton::new(&objective)?),
            explicit::gauss_newton(&model, LOSS, Mode::Eval, &held)?,
        ),
        (
            "empirical",
            Box::new(EmpiricalFisher::new(&objective)?),
            explicit::empirical(&model, LOSS, Mode::Eval, &held)?,
        ),
        (
            "sampled",
            Box::new(MonteCarloFisher::new(&objective, s, 2)?),
            explicit::sampled(&model, Mode::Eval, &held, &s, 2)?,
        ),
    ];
    for (name, mut operator, explicit) in matrices {
        let (mut off, mut size) = (0.0, 0.0);
        for j in 0..d {
            let mut e = vec![0.0; d];
            e[j] = 1.0;
            let column = operator.apply(&flat_core::ParamVec::from_f64(&space, e)?)?.to_f64()?;
            for (a, b) in column.iter().zip(explicit.column(j)) {
                off += (a - b).powi(2);
                size += b * b;
            }
        }
        let gap = (off / size).sqrt();
        println!("{name}, d = {d}: relative distance {gap:.1e}");
        assert!(gap < 1e-9, "{name}: {gap:.1e}");
    }
    let (mut tangent, mut double) = (TangentHessian::new(&objective)?, crate::double_backward(&objective)?);
    let (mut off, mut size) = (0.0, 0.0);
    for j in 0..d {
        let mut e = vec![0.0; d];
        e[j] = 1.0;
        let e = flat_core::ParamVec::from_f64(&space, e)?;
        let (a, b) = (tangent.apply(&e)?.to_f64()?, double.apply(&e)?.to_f64()?);
        for (a, b) in a.iter().zip(b) {
            off += (a - b).powi(2);
            size += b * b;
        }
    }
    println!("hessian, d = {d}: relative distance {:.1e}", (off / size).sqrt());
    assert!((off / size).sqrt() < 1e-9);
    Ok(())
}

#[test]
fn a_convolutional_network_with_batch_norm_has_the_explicit_matrices_in_each_mode() -> Result<()> {
    let model = model(networks::RESNET20, 8, Activation::Relu, DType::F64)?;
    let held = batches(&model)?;
    for mode in [Mode::Eval, Mode::BatchStats] {
        let objective = ModelObjective::new(&model, LOSS, mode, held.clone())?;
        let s = Streams::new(6);
        let gaps = [
            worst(&mut GaussNewton::new(&objective)?, &explicit::gauss_newton(&model, LOSS, mode, &held)?)?,
            worst(&mut EmpiricalFisher::new(&objective)?, &explicit::empirical(&model, LOSS, mode, &held)?)?,
            worst(&mut MonteCarloFisher::new(&objective, s, 2)?, &explicit::sampled(&model, mode, &held, &s, 2)?)?,
        ];
        println!("ResNet-20, {mode:?}: {:.1e} {:.1e} {:.1e}", gaps[0], gaps[1], gaps[2]);
        // rounding magnified by twenty normalised layers
        assert!(gaps.iter().all(|gap| *gap < 1e-9), "{mode:?}: {gaps:?}");
    }
    Ok(())
}

#[test]
fn max_pooling_is_in_the_explicit_matrix_too() -> Result<()> {
    let model = model(networks::LENET, 16, Activation::Relu, DType::F64)?;
    let held = batches(&model)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, held.clone())?;
    let gap = worst(&mut GaussNewton::new(&objective)?, &explicit::gauss_newton(&model, LOSS, Mode::Eval, &held)?)?;
    assert!(gap < 1e-12, "{gap:.1e}");
    Ok(())
}

#[test]
fn the_sampled_fisher_matrix_is_the_gauss_newton_matrix_in_expectation() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let held = batches(&model)?;
    let off = |loss, samples| -> Result<f64> {
        let objective = ModelObjective::new(&model, loss, Mode::Eval, held.clone())?;
        let ggn = dense_of(&mut GaussNewton::new(&objective)?)?;
        dense_of(&mut MonteCarloFisher::new(&objective, Streams::new(7), samples)?)?.distance(&ggn)
    };
    for loss in [LOSS, Loss::CrossEntropy { label_smoothing: 0.2 }, Loss::Mse] {
        let (few, many) = (off(loss, 100)?, off(loss, 10_000)?);
        println!("{loss:?}: {few:.3} {many:.4}");
        // 7 examples: at 70,000 draws of slopes whose fourth moments are a few times their squares, about 2 / sqrt(70,000)
        assert!(many < 0.02 && few < 0.2, "{loss:?}: {few} {many}");
        // ten times as near with a hundred times as many: within the chance of two draws of a distance
        assert!((4.0..25.0).contains(&(few / many)), "{loss:?}: {few} {many}");
    }
    Ok(())
}

#[test]
fn a_rectified_network_has_the_traces_of_its_gauss_newton_matrix_layer_by_layer() -> Result<()> {
    // the logits are linear in the weights of any one layer, so the diagonal blocks of single layers agree
    let model = model(networks::MLP, 3, Activation::Relu, DType::F64)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
    let go = &mut Silent;
    let hessian = exact_trace(&mut TangentHessian::new(&objective)?, go)?;
    let ggn = exact_trace(&mut GaussNewton::new(&objective)?, go)?;
    for (name, trace) in &hessian.per_layer {
        assert!((trace - ggn.per_layer[name]).abs() < 1e-12 * hessian.trace, "{name}");
    }
    let tanh = crate::models::model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let objective = ModelObjective::new(&tanh, LOSS, Mode::Eval, batches(&tanh)?)?;
    let (h, g) = (
        exact_trace(&mut TangentHessian::new(&objective)?, go)?.trace,
        exact_trace(&mut GaussNewton::new(&objective)?, go)?.trace,
    );
    assert!((h - g).abs() > 1e-3 * g, "a curved network's differ: {h} {g}");
    Ok(())
}

#[test]
fn the_empirical_fisher_form_of_the_gradient_is_the_mean_square_of_its_parts() -> Result<()> {
    let (model, held) = wide(6, 4)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, held.clone())?;
    let (_, g) = gradient(&objective)?;
    let explicit = explicit::empirical(&model, LOSS, Mode::Eval, &held)?;
    let mut fisher = EmpiricalFisher::new(&objective)?;
    let form = g.dot(&fisher.apply(&g)?)?;
    let host = g.to_f64()?;
    let along = |row: &[f64]| -> f64 { row.iter().zip(&host).map(|(a, b)| a * b).sum() };
    let mean: f64 = explicit.rows.iter().map(|(w, row, _)| w * along(row).powi(2)).sum();
    assert!((form - mean).abs() < 1e-12 * mean);
    assert!(check_symmetry(&mut fisher, &Streams::new(0), 1e-12)? < 1e-12);
    Ok(())
}

#[test]
fn each_batch_tells_its_part_of_the_quadratic_form() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let held = batches(&model)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, held.clone())?;
    let s = Streams::new(8);
    let z = flat_core::ParamVec::rademacher(model.params().space(), &s.at(Purpose::Test, 0))?;
    let operators: [Box<dyn LinearOperator + '_>; 6] = [
        Box::new(TangentHessian::new(&objective)?),
        Box::new(crate::double_backward(&objective)?),
        Box::new(flat_metrics::DifferenceHessian::new(&objective)?),
        Box::new(GaussNewton::new(&objective)?),
        Box::new(EmpiricalFisher::new(&objective)?),
        Box::new(MonteCarloFisher::new(&objective, s, 1)?),
    ];
    for mut operator in operators {
        let out = operator.product(&z, &mut Silent)?;
        let form: f64 = out.batches.iter().map(|b| b.weight * b.form).sum();
        let whole = z.dot(&out.product)?;
        let name = operator.provenance().operator.expect("a name");
        // differences cancel: 1e-10 of terms larger than the form
        assert!((form - whole).abs() < 1e-8 * whole.abs().max(1.0), "{name}: {form} {whole}");
        let mut forms = operator.forms(&[z.scaled(2.0)?, z.scaled(1.0)?], &mut Silent)?;
        let (alone, twice) = (forms.remove(1), forms.remove(0).value);
        assert!((twice - 4.0 * alone.value).abs() < 1e-8 * twice.abs().max(1.0), "{name}: {twice} for 2 z");
        assert!((alone.value - whole).abs() < 1e-8 * whole.abs().max(1.0), "{name}: {} {whole}", alone.value);
        assert_eq!(operator.matvecs(), 3, "{name}");
        for (a, b) in alone.batches.iter().zip(&out.batches) {
            assert!((a.form - b.form).abs() < 1e-8 * b.form.abs().max(1.0) && a.weight == b.weight, "{name}");
        }
        assert_eq!(out.batches.iter().map(|b| b.weight).collect::<Vec<_>>(), [4.0 / 7.0, 3.0 / 7.0], "{name}");
        // the first batch alone is an objective of its own
        let first = ModelObjective::new(&model, LOSS, Mode::Eval, held[..1].to_vec())?;
        if name.starts_with("hessian") {
            let alone = z.dot(&TangentHessian::new(&first)?.apply(&z)?)?;
            assert!((out.batches[0].form - alone).abs() < 1e-8 * alone.abs().max(1.0), "{name}");
        }
    }
    Ok(())
}

#[test]
fn without_layers_the_trace_is_the_same() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Relu, DType::F64)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
    let s = Streams::new(2);
    // a number of probes that no block divides, and looks at the interval that come within blocks
    let configs = [flat_metrics::TraceConfig::fixed(21), flat_metrics::TraceConfig::to_tolerance(0.25, 400)];
    let operators: [&mut dyn LinearOperator; 2] =
        [&mut GaussNewton::new(&objective)?, &mut TangentHessian::new(&objective)?];
    for operator in operators {
        for config in &configs {
            let with = flat_metrics::Hutchinson::new(config.clone())?.run(operator, &s, &mut Silent)?;
            let without = flat_metrics::Hutchinson::new(config.clone().total_only())?.run(operator, &s, &mut Silent)?;
            assert!((with.trace.value - without.trace.value).abs() < 1e-11 * with.trace.value);
            // of two batches there is none where their difference is within what the probes leave
            let errors = [with.data_std_error, without.data_std_error];
            match errors {
                [Some(a), Some(b)] => assert!((a - b).abs() < 1e-9 * a),
                _ => assert_eq!(errors, [None, None]),
            }
            assert_eq!((with.per_layer.len(), without.per_layer.len()), (4, 0));
            assert_eq!((with.trace.matvecs, with.stop), (without.trace.matvecs, without.stop));
            assert_eq!(config.rel_tol.is_some(), with.stop == flat_metrics::Stop::RelTol, "{}", with.trace.matvecs);
        }
    }
    Ok(())
}

#[test]
fn a_block_is_the_part_of_the_matrix_in_its_rows_and_columns() -> Result<()> {
    let model = model(networks::MLP, 3, Activation::Tanh, DType::F64)?;
    let objective = ModelObjective::new(&model, LOSS, Mode::Eval, batches(&model)?)?;
    let mut hessian = TangentHessian::new(&objective)?;
    let whole = dense_of(&mut hessian)?;
    let layout = model.params().layout().clone();
    let inside = |name: &str| name.ends_with("bias") || name == "fc2.weight";
    let places: Vec<usize> =
        layout.entries().iter().filter(|e| inside(&e.name)).flat_map(|e| e.offset..e.offset + e.len).collect();
    let block = dense_of(&mut Block::new(&mut hessian, inside)?)?;
    assert_eq!(block.dim(), places.len());
    for (i, &pi) in places.iter().enumerate() {
        for (j, &pj) in places.iter().enumerate() {
            assert!((block.at(i, j) - whole.at(pi, pj)).abs() < 1e-14);
        }
    }
    let mut one = Block::of(&mut hessian, "fc1.weight")?;
    assert_eq!(one.space().layout.entries()[0].name, "fc1.weight");
    assert!(one.provenance().operator.is_some_and(|name| name.ends_with("block of fc1.weight")));
    let position = layout.position("fc1.weight").expect("a layer");
    let trace = exact_trace(&mut one, &mut Silent)?.trace;
    assert!((trace - whole.trace_of_entry(position)).abs() < 1e-13);
    let message = Block::of(&mut hessian, "fc9.weight").expect_err("no such layer").to_string();
    assert!(message.contains("fc9.weight"), "{message}");
    assert!(matches!(Block::new(&mut hessian, |_| false), Err(Error::BadConfig { .. })));
    Ok(())
}

#[test]
fn an_objective_without_logits_says_what_to_do() -> Result<()> {
    let mlp = crate::mlp::Mlp::new(DType::F64)?;
    let objective = mlp.objective()?;
    let v = flat_core::ParamVec::zeros(objective.params().space())?;
    let message = GaussNewton::new(&objective)?.apply(&v).expect_err("no logits").to_string();
    assert!(message.contains("with_outputs"), "{message}");
    assert!(matches!(MonteCarloFisher::new(&objective, Streams::new(0), 0), Err(Error::BadConfig { .. })));
    Ok(())
}

#[test]
fn f32_products_of_a_rectified_network_are_those_of_f64_to_1e_5() -> Result<()> {
    let narrow = model(networks::LENET, 20, Activation::Relu, DType::F32)?;
    let wide = model(networks::LENET, 20, Activation::Relu, DType::F64)?;
    wide.set_state(&narrow.state()?)?;
    let held = batches(&narrow)?;
    let promoted = held.iter().map(|(x, y)| Ok((x.to_dtype(DType::F64)?, y.clone()))).collect::<Result<Vec<_>>>()?;
    let a = ModelObjective::new(&narrow, LOSS, Mode::Eval, held)?;
    let b = ModelObjective::new(&wide, LOSS, Mode::Eval, promoted)?;
    let pairs: [(Box<dyn LinearOperator + '_>, Box<dyn LinearOperator + '_>); 3] = [
        (Box::new(TangentHessian::new(&a)?), Box::new(TangentHessian::new(&b)?)),
        (Box::new(GaussNewton::new(&a)?), Box::new(GaussNewton::new(&b)?)),
        (Box::new(EmpiricalFisher::new(&a)?), Box::new(EmpiricalFisher::new(&b)?)),
    ];
    for (mut f32, mut f64) in pairs {
        for k in 0..3 {
            let stream = Streams::new(9).at(Purpose::Test, k);
            let v32 = flat_core::ParamVec::rademacher(f32.space(), &stream)?;
            let v64 = flat_core::ParamVec::rademacher(f64.space(), &stream)?;
            let off = gap(&f32.apply(&v32)?.to_f64()?, &f64.apply(&v64)?.to_f64()?);
            let name = f32.provenance().operator.expect("a name");
            println!("{name}: {off:.1e}");
            assert!(off < 1e-5, "{name}: {off:.1e}");
        }
    }
    Ok(())
}

#[test]
fn the_modeling_error_is_the_hessian_of_the_logits_weighted_by_the_slopes() -> Result<()> {
    for activation in [Activation::Tanh, Activation::Gelu] {
        let model = model(networks::MLP, 3, activation, DType::F64)?;
        let held = batches(&model)?;
        for loss in [LOSS, Loss::CrossEntropy { label_smoothing: 0.1 }, Loss::Mse] {
            let objective = ModelObjective::new(&model, loss, Mode::Eval, held.clone())?;
            // the slopes by candle's reverse mode, then constants; the Hessian by differences of gradients
            let slopes = held.iter().map(|(images, labels)| {
                let z = candle_core::Var::from_tensor(&model.logits(images, Mode::Eval)?.detach())?;
                let grads = loss.mean(z.as_tensor(), labels)?.backward()?;
                Ok(grads.get(z.as_tensor()).expect("a slope").detach())
            });
            let slopes = slopes.collect::<Result<Vec<_>>>()?;
            let sizes = held.iter().map(|(_, labels)| labels.elem_count()).collect();
            let weighted = |i: usize| {
                let z = model.logits(&held[i].0, Mode::Eval).map_err(candle_core::Error::wrap)?;
                (z * &slopes[i])?.sum_all()
            };
            let reference = ClosureObjective::new(model.params().clone(), sizes, weighted)?;
            let reference = dense_of(&mut DifferenceHessian::new(&reference)?)?;
            let found = dense_of(&mut ModelingError::new(&objective)?)?;
            let gap = found.distance(&reference)?;
            println!("{activation} {loss:?}: {gap:.1e}");
            // differences of second order in f64 keep some eight digits
            assert!(gap < 1e-6, "{activation} {loss:?}: {gap:.1e}");
        }
    }
    Ok(())
}
