//! The normalisation of pixels, from flags, runs and files.

use crate::settings::choice::NormalizeName;
use crate::settings::config::RunConfig;
use crate::usage::usage;
use anyhow::Result;
use flat_data::Normalisation;
use std::collections::BTreeMap;

/// What a weights file calls the mean and the standard deviation of its pixels.
const NAMES: [&str; 2] = ["pixel_mean", "pixel_std"];

/// The settings that are a normalisation of their own.
pub(crate) const PIXELS: [&str; 2] = ["mean", "std"];

/// The normalisation that the flags `--normalize`, `--mean` and `--std` ask for, on the images of this run; `None` where they
/// ask for nothing.
///
/// # Errors
/// One of mean and deviation without the other, both beside `--normalize`, numbers that are not one a channel, a deviation
/// that is not positive.
pub fn of_flags(
    run: &RunConfig,
    name: Option<NormalizeName>,
    mean: Option<&[f64]>,
    std: Option<&[f64]>,
) -> Result<Option<Normalisation>> {
    let [channels, ..] = run.shape();
    let (mean, std) = match (name, mean, std) {
        (None, None, None) => return Ok(None),
        (Some(NormalizeName::Dataset), None, None) => return Ok(Some(of_dataset(run))),
        (Some(NormalizeName::None), None, None) => return Ok(Some(Normalisation::none(channels))),
        (None, Some(mean), Some(std)) => (mean, std),
        (None, Some(_), None) => return Err(usage("--mean has no effect without --std: give both")),
        (None, None, Some(_)) => return Err(usage("--std has no effect without --mean: give both")),
        (Some(_), _, _) => {
            return Err(usage("--mean and --std are a normalisation of their own: leave out --normalize"));
        }
    };
    for (flag, values) in [("mean", mean), ("std", std)] {
        if values.len() != channels || values.iter().any(|x| !x.is_finite()) {
            let given: Vec<String> = values.iter().map(f64::to_string).collect();
            return Err(usage(format!(
                "--{flag} {}: give {channels} finite number{}, one a channel of {}, for pixels in [0, 1]",
                given.join(","),
                if channels == 1 { "" } else { "s" },
                run.dataset
            )));
        }
    }
    if let Some(x) = std.iter().find(|x| **x <= 0.0) {
        return Err(usage(format!("--std {x}: give positive numbers")));
    }
    Ok(Some(Normalisation { mean: mean.to_vec(), std: std.to_vec() }))
}

/// The normalisation of a run.
///
/// # Errors
/// As [`of_flags`].
pub fn of_run(config: &RunConfig) -> Result<Normalisation> {
    let given = of_flags(config, config.normalize, config.mean.as_deref(), config.std.as_deref())?;
    Ok(given.unwrap_or_else(|| of_dataset(config)))
}

/// The normalisation of the run's images: of images of one's own that which was filled in.
pub fn of_dataset(run: &RunConfig) -> Normalisation {
    match (run.dataset.known(), &run.mean, &run.std) {
        (Some(kind), ..) => kind.normalisation(),
        (None, Some(mean), Some(std)) => Normalisation { mean: mean.clone(), std: std.clone() },
        (None, ..) => Normalisation::none(run.shape()[0]),
    }
}

/// The normalisation as a weights file records it.
pub fn to_metadata(normalisation: &Normalisation) -> BTreeMap<String, String> {
    let text = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    let values = [text(&normalisation.mean), text(&normalisation.std)];
    NAMES.into_iter().map(String::from).zip(values).collect()
}

/// The normalisation that a weights file records; `None` where it records none.
pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Option<Normalisation> {
    let list = |name: &str| metadata.get(name)?.split(',').map(|x| x.parse().ok()).collect::<Option<Vec<f64>>>();
    Some(Normalisation { mean: list(NAMES[0])?, std: list(NAMES[1])? })
}

/// The normalisation for a person.
pub fn in_words(normalisation: &Normalisation) -> String {
    if *normalisation == Normalisation::none(normalisation.mean.len()) {
        return "pixels in [0, 1]".into();
    }
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    format!("pixels in [0, 1] less {} over {}", list(&normalisation.mean), list(&normalisation.std))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flat_data::DatasetKind;

    #[test]
    fn a_normalisation_survives_the_way_through_a_file_and_bad_ones_name_their_flag() {
        for kind in DatasetKind::ALL.iter() {
            let own = kind.normalisation();
            assert_eq!(from_metadata(&to_metadata(&own)), Some(own));
        }
        let of = |name, mean: Option<&[f64]>, std: Option<&[f64]>| of_flags(&RunConfig::default(), name, mean, std);
        for (name, mean, std, flag) in [
            (None, Some(&[0.1][..]), None, "--std"),
            (None, None, Some(&[0.1][..]), "--mean"),
            (None, Some(&[0.1, 0.2][..]), Some(&[0.1][..]), "--mean"),
            (None, Some(&[0.1][..]), Some(&[0.0][..]), "--std"),
            (None, Some(&[f64::NAN][..]), Some(&[1.0][..]), "--mean"),
            (Some(NormalizeName::None), Some(&[0.1][..]), Some(&[1.0][..]), "--normalize"),
        ] {
            let said = of(name, mean, std).expect_err(flag).to_string();
            assert!(said.contains(flag), "{said}");
        }
    }
}
