//! Checkpoints read back as they were written, and damage to them is found.

use super::*;

fn checkpoint(step: u64) -> Result<Checkpoint> {
    let t = Tensor::new(&[step as f64], &Device::Cpu)?;
    let epoch = Epoch { loss_sum: 0.1 + 0.2, correct: 1.0 / 3.0, seen: 7, seconds: 1e-300 };
    let evaluated = Some(Evaluation { step, loss: f64::INFINITY, accuracy: 0.1, groups: None });
    let progress = Progress { step, evaluated, epoch, ..Progress::default() };
    Ok(Checkpoint {
        model: BTreeMap::from([("fc.weight".to_string(), t.clone())]),
        optimizer: BTreeMap::from([("momentum".to_string(), t)]),
        agents: Vec::new(),
        progress,
        fingerprint: None,
        checked: false,
    })
}

#[test]
fn a_checkpoint_reads_back_exactly() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = file(dir.path(), 5);
    checkpoint(5)?.write(&path)?;
    let back = Checkpoint::read(&path, &Device::Cpu)?;
    assert_eq!(back.progress, checkpoint(5)?.progress);
    assert_eq!(back.model["fc.weight"].to_vec1::<f64>()?, [5.0]);
    assert_eq!(back.optimizer["momentum"].to_vec1::<f64>()?, [5.0]);
    Ok(())
}

#[test]
fn a_state_that_is_not_finite_is_a_flaw_but_a_number_that_is_not_known_is_none() -> Result<()> {
    let with = |name: &str, tensor: Tensor| -> Result<Option<String>> {
        let mut made = checkpoint(5)?;
        made.optimizer.insert(name.into(), tensor);
        made.flaw()
    };
    assert_eq!(with("subspace.gap", Tensor::new(f64::NAN, &Device::Cpu)?)?, None);
    for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let flaw = with("base.momentum", Tensor::new(&[[0.0, x]], &Device::Cpu)?)?;
        assert!(flaw.is_some_and(|flaw| flaw.contains("`base.momentum`")), "{x}");
    }
    assert_eq!(with("base.momentum", Tensor::new(&[f32::MAX, f32::MAX, f32::MIN], &Device::Cpu)?)?, None);
    Ok(())
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() -> Result<()> {
    let dir = tempfile::tempdir()?;
    checkpoint(5)?.write(&file(dir.path(), 5))?;
    checkpoint(6)?.write(&file(dir.path(), 6))?;
    let bytes = std::fs::read(file(dir.path(), 6))?;
    std::fs::write(file(dir.path(), 6), &bytes[..bytes.len() - 3])?;
    let mut warnings = Vec::new();
    let found = newest(dir.path(), &Device::Cpu, |_| Ok(()), |w| warnings.push(w))?;
    assert_eq!(found.map(|c| c.progress.step), Some(5));
    assert_eq!(warnings.len(), 1);
    let refused = newest(dir.path(), &Device::Cpu, |_| bail!("another model"), |_| ());
    assert!(format!("{:#}", refused.expect_err("none fits")).contains("another model"));
    Ok(())
}

#[test]
fn every_bit_of_a_number_survives() -> Result<()> {
    for x in [0.1 + 0.2, f64::NAN, f64::INFINITY, -0.0, 1.668836373090744, f64::MIN_POSITIVE / 3.0] {
        let text = serde_json::to_string(&Progress { evals: x, ..Progress::default() })?;
        assert_eq!(serde_json::from_str::<Progress>(&text)?.evals.to_bits(), x.to_bits());
    }
    Ok(())
}

#[test]
fn the_newest_are_kept() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for step in [9, 10, 100] {
        checkpoint(step)?.write(&file(dir.path(), step))?;
    }
    prune(dir.path(), 2)?;
    assert_eq!(list(dir.path())?, [file(dir.path(), 10), file(dir.path(), 100)]);
    Ok(())
}

#[test]
fn agents_read_back_in_their_order_and_their_flaws_are_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = file(dir.path(), 5);
    let agent = |x: f64| -> Result<AgentState> {
        let of =
            |name: &str, x: f64| -> Result<_> { Ok([(name.to_string(), Tensor::new(&[x], &Device::Cpu)?)].into()) };
        Ok(AgentState { model: of("fc.weight", x)?, optimizer: of("momentum", -x)? })
    };
    let mut made = checkpoint(5)?;
    made.agents = (0..120).map(|k| agent(f64::from(k))).collect::<Result<_>>()?;
    made.write(&path)?;
    let back = Checkpoint::read(&path, &Device::Cpu)?;
    assert_eq!((back.agents.len(), back.model.len(), back.optimizer.len()), (120, 1, 1));
    for (k, agent) in back.agents.iter().enumerate() {
        assert_eq!(agent.model["fc.weight"].to_vec1::<f64>()?, [k as f64]);
        assert_eq!(agent.optimizer["momentum"].to_vec1::<f64>()?, [-(k as f64)]);
    }
    made.agents[7] = agent(f64::NAN)?;
    assert!(made.flaw()?.is_some_and(|flaw| flaw.contains("fc.weight")));
    Ok(())
}
