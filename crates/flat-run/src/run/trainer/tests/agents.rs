//! A run with a network: what it is beside other runs, and that it goes on from a checkpoint.

use super::{Ran, run};
use crate::parts::RunParts;
use crate::run::trainer::{Ended, Trainer};
use crate::settings::tests::parse;
use crate::store::checkpoint::{self, Checkpoint};
use crate::store::run_dir::RunDir;
use crate::ui::Ui;
use anyhow::Result;
use candle_core::{Device, Tensor};

/// The lines without what a network alone has.
fn common(ran: &mut Ran) {
    for line in &mut ran.lines {
        line.as_object_mut().map(|fields| fields.remove("consensus_distance"));
    }
}

#[test]
fn one_agent_is_a_run_without_a_network_bit_for_bit() -> Result<()> {
    for optimizer in [
        "sgd",
        "sam --rho 0.1 --clip 1",
        "rsp --rho 0.5 --base adamw --lr 0.01",
        "sgd --ema 0.9",
        "sap --micro-batch 3",
        "plain --base schedule-free",
    ] {
        let flags = format!("--optimizer {optimizer} --channels 4 --steps 7");
        let plain = run(&flags, false)?;
        for strategy in ["consensus", "diffusion"] {
            let mut network = run(&format!("{flags} --strategy {strategy} --agents 1"), false)?;
            common(&mut network);
            assert_eq!(plain.lines, network.lines, "{optimizer}, {strategy}");
            // with an average a network leaves that in the model, whose evaluation is among the lines
            let averages = optimizer.contains("ema") || optimizer.contains("schedule-free");
            assert!(averages || plain.state == network.state, "{optimizer}, {strategy}: the weights differ");
        }
    }
    Ok(())
}

#[test]
fn diffusion_over_the_full_graph_is_the_run_without_a_network_up_to_rounding() -> Result<()> {
    let flags = "--norm group --channels 4 --dtype f64 --optimizer sgd --momentum 0 --lr 0.02 --steps 10";
    let plain = run(flags, false)?;
    let network = run(&format!("{flags} --strategy diffusion --graph full --agents 4"), false)?;
    for ((name, x), (_, y)) in plain.state.iter().zip(&network.state) {
        let worst = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        // ten steps amplify roundings of numbers of size 1; a wrong weight of an agent would move them by thousandths
        assert!(worst < 1e-11, "{name}: {worst:e}");
    }
    let ring = run(&format!("{flags} --strategy diffusion --graph ring --agents 4"), false)?;
    assert!(ring.state != network.state && ring.lines.iter().any(|l| l["consensus_distance"].as_f64() > Some(1e-9)));
    Ok(())
}

#[test]
fn a_network_goes_on_from_its_checkpoint_bit_for_bit() -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    for more in [
        "--strategy consensus --graph ring --optimizer sgd --model resnet20 --channels 4 --norm batch",
        "--strategy diffusion --graph hypercube --optimizer vasso --base adamw --lr 0.01 --model mlp --hidden 8 --ema 0.9",
    ] {
        let config = parse(&format!(
            "--data-dir {data} --train-limit 40 --test-limit 8 --batch-size 16 --steps 7 --agents 4 --trace-probes 0 --device cpu \
             --eval-every 2 --keep-checkpoints 9 {more}"
        ))?;
        let room = tempfile::tempdir()?;
        let end = |name: &str, pauses: &[u64]| -> Result<Checkpoint> {
            let dir = RunDir::create(&room.path().join(name))?;
            let mut trainer = Trainer::new(&config, RunParts::new(&config, true)?, &dir, Ui::NONE)?;
            for pause in pauses {
                trainer.pause_after(Some(*pause));
                assert_eq!(trainer.run()?, Ended::Interrupted);
                trainer = Trainer::resume(&config, RunParts::new(&config, false)?, &dir, false, Ui::NONE)?;
            }
            assert_eq!(trainer.run()?, Ended::Complete);
            Checkpoint::read(&checkpoint::file(&dir.checkpoints(), 7), &Device::Cpu)
        };
        let (whole, parts) = (end("whole", &[])?, end("parts", &[2, 5])?);
        assert_eq!((whole.agents.len(), parts.agents.len()), (4, 4));
        let bits = |t: &Tensor| t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>();
        for (k, (a, b)) in whole.agents.iter().zip(&parts.agents).enumerate() {
            for (name, tensor) in a.model.iter().chain(&a.optimizer) {
                let other = b.model.get(name).or_else(|| b.optimizer.get(name)).expect(name);
                assert!(bits(tensor)? == bits(other)?, "{more}: {name} of agent {k}");
            }
        }
        for (name, tensor) in &whole.model {
            let differs = name.contains("running") || name.contains("num_batches");
            assert!(differs || bits(tensor)? == bits(&parts.model[name])?, "{more}: {name} of the mean");
        }
    }
    Ok(())
}
