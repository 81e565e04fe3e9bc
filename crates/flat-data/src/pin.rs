//! The data sets' files on the Hugging Face hub: repository, commit, and the sha256 of every file, known beforehand.
//!
//! The sums of MNIST, CIFAR-10 and CIFAR-100 are those that several public projects record for these files at these
//! commits, independently of each other (looked up in November 2026; the files themselves were not at hand). For
//! Fashion-MNIST's files none was found: its images and labels are compared with the original's, which `sums.rs` knows.

/// A repository of the hub at a commit, with the two files of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// Who the repository belongs to.
    pub owner: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// The folder that its parquet revision has `train/` and `test/` in; where downloads lie too.
    pub folder: &'static str,
    /// The commit, 40 hex digits.
    pub revision: &'static str,
    /// The training file and the test file.
    pub files: [PinnedFile; 2],
}

/// A file of the hub that is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinnedFile {
    /// Its path in the repository.
    pub path: &'static str,
    /// Most bytes that are taken: its length, or more where that is not known.
    pub limit: u64,
    /// Its sha256 in lower-case hex; `None` where it is not known.
    pub sha256: Option<&'static str>,
}

impl Pinned {
    /// `owner/name`, as the hub's pages have it.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Where the training and the test file lie in the folder of their data set; nothing that a server says is part of it.
    #[cfg(feature = "hub")]
    pub(crate) fn local(&self) -> [String; 2] {
        ["train", "test"].map(|split| format!("{}/{split}/0000.parquet", self.folder))
    }
}

/// 18,157,506 bytes are both files together.
pub(crate) const MNIST: Pinned = Pinned {
    owner: "ylecun",
    name: "mnist",
    folder: "mnist",
    revision: "77f3279092a1c1579b2250db8eafed0ad422088c",
    files: [
        PinnedFile {
            path: "mnist/train-00000-of-00001.parquet",
            limit: 18_157_506,
            sha256: Some("f2c01285a9f89399335b00ee4e8d499dc4e46db5e39c74903ce5618d895eb3bf"),
        },
        PinnedFile {
            path: "mnist/test-00000-of-00001.parquet",
            limit: 18_157_506,
            sha256: Some("d49fcf556ce25b002b302e318ce4a11098bbfe5d4499c3f35d7c72297c52374b"),
        },
    ],
};

pub(crate) const FASHION_MNIST: Pinned = Pinned {
    owner: "zalando-datasets",
    name: "fashion_mnist",
    folder: "fashion_mnist",
    revision: "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
    files: [
        PinnedFile { path: "fashion_mnist/train-00000-of-00001.parquet", limit: 64 << 20, sha256: None },
        PinnedFile { path: "fashion_mnist/test-00000-of-00001.parquet", limit: 64 << 20, sha256: None },
    ],
};

pub(crate) const CIFAR10: Pinned = Pinned {
    owner: "uoft-cs",
    name: "cifar10",
    folder: "plain_text",
    revision: "0b2714987fa478483af9968de7c934580d0bb9a2",
    files: [
        PinnedFile {
            path: "plain_text/train-00000-of-00001.parquet",
            limit: 119_705_255,
            sha256: Some("8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883"),
        },
        PinnedFile {
            path: "plain_text/test-00000-of-00001.parquet",
            limit: 23_940_850,
            sha256: Some("841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de"),
        },
    ],
};

pub(crate) const CIFAR100: Pinned = Pinned {
    owner: "uoft-cs",
    name: "cifar100",
    folder: "cifar100",
    revision: "aadb3af77e9048adbea6b47c21a81e47dd092ae5",
    files: [
        PinnedFile {
            path: "cifar100/train-00000-of-00001.parquet",
            limit: 118_518_617,
            sha256: Some("694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23"),
        },
        PinnedFile {
            path: "cifar100/test-00000-of-00001.parquet",
            limit: 23_772_751,
            sha256: Some("98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68"),
        },
    ],
};

#[cfg(test)]
mod tests {
    use crate::DatasetKind;
    use crate::sums::{is_sha256, known};

    #[test]
    fn every_fetched_set_has_a_commit_and_a_sum_of_its_files_or_of_its_contents() {
        for kind in DatasetKind::ALL.iter().copied() {
            let Some(pinned) = kind.hub else { continue };
            assert!(pinned.revision.len() == 40 && pinned.revision.bytes().all(|b| b.is_ascii_hexdigit()), "{kind}");
            for (file, split) in pinned.files.iter().zip(["train", "t10k"]) {
                let original = known(kind, &format!("{split}-images-idx3-ubyte"));
                assert!(file.sha256.is_none_or(is_sha256) && (file.sha256.is_some() || original.is_some()), "{file:?}");
            }
        }
    }
}
