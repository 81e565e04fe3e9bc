//! What agents have of their own, and what a network is refused for.

use super::*;
use crate::parts::RunParts;
use crate::settings::tests::parse;

const RUN: &str =
    "--train-limit 90 --test-limit 8 --batch-size 33 --steps 4 --lr 0.05 --trace-probes 0 --device cpu --agents 6";

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
