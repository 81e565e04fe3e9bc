//! The parquet files of the Hugging Face hub, one row an example. A group `img` or `image` has `bytes`, a PNG or JPEG
//! file. An integer `label` (CIFAR-100: `fine_label`) is the class.

use std::fs::File;
use std::path::Path;
use std::thread;

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::error::Wrong;
use crate::guard::guarded;
use crate::idx::MAX_EXAMPLES;
use crate::page_header::check_pages;
use crate::picture::decode;
use crate::split::Examples;
use crate::{DatasetKind, Error, Fault, Place, Result};

const IMAGE_COLUMNS: [&str; 2] = ["img.bytes", "image.bytes"];
/// Rows read from a column at a time.
const ROWS: usize = 1024;
/// Most bytes of an encoded image; the largest of the data sets has some 4,000.
const MAX_IMAGE: usize = 1 << 20;
/// Rows that a file of any size may have: more than the largest of the data sets has.
const ROWS_OF_ANY: u64 = 100_000;
/// Fewest bytes of the file for each of more rows: a picture takes more by far, and only copies of one take less.
const ROW_BYTES: u64 = 4;
/// Most bytes of file metadata that are read. Fifty thousand rows in groups of a hundred take a tenth of it.
const MAX_METADATA: u64 = 4 << 20;

impl From<ParquetError> for Wrong {
    fn from(error: ParquetError) -> Self {
        Fault::Decode(format!("parquet: {error}")).into()
    }
}

/// Images and labels of one parquet file.
pub(crate) fn read(path: &Path, kind: DatasetKind) -> Result<Examples> {
    let file = flat_core::file::open(path).map_err(Error::io(path))?;
    check_footer(&file, path)?;
    // the library indexes and asserts its way through some damaged files
    guarded("parquet", || read_groups(file, kind)).map_err(|wrong| wrong.of(path))
}

/// The last eight bytes: length of the metadata before them, and `PAR1`.
fn check_footer(file: &File, path: &Path) -> Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = file;
    let len = file.metadata().map_err(Error::io(path))?.len();
    if len < 12 {
        return Err(Error::corrupt(path, Place::Offset(len), Fault::Truncated { expected: 12 - len }));
    }
    let mut tail = [0; 8];
    file.seek(SeekFrom::Start(len - 8)).map_err(Error::io(path))?;
    file.read_exact(&mut tail).map_err(Error::io(path))?;
    let [a, b, c, d, magic @ ..] = tail;
    let (expected, found) = (u32::from_be_bytes(*b"PAR1"), u32::from_be_bytes(magic));
    if found != expected {
        return Err(Error::corrupt(path, Place::Offset(len - 4), Fault::Magic { found, expected }));
    }
    let metadata = u64::from(u32::from_le_bytes([a, b, c, d]));
    if metadata > MAX_METADATA {
        let fault = Fault::TooLarge { what: "the size of the metadata", found: metadata, limit: MAX_METADATA };
        return Err(Error::corrupt(path, Place::Offset(len - 8), fault));
    }
    Ok(())
}

fn read_groups(file: File, kind: DatasetKind) -> Result<Examples, Wrong> {
    let failed = |e: std::io::Error| Fault::Decode(format!("parquet: {e}"));
    let mut pages = file.try_clone().map_err(failed)?;
    let limit = MAX_EXAMPLES.min(ROWS_OF_ANY.max(file.metadata().map_err(failed)?.len() / ROW_BYTES));
    let few = |rows: u64| match rows > limit {
        true => Err(Wrong::from(Fault::TooLarge { what: "the number of rows", found: rows, limit })),
        false => Ok(()),
    };
    let reader = SerializedFileReader::new(file)?;
    let metadata = reader.metadata();
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(u64::MAX);
    few(rows)?;
    let label_columns = [kind.label_column];
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for index in 0..reader.num_row_groups() {
        let first_row = labels.len();
        let group = reader.get_row_group(index)?;
        let image_column = find(group.metadata(), &IMAGE_COLUMNS, &[Physical::BYTE_ARRAY])?;
        let label_column = find(group.metadata(), &label_columns, &[Physical::INT64, Physical::INT32])?;
        for column in [image_column, label_column] {
            check_chunk(&mut pages, group.metadata(), column)?;
        }
        let column = group.get_column_reader(label_column)?;
        match group.metadata().column(label_column).column_type() {
            Physical::INT32 => values::<Int32Type>(column, group.metadata(), label_column, first_row, |_, found| {
                few((labels.len() + found.len()) as u64)?;
                found.iter().try_for_each(|&label| take_label(label.into(), kind, &mut labels))
            })?,
            _ => values::<Int64Type>(column, group.metadata(), label_column, first_row, |_, found| {
                few((labels.len() + found.len()) as u64)?;
                found.iter().try_for_each(|&label| take_label(label, kind, &mut labels))
            })?,
        }
        let (column, mut read) = (group.get_column_reader(image_column)?, first_row);
        values::<ByteArrayType>(column, group.metadata(), image_column, first_row, |row, encoded| {
            read = row + encoded.len();
            // no room is taken for images that have no label
            let labelled = encoded.len().min(labels.len().saturating_sub(row));
            decode_all(&encoded[..labelled], kind.shape(), row, &mut images)
        })?;
        if read != labels.len() {
            let fault = Fault::Count { images: read - first_row, labels: labels.len() - first_row };
            return Err(Wrong(Place::Row(read.min(labels.len())), fault));
        }
    }
    match labels.len() {
        0 => Err(Fault::Empty.into()),
        n if n as u64 != rows => {
            Err(Wrong(Place::Row(n), Fault::Truncated { expected: rows.saturating_sub(n as u64) }))
        }
        _ => Ok((images, labels)),
    }
}

