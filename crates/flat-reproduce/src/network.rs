//! The networks of the studies, described in words.

use crate::flags::Flags;
use flat_nn::Arch;

/// The network that the flags describe.
pub(crate) fn network(flags: &Flags) -> String {
    let name = arch(flags).map_or("?", |arch| arch.title);
    let width = match (flags.list("hidden"), flags.number("channels")) {
        (Some(hidden), _) => format!(" with {hidden} hidden units"),
        (_, Some(channels)) => format!(" with {channels} channels in its first convolution"),
        _ => String::new(),
    };
    let norm = match flags.text("norm").unwrap_or("batch") {
        _ if !has_norm(flags) => String::new(),
        norm => format!(", {norm} normalisation"),
    };
    format!("{name}{width}{norm}")
}

/// Whether the loss of one example depends on its batch.
pub(crate) fn has_batch_norm(flags: &Flags) -> bool {
    has_norm(flags) && flags.text("norm").unwrap_or("batch") == "batch"
}

fn has_norm(flags: &Flags) -> bool {
    arch(flags).is_some_and(|arch| arch.takes("norm"))
}

fn arch(flags: &Flags) -> Option<Arch> {
    flags.text("model").unwrap_or("lenet").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_residual_networks_have_a_norm() {
        let of = |text: &str| toml::from_str::<Flags>(text).expect("flags");
        assert_eq!(
            network(&of("model = \"mlp\"\nhidden = [256, 128]")),
            "multilayer perceptron with 256, 128 hidden units"
        );
        let resnet = of("model = \"resnet20\"\nchannels = 8");
        assert_eq!(network(&resnet), "ResNet-20 with 8 channels in its first convolution, batch normalisation");
        assert!(has_batch_norm(&resnet) && !has_batch_norm(&of("model = \"resnet20\"\nnorm = \"group\"")));
        assert!(!has_batch_norm(&of("model = \"lenet\"")));
    }
}
