//! Agents on any number of ranks are the same agents.

use super::*;
use crate::parts::RunParts;
use crate::settings::tests::parse;
use flat_comm::Threads;

const RUN: &str =
    "--train-limit 90 --test-limit 8 --batch-size 33 --steps 4 --lr 0.05 --trace-probes 0 --device cpu --agents 6";

/// The bits of every number that a checkpoint would hold.
fn bits(state: &BTreeMap<String, Tensor>) -> Result<Vec<(String, Vec<u64>)>> {
    let numbers = |t: &Tensor| t.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>();
    state.iter().map(|(name, t)| Ok((name.clone(), numbers(t)?.iter().map(|x| x.to_bits()).collect()))).collect()
}

type Bits = Vec<(String, Vec<u64>)>;

/// Four steps of the agents of a rank, the last on a ragged batch: their states, losses and distances, and their mean.
fn stepped(flags: &str, ranks: &Ranks) -> Result<(Vec<Bits>, Vec<u64>, Bits)> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    let config = parse(&format!("{RUN} --data-dir {data} {flags}"))?;
    let parts = RunParts::new(&config, true)?;
    let mut agents = Agents::of(&config, &parts.model, &parts.data, ranks)?.context("a network")?;
    let (mut numbers, mut tally) = (Vec::new(), Tally::default());
    for step in 0..4 {
        let batch = parts.data.train.batch(step / 3, (step % 3) as usize)?;
        let (pending, seen) = agents.step((&parts.model, parts.loss), &batch, &mut tally, false)?;
        let report = pending.report().context("a report")?;
        assert_eq!((seen, report.skipped.clone()), (batch.len(), None));
        numbers.extend([report.loss, report.grad_norm, report.evals, agents.distance()?].map(f64::to_bits));
    }
    let (_, states) = agents.state(&parts.model)?;
    let mut all = Vec::new();
    for state in &states {
        all.push([bits(&state.model)?, bits(&state.optimizer)?].concat());
    }
    agents.put_mean(&parts.model)?;
    let mean = parts.model.params().read()?.to_f64()?.iter().map(|x| x.to_bits()).collect();
    Ok((all, numbers, vec![("mean".into(), mean)]))
}

#[test]
fn weights_statistics_states_and_reports_do_not_depend_on_the_number_of_ranks() -> Result<()> {
    for flags in [
        "--strategy consensus --graph ring --model mlp --hidden 8 --optimizer sgd",
        "--strategy diffusion --graph exponential --model mlp --hidden 8 --optimizer rsp --dtype f64",
        "--strategy diffusion --graph grid --model resnet20 --channels 4 --norm batch --optimizer sam --base adamw",
    ] {
        let alone = stepped(flags, &Ranks::default())?;
        assert_eq!(alone.0.len(), 6);
        assert_ne!(alone.0[0], alone.0[1], "{flags}: agents differ");
        for size in [2, 3, 4] {
            let ranks = Threads::run(size, |engine| stepped(flags, &Ranks::new(engine)));
            let ranks = ranks.into_iter().collect::<Result<Vec<_>>>()?;
            assert!(ranks.iter().all(|rank| (&rank.1, &rank.2) == (&alone.1, &alone.2)), "{flags} on {size}");
            let all: Vec<Bits> = ranks.into_iter().flat_map(|rank| rank.0).collect();
            assert!(all == alone.0, "{flags} on {size}");
        }
    }
    Ok(())
}

#[test]
fn agents_draw_apart_and_the_first_as_a_run_without_a_network() -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    let flags = "--strategy diffusion --graph full --model mlp --hidden 8 --optimizer rsp --sigma 0.05";
    let config = parse(&format!("{RUN} --data-dir {data} {flags}"))?;
    let parts = RunParts::new(&config, true)?;
    let batch = parts.data.train.batch(0, 0)?;
    let start = parts.model.params().read()?;
    let after = |agent: usize| -> Result<Vec<f64>> {
        parts.model.params().write(&start)?;
        let mut tally = Tally::default();
        let mut objective = BatchLoss::new(&parts.model, parts.loss, &batch, &mut tally);
        optimizer::of_agent(&config, &parts.model, &parts.data, agent)?.step(&mut objective)?;
        Ok(parts.model.params().read()?.to_f64()?)
    };
    let plain = || -> Result<Vec<f64>> {
        parts.model.params().write(&start)?;
        let mut tally = Tally::default();
        let mut objective = BatchLoss::new(&parts.model, parts.loss, &batch, &mut tally);
        optimizer::optimizer(&config, &parts.model, &parts.data)?.step(&mut objective)?;
        Ok(parts.model.params().read()?.to_f64()?)
    };
    assert!(after(0)? == plain()?);
    assert!(after(0)? != after(1)? && after(1)? != after(2)?);
    Ok(())
}

#[test]
fn an_epoch_whose_last_batch_leaves_an_agent_without_an_image_is_refused_with_a_number_that_goes() -> Result<()> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");
    let flags =
        format!("--data-dir {data} --test-limit 8 --train-limit 69 --batch-size 33 --strategy diffusion --agents 6");
    let refused = |flags: &str| -> Result<String> {
        Ok(RunParts::new(&parse(flags)?, true).err().map_or(String::new(), |e| format!("{e:#}")))
    };
    let text = refused(&format!("{flags} --epochs 1"))?;
    assert!(text.contains("--agents 6") && text.contains("--train-limit 66"), "{text}");
    assert_eq!(refused(&format!("{flags} --steps 2"))?, "", "that batch is never seen");
    Ok(())
}
