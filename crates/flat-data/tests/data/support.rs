//! What the tests share: parquet files made to order, a hub on the loopback interface, tests in a process of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use image::{DynamicImage, ImageFormat, RgbImage};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A row: the image's bytes (null inside, or the whole group null), and the label.
#[derive(Clone)]
pub struct Row {
    pub image: Image,
    pub label: Option<i64>,
}

#[derive(Clone)]
pub enum Image {
    Bytes(Vec<u8>),
    NullBytes,
    NullGroup,
}

/// A good row: an image unlike its own mirror images and transpose, different for each `i`.
pub fn row(i: u8) -> Row {
    Row { image: Image::Bytes(png(&picture(i))), label: Some(i64::from(i) % 10) }
}

pub fn picture(i: u8) -> RgbImage {
    RgbImage::from_fn(32, 32, |x, y| image::Rgb([8 * x as u8, 8 * y as u8, i.wrapping_mul(25)]))
}

/// The bytes of [`picture`], channels first, row 0 at the top: what a right reader yields.
pub fn pixels(i: u8) -> Vec<u8> {
    let value = |c: usize, y: usize, x: usize| [8 * x as u8, 8 * y as u8, i.wrapping_mul(25)][c];
    (0..3).flat_map(|c| (0..32).flat_map(move |y| (0..32).map(move |x| value(c, y, x)))).collect()
}

pub fn png(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image.clone()).write_to(&mut bytes, ImageFormat::Png).expect("png");
    bytes.into_inner()
}

/// Writes a parquet file as the hub has them, in row groups of `group` rows.
pub fn write_parquet(path: &Path, names: [&str; 2], rows: &[Row], group: usize, compression: Compression) {
    fs::create_dir_all(path.parent().expect("parent")).expect("folder");
    let [image, label] = names;
    let schema = format!(
        "message schema {{ optional group {image} {{ optional binary bytes; optional binary path (UTF8); }} optional int64 {label}; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).expect("schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(File::create(path).expect("file"), schema, properties).expect("writer");
    for rows in rows.chunks(group) {
        let mut group = writer.next_row_group().expect("group");
        let level = |row: &Row| match row.image {
            Image::Bytes(_) => 2,
            Image::NullBytes => 1,
            Image::NullGroup => 0i16,
        };
        let bytes = rows.iter().filter_map(|row| match &row.image {
            Image::Bytes(bytes) => Some(ByteArray::from(bytes.clone())),
            _ => None,
        });
        let (bytes, levels): (Vec<_>, Vec<_>) = (bytes.collect(), rows.iter().map(level).collect());
        let mut column = group.next_column().expect("next").expect("bytes");
        column.typed::<ByteArrayType>().write_batch(&bytes, Some(&levels), None).expect("write");
        column.close().expect("close");
        let levels: Vec<_> = levels.into_iter().map(|level| level.min(1)).collect();
        let mut column = group.next_column().expect("next").expect("path");
        column.typed::<ByteArrayType>().write_batch(&[], Some(&levels), None).expect("write");
        column.close().expect("close");
        let labels: Vec<i64> = rows.iter().filter_map(|row| row.label).collect();
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.label.is_some())).collect();
        let mut column = group.next_column().expect("next").expect("label");
        column.typed::<Int64Type>().write_batch(&labels, Some(&levels), None).expect("write");
        column.close().expect("close");
        group.close().expect("close");
    }
    writer.close().expect("close");
}

/// A CIFAR-10 of three training and two test images under `dir/plain_text`.
pub fn write_cifar10(dir: &Path) {
    let rows: Vec<Row> = (0..5).map(row).collect();
    let path = |split: &str| dir.join("plain_text").join(split).join("0000.parquet");
    write_parquet(&path("train"), ["img", "label"], &rows[..3], 2, Compression::SNAPPY);
    write_parquet(&path("test"), ["img", "label"], &rows[3..], 2, Compression::SNAPPY);
}

const CHILD: &str = "FLAT_DATA_TEST_CHILD";

/// Whether this is the process that [`run_child`] started for the test `name` (with its module).
pub fn is_child(name: &str) -> bool {
    std::env::var(CHILD).is_ok_and(|child| child == name)
}

/// Runs the test `name` again in a process of its own, with these variables, and without the proxies and the hub
/// settings of this one. Panics if it fails.
pub fn run_child(name: &str, variables: &[(&str, &Path)]) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(proxy).env_remove(proxy.to_uppercase());
    }
    for variable in ["HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "FLAT_DATA_DIR"] {
        command.env_remove(variable);
    }
    command.env("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1").env(CHILD, name).envs(variables.iter().copied());
    let output = command.output().expect("child");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{name} failed in its process:\n{out}\n{err}");
}

/// The commit that the hub of the tests has.
pub const COMMIT: &str = "1234567890123456789012345678901234567890";