/// Appends a label that is one of the data set's.
fn take_label(label: i64, kind: DatasetKind, labels: &mut Vec<u16>) -> Result<(), Wrong> {
    match u16::try_from(label) {
        Ok(label) if usize::from(label) < kind.classes => labels.push(label),
        _ => {
            let fault = Fault::Label { found: label, classes: kind.classes };
            return Err(Wrong(Place::Row(labels.len()), fault));
        }
    }
    Ok(())
}

/// The column with one of these paths and one of these types; one value a row at most.
fn find(group: &RowGroupMetaData, paths: &[&str], types: &[Physical]) -> Result<usize, Wrong> {
    let missing = |reason: String| Fault::Column { column: paths.join(" or "), reason };
    let found = paths.iter().find_map(|path| group.columns().iter().position(|c| c.column_path().string() == *path));
    let index = found.ok_or_else(|| {
        let there: Vec<_> = group.columns().iter().map(|c| c.column_path().string()).collect();
        missing(format!("the columns are {}", there.join(", ")))
    })?;
    let column = group.column(index);
    if !types.contains(&column.column_type()) {
        return Err(missing(format!("its type is {}", column.column_type())).into());
    }
    if column.column_descr().max_rep_level() > 0 {
        return Err(missing("it holds lists".into()).into());
    }
    Ok(index)
}

fn check_chunk(file: &mut File, group: &RowGroupMetaData, column: usize) -> Result<(), Wrong> {
    let chunk = group.column(column);
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    match (u64::try_from(start), u64::try_from(chunk.compressed_size())) {
        (Ok(start), Ok(len)) => {
            check_pages(file, start, len).map_err(|(offset, fault)| Wrong(Place::Offset(offset), fault))
        }
        _ => Err(Fault::Decode("parquet: a column lies at a negative offset".into()).into()),
    }
}

/// Hands all values of a column on, none of them null: some rows at a time, with the number of the first.
fn values<T: DataType>(
    reader: ColumnReader,
    group: &RowGroupMetaData,
    column: usize,
    first_row: usize,
    mut take: impl FnMut(usize, &[T::T]) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let descr = group.column(column).column_descr();
    let present = descr.max_def_level();
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut values, mut levels, mut row) = (Vec::new(), Vec::new(), first_row);
    loop {
        levels.clear();
        values.clear();
        let (rows, _, _) = reader.read_records(ROWS, Some(&mut levels), None, &mut values)?;
        if let Some(i) = levels.iter().position(|&level| level < present) {
            let column = descr.path().string();
            return Err(Wrong(Place::Row(row + i), Fault::Null { column }));
        }
        if rows == 0 {
            return Ok(());
        }
        take(row, &values)?;
        row += values.len();
    }
}

/// Decodes images on all cores and appends them in order.
fn decode_all(encoded: &[ByteArray], shape: [usize; 3], first_row: usize, out: &mut Vec<u8>) -> Result<(), Wrong> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let per_thread = encoded.len().div_ceil(threads).max(1);
    let parts = thread::scope(|scope| {
        let parts = encoded.chunks(per_thread).enumerate();
        let running: Vec<_> =
            parts.map(|(i, part)| scope.spawn(move || decode_part(part, shape, first_row + i * per_thread))).collect();
        let join = |handle: thread::ScopedJoinHandle<'_, _>| {
            handle.join().unwrap_or_else(|_| Err(Fault::Decode("the image decoder panicked on it".into()).into()))
        };
        running.into_iter().map(join).collect::<Vec<Result<Vec<u8>, Wrong>>>()
    });
    for part in parts {
        out.extend(part?);
    }
    Ok(())
}

fn decode_part(encoded: &[ByteArray], shape: [usize; 3], first_row: usize) -> Result<Vec<u8>, Wrong> {
    let mut out = Vec::new();
    for (i, bytes) in encoded.iter().enumerate() {
        if bytes.len() > MAX_IMAGE {
            let fault =
                Fault::TooLarge { what: "the size of an image", found: bytes.len() as u64, limit: MAX_IMAGE as u64 };
            return Err(Wrong(Place::Row(first_row + i), fault));
        }
        decode(bytes.data(), shape, &mut out).map_err(|fault| Wrong(Place::Row(first_row + i), fault))?;
    }
    Ok(out)
}
