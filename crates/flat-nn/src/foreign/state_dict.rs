//! What the pickle of a PyTorch archive says: tensors by name, each a view of a storage. Nothing is called.

use super::strided::View;
use candle_core::DType;
use flat_pickle::{Made, Name, Object, Pickle, Value};
use std::collections::BTreeMap;

/// Most dicts and lists within each other.
const MAX_DEPTH: usize = 32;
/// Most values that are looked at. A checkpoint of a large network has some thousands.
const MAX_VALUES: usize = 1 << 18;

/// Storages by their names in PyTorch; the element type where candle has it.
const STORAGES: [(&str, Option<DType>, u64); 14] = [
    ("FloatStorage", Some(DType::F32), 4),
    ("DoubleStorage", Some(DType::F64), 8),
    ("HalfStorage", Some(DType::F16), 2),
    ("BFloat16Storage", Some(DType::BF16), 2),
    ("LongStorage", Some(DType::I64), 8),
    ("IntStorage", Some(DType::I32), 4),
    ("ShortStorage", Some(DType::I16), 2),
    ("ByteStorage", Some(DType::U8), 1),
    ("BoolStorage", Some(DType::U8), 1),
    ("CharStorage", None, 1),
    ("ComplexFloatStorage", None, 8),
    ("ComplexDoubleStorage", None, 16),
    ("QInt8Storage", None, 1),
    ("QUInt8Storage", None, 1),
];

/// Classes and functions that make tensors.
const TENSORS: [&str; 7] = [
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._tensor._rebuild_from_type_v2",
    "torch.nn.parameter.Parameter",
    "torch.Tensor",
];

/// Classes of plain values that checkpoints hold beside the weights. They are passed over.
const PLAIN: [&str; 30] = [
    "collections.defaultdict",
    "collections.Counter",
    "argparse.Namespace",
    "builtins.set",
    "builtins.frozenset",
    "builtins.list",
    "builtins.dict",
    "builtins.tuple",
    "builtins.int",
    "builtins.float",
    "builtins.bool",
    "builtins.str",
    "builtins.bytearray",
    "__builtin__.set",
    "__builtin__.long",
    "__builtin__.list",
    "__builtin__.dict",
    "_codecs.encode",
    "datetime.datetime",
    "datetime.timedelta",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "numpy.dtype",
    "numpy.ndarray",
    "torch.Size",
    "torch.device",
];

/// Element types, which a configuration within a checkpoint may name.
const DTYPES: [&str; 6] = ["float16", "bfloat16", "float32", "float64", "int64", "uint8"];

fn storage(name: Name<'_>) -> Option<(Option<DType>, u64)> {
    let of_torch = matches!(name.module, "torch" | "torch.cuda");
    let found = STORAGES.iter().find(|(storage, ..)| *storage == name.name).filter(|_| of_torch);
    found.map(|(_, dtype, size)| (*dtype, *size))
}

/// Whether a checkpoint may name it.
pub(super) fn known(name: Name<'_>) -> bool {
    let numpy = name.module.strip_prefix("numpy._core.").or(name.module.strip_prefix("numpy.core."));
    storage(name).is_some()
        || TENSORS.iter().chain(&PLAIN).any(|known| name.to_string() == *known)
        || name.module == "torch" && DTYPES.contains(&name.name)
        || matches!((numpy, name.name), (Some("multiarray"), "scalar" | "_reconstruct"))
}

/// A tensor that the pickle describes.
#[derive(Debug, Clone)]
pub(super) struct Described<'a> {
    /// The storage's name in the archive.
    pub(super) storage: &'a str,
    /// The element type; `None` for one that is not read.
    pub(super) dtype: Option<DType>,
    /// Bytes of an element.
    pub(super) size: u64,
    /// Elements of the storage.
    pub(super) stored: u64,
    pub(super) view: View,
}

/// The tensors that a checkpoint describes, by their names joined with dots.
///
/// # Errors
/// Dicts that are nested without end, two tensors of one name, tensors that lack a part.
pub(super) fn tensors<'a>(pickle: &Pickle<'a>) -> Result<BTreeMap<String, Described<'a>>, String> {
    let mut walk = Walk { pickle, found: BTreeMap::new(), seen: 0 };
    walk.value(String::new(), pickle.top, 0)?;
    Ok(walk.found)
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    found: BTreeMap<String, Described<'a>>,
    seen: usize,
}