/// The files of [`write_cifar10`] as pinned ones.
#[cfg(feature = "hub")]
pub fn pinned(root: &Path) -> flat_data::Pinned {
    let file = |path: &'static str| {
        let sum = flat_data::sha256_file(&root.join(path)).expect("sum");
        flat_data::PinnedFile { path, limit: 1 << 20, sha256: Some(sum.leak()) }
    };
    let files = ["plain_text/train/0000.parquet", "plain_text/test/0000.parquet"].map(file);
    flat_data::Pinned { owner: "uoft-cs", name: "cifar10", folder: "plain_text", revision: COMMIT, files }
}

/// How the hub misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hub {
    /// Not at all.
    Honest,
    /// It answers with absolute redirects to another path, as the real one does for large files.
    Redirecting,
    /// What it sends has another sum than it announces.
    Lying,
    /// The connection breaks in the middle of a file.
    Breaking,
    /// It sends half a file and says that this is all.
    Short,
    /// It answers the request for a file's contents with an error page.
    Failing,
    /// It takes a request and says nothing.
    Silent,
    /// It sends half a file and then nothing, with the connection open.
    Stalling,
}

/// A hub on the loopback interface that serves the files of a folder as every data set.
pub struct Server {
    pub endpoint: String,
    log: Arc<Mutex<Vec<String>>>,
    mode: Arc<Mutex<Hub>>,
}

impl Server {
    pub fn start(root: &Path, mode: Hub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let (log, mode) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(mode)));
        let server = Self { endpoint: endpoint.clone(), log: Arc::clone(&log), mode: Arc::clone(&mode) };
        let root = root.to_path_buf();
        // ends with the test process
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let (mode, stream) = (*mode.lock().expect("mode"), stream.expect("connection"));
                if matches!(mode, Hub::Silent | Hub::Stalling) {
                    open.extend(stream.try_clone());
                }
                let _ = answer(stream, &root, &endpoint, mode, &log);
            }
        });
        server
    }

    pub fn become_(&self, mode: Hub) {
        *self.mode.lock().expect("mode") = mode;
    }

    /// The requests since the last call, `METHOD path`, and whether a token came along.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().expect("log"))
    }
}

fn answer(
    mut stream: TcpStream,
    root: &Path,
    endpoint: &str,
    mode: Hub,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut line, mut token) = (String::new(), "");
    while reader.read_line(&mut line)? > 2 {
        if line.to_lowercase().starts_with("authorization") {
            token = " with a token";
        }
        line.clear();
    }
    let (method, path) = request.split_once(' ').unwrap_or_default();
    let path = path.split(' ').next().unwrap_or_default();
    log.lock().expect("log").push(format!("{method} {path}{token}"));
    let commit = format!("/{COMMIT}/");
    let begins = ["/refs%2Fconvert%2Fparquet/", "/cdn/", &commit];
    let name = begins.iter().find_map(|begin| Some(path.split_once(begin)?.1)).unwrap_or_default();
    let Ok(body) = File::open(root.join(name)).and_then(|mut file| {
        let mut body = Vec::new();
        file.read_to_end(&mut body).map(|_| body)
    }) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let sum = flat_data::sha256_file(&root.join(name)).expect("sum");
    let tag = match mode {
        Hub::Lying => "0".repeat(64),
        _ => sum,
    };
    let linked = format!("X-Linked-Etag: \"{tag}\"\r\nX-Linked-Size: {}\r\nX-Repo-Commit: {COMMIT}\r\n", body.len(),);
    if mode == Hub::Redirecting && !path.starts_with("/cdn/") {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: {endpoint}/cdn/{name}\r\n{linked}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return stream.write_all(head.as_bytes());
    }
    if mode == Hub::Silent {
        return Ok(());
    }
    let (status, sent) = match mode {
        Hub::Failing if method == "GET" => ("403 Forbidden", &b"no"[..]),
        Hub::Short | Hub::Breaking | Hub::Stalling => ("200 OK", &body[..body.len() / 2]),
        _ => ("200 OK", &body[..]),
    };
    let length = if matches!(mode, Hub::Breaking | Hub::Stalling) { body.len() } else { sent.len() };
    let head = format!("HTTP/1.1 {status}\r\n{linked}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    if method == "GET" {
        stream.write_all(sent)?;
    }
    stream.flush()
}

/// The project's `data/` folder, which holds MNIST.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

/// A copy of the project's MNIST files in `dir`.
pub fn copy_mnist(dir: &Path) {
    fs::create_dir_all(dir).expect("folder");
    for entry in fs::read_dir(data().join("mnist")).expect("MNIST is in data/mnist") {
        let path = entry.expect("entry").path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            fs::copy(&path, dir.join(path.file_name().expect("name"))).expect("copy");
        }
    }
}
