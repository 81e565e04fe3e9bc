//! The images of a run: a data set by its name, or a path to images of one's own.

use crate::DatasetKind;
use flat_core::setting::{BadSetting, Kind, SettingType, Value};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A data set by its name, or a path to images of one's own ([`crate::OwnImages`]).
///
/// ```
/// use flat_data::{DatasetKind, Images};
///
/// assert_eq!("CIFAR-10".parse(), Ok(Images::Known(DatasetKind::Cifar10)));
/// assert_eq!("./flowers".parse(), Ok(Images::Own("./flowers".into())));
/// assert!("minst".parse::<Images>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// A data set of the table.
    Known(DatasetKind),
    /// A folder or a file.
    Own(PathBuf),
}

impl Images {
    /// The data set of the table; `None` for images of one's own.
    pub fn known(&self) -> Option<DatasetKind> {
        match self {
            Self::Known(kind) => Some(*kind),
            Self::Own(_) => None,
        }
    }

    /// The path of images of one's own.
    pub fn own(&self) -> Option<&Path> {
        match self {
            Self::Known(_) => None,
            Self::Own(path) => Some(path),
        }
    }

    /// Values of a spurious attribute that every image has beside its class; 0 where there is none.
    pub fn attributes(&self) -> usize {
        self.known().map_or(0, |kind| kind.attributes)
    }

    /// A word for names of folders.
    pub fn word(&self) -> String {
        match self {
            Self::Known(kind) => kind.to_string(),
            Self::Own(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let word: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(40).collect();
                if word.is_empty() { "images".into() } else { word }
            }
        }
    }

    /// Whether a text that names no data set is a path: it has a separator or a dot, or something is there.
    pub fn is_path(text: &str) -> bool {
        text.contains(['/', '\\', '.']) || (!text.is_empty() && Path::new(text).exists())
    }
}

impl Default for Images {
    fn default() -> Self {
        Self::Known(DatasetKind::default())
    }
}

impl From<DatasetKind> for Images {
    fn from(kind: DatasetKind) -> Self {
        Self::Known(kind)
    }
}

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(kind) => kind.fmt(f),
            Self::Own(path) => f.pad(&path.display().to_string()),
        }
    }
}

impl FromStr for Images {
    type Err = BadSetting;
    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match text.parse() {
            Ok(kind) => Ok(Self::Known(kind)),
            Err(_) if Self::is_path(text) => Ok(Self::Own(text.into())),
            Err(e) => Err(BadSetting { expected: format!("{}, or a path to images", e.expected), ..e }),
        }
    }
}

impl SettingType for Images {
    const KIND: Kind = Kind::Text;

    fn names() -> Vec<&'static str> {
        DatasetKind::names()
    }

    fn others() -> Vec<(&'static str, &'static str)> {
        DatasetKind::others()
    }

    fn read(name: &str, value: &Value) -> Result<Self, BadSetting> {
        let text = value.to_string();
        text.parse().map_err(|e: BadSetting| BadSetting::new(name, text, e.expected))
    }

    fn value(&self) -> Option<Value> {
        Some(Value::Text(self.to_string()))
    }
}