impl<'a> Walk<'_, 'a> {
    fn value(&mut self, name: String, value: Value<'a>, depth: usize) -> Result<(), String> {
        self.seen += 1;
        if depth > MAX_DEPTH || self.seen > MAX_VALUES {
            return Err("its dicts hold each other without end: save the network's state_dict() alone".into());
        }
        let pickle = self.pickle;
        let below = |key: &str| if name.is_empty() { key.to_string() } else { format!("{name}.{key}") };
        match pickle.object(value) {
            Some(Object::Dict(pairs)) => self.entries(&below, pairs, depth),
            Some(Object::List(items) | Object::Tuple(items)) => {
                for (i, item) in items.iter().enumerate() {
                    self.value(below(&i.to_string()), *item, depth + 1)?;
                }
                Ok(())
            }
            Some(Object::Made(made)) => match tensor(pickle, made, 0) {
                None => self.entries(&below, &made.pairs, depth),
                Some(tensor) => {
                    let shown: String = name.escape_debug().take(80).collect();
                    let tensor = tensor.map_err(|why| format!("tensor `{shown}`: {why}"))?;
                    match self.found.insert(name, tensor) {
                        Some(_) => Err(format!("it holds two tensors of the name `{shown}`")),
                        None => Ok(()),
                    }
                }
            },
            Some(Object::Set(_) | Object::Outside(_)) | None => Ok(()),
        }
    }

    fn entries(
        &mut self,
        below: &impl Fn(&str) -> String,
        pairs: &[(Value<'a>, Value<'a>)],
        depth: usize,
    ) -> Result<(), String> {
        for (key, value) in pairs {
            let key = match key {
                Value::Text(text) => (*text).to_string(),
                Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Value::Int(n) => n.to_string(),
                _ => continue,
            };
            self.value(below(&key), *value, depth + 1)?;
        }
        Ok(())
    }
}

/// The tensor that a call makes; `None` where it makes something else.
fn tensor<'a>(pickle: &Pickle<'a>, made: &Made<'a>, depth: usize) -> Option<Result<Described<'a>, String>> {
    let arguments = pickle.items(made.arguments).unwrap_or_default();
    let lacks = || Some(Err("it lacks a part".to_string()));
    let inner = |value: Value<'a>| match pickle.object(value) {
        Some(Object::Made(made)) if depth < MAX_DEPTH => tensor(pickle, made, depth + 1),
        _ => lacks(),
    };
    match (made.name.to_string().as_str(), arguments) {
        ("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", [of, offset, shape, strides, ..]) => {
            Some(described(pickle, *of, *offset, *shape, *strides))
        }
        ("torch._utils._rebuild_parameter" | "torch.nn.parameter.Parameter", [of, ..]) => inner(*of),
        ("torch._tensor._rebuild_from_type_v2", [Value::Name(name), _, arguments, ..]) => {
            let again = Made { name: *name, arguments: *arguments, ..made.clone() };
            if depth < MAX_DEPTH { tensor(pickle, &again, depth + 1) } else { lacks() }
        }
        (name, _) if name.contains("_rebuild_") => lacks(),
        _ => None,
    }
}

fn described<'a>(
    pickle: &Pickle<'a>,
    of: Value<'a>,
    offset: Value<'a>,
    shape: Value<'a>,
    strides: Value<'a>,
) -> Result<Described<'a>, String> {
    let number = |value: &Value<'_>| match value {
        Value::Int(n) => u64::try_from(*n).map_err(|_| format!("a size of it is {n}")),
        _ => Err("a size of it is no number".to_string()),
    };
    let numbers = |value: Value<'a>| match pickle.items(value) {
        Some(items) => items.iter().map(number).collect::<Result<Vec<u64>, _>>(),
        None => Err("it has no shape".to_string()),
    };
    let Some(Object::Outside(identity)) = pickle.object(of) else { return Err("it has no storage".into()) };
    let unread = || "its storage is described in a way that is not read".to_string();
    // the sixth part is of old files: the storage may be a part of another one
    let (Some([kind, Value::Name(class), key, _, stored])
    | Some([kind, Value::Name(class), key, _, stored, Value::None])) = pickle.items(*identity)
    else {
        return Err(unread());
    };
    let key = key.as_text().filter(|_| kind.as_text() == Some("storage")).ok_or_else(unread)?;
    let Some((dtype, size)) = storage(*class) else { return Err(format!("its storage is a {class}")) };
    let view = View { offset: number(&offset)?, shape: numbers(shape)?, strides: numbers(strides)? };
    Ok(Described { storage: key, dtype, size, stored: number(stored)?, view })
}
