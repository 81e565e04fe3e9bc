//! The table of a hostile hub's behaviours: what each sends, and what a fetch must say of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

type Sent = std::io::Result<()>;

/// A request that waits for its answer.
pub struct Scene<'a> {
    pub stream: TcpStream,
    /// The path asked for, and where the server is.
    pub path: String,
    pub endpoint: &'a str,
    /// The right bytes.
    pub file: &'a [u8],
}

impl Scene<'_> {
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> Sent {
        self.stream.write_all(bytes.as_ref())
    }

    /// An answer of this status line's end and these lines of headers.
    fn answer(&mut self, status: &str, headers: &str, body: &[u8]) -> Sent {
        let end = if headers.is_empty() { "" } else { "\r\n" };
        self.send(format!("HTTP/1.1 {status}\r\n{headers}{end}Connection: close\r\n\r\n"))?;
        self.send(body)
    }

    fn status(&mut self, status: &str, headers: &str) -> Sent {
        self.answer(status, &format!("Content-Length: 0{headers}"), b"")
    }

    fn redirect(&mut self, to: &str) -> Sent {
        self.status("302 Found", &format!("\r\nLocation: {to}"))
    }

    /// The right bytes under these headers.
    fn right(&mut self, headers: &str) -> Sent {
        let (file, length) = (self.file, self.file.len());
        self.answer("200 OK", &format!("Content-Length: {length}{headers}"), file)
    }

    /// The same bytes again and again, until nobody listens.
    fn endless(&mut self, bytes: &[u8], every: Duration) -> Sent {
        loop {
            self.send(bytes)?;
            std::thread::sleep(every);
        }
    }

    /// Nothing more; the connection stays open until the other side closes it.
    fn stall(&mut self) -> Sent {
        self.stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let _ = self.stream.read(&mut [0; 1]);
        Ok(())
    }
}

/// What a fetch must come to: an error whose text has this part, or the right file.
#[derive(Clone, Copy)]
pub enum End {
    Says(&'static str),
    Right,
}
use End::{Right, Says};

/// A behaviour: its name, what a fetch comes to, and what is sent.
pub type Behaviour = (&'static str, End, fn(&mut Scene) -> Sent);

const BUSY: Duration = Duration::ZERO;
const SLOW: Duration = Duration::from_millis(20);

/// The behaviours.
pub const BEHAVIOURS: &[Behaviour] = &[
    // the connection
    ("closes at once", Says("broke off"), |s| s.stream.shutdown(Shutdown::Both)),
    ("closes without reading", Says("broke off"), |_| Ok(())),
    ("says nothing", Says("does not answer"), |s| s.stall()),
    ("stalls in the status line", Says("does not answer"), |s| s.send("HTTP/1.1 20").and_then(|()| s.stall())),
    ("stalls in the headers", Says("does not answer"), |s| {
        s.send("HTTP/1.1 200 OK\r\nContent-").and_then(|()| s.stall())
    }),
    ("drips headers", Says("does not answer"), |s| {
        s.send("HTTP/1.1 200 OK\r\nX: ").and_then(|()| s.endless(b"x", SLOW))
    }),
    ("drips lines of headers", Says("does not answer"), |s| {
        s.send("HTTP/1.1 200 OK\r\n").and_then(|()| s.endless(b"X: y\r\n", SLOW))
    }),
    // the head
    ("endless headers", Says(""), |s| s.send("HTTP/1.1 200 OK\r\n").and_then(|()| s.endless(b"X-Y: z\r\n", BUSY))),
    ("an endless header", Says(""), |s| s.send("HTTP/1.1 200 OK\r\nX: ").and_then(|()| s.endless(&[b'x'; 4096], BUSY))),
    ("another protocol", Says("cannot be used"), |s| s.send("SSH-2.0-OpenSSH_9.9\r\n\r\n")),
    ("random bytes", Says(""), |s| s.send([0x16, 0x03, 0x01, 0xff, 0x00, 0x0a, 0x0d, 0x0a, 0x0d, 0x0a])),
    ("a body without a head", Says(""), |s| s.send(s.file)),
    ("NUL bytes in the status line", Says("cannot be used"), |s| {
        s.send("HTTP/1.1 200\0 OK\0\r\nContent-Length: 0\r\n\r\n")
    }),
    ("NUL bytes in a header", Says(""), |s| s.right("\r\nX-A\0B: c\0d")),
    ("escape codes in the reason", Says(""), |s| s.status("500 \x1b[2J\x1b]0;x\x07", "")),
    ("endless 100 Continue", Says(""), |s| s.endless(b"HTTP/1.1 100 Continue\r\n\r\n", SLOW)),
    ("busy 103 Early Hints", Says(""), |s| s.endless(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", BUSY)),
    ("switches protocols", Says(""), |s| {
        s.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
    }),
    ("a status of four digits", Says("cannot be used"), |s| s.status("2000 OK", "")),
    ("a status below 100", Says(""), |s| s.status("007 Bond", "")),
    // statuses
    ("204 No Content", Says("status 204"), |s| s.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")),
    ("206 of another range", Says("status 206"), |s| {
        let file = s.file;
        s.answer("206 Partial Content", "Content-Range: bytes 100-200/1000", file)
    }),
    ("300 without a place", Says("status 300"), |s| s.status("300 Multiple Choices", "")),
    ("304 Not Modified", Says("status 304"), |s| s.status("304 Not Modified", "\r\nETag: \"x\"")),
    ("401", Says("HF_TOKEN"), |s| s.status("401 Unauthorized", "\r\nWWW-Authenticate: Basic realm=\"x\"")),
    ("403", Says("HF_TOKEN"), |s| s.status("403 Forbidden", "")),
    ("404", Says("does not have the file"), |s| s.status("404 Not Found", "")),
    ("410", Says("does not have the file"), |s| s.status("410 Gone", "")),
    ("429 for ever", Says("try again later"), |s| s.status("429 Too Many Requests", "\r\nRetry-After: 0")),
    ("429 for eleven days", Says("999999 s"), |s| s.status("429 Too Many Requests", "\r\nRetry-After: 999999")),
    ("429 until the end of time", Says("status 429"), |s| {
        s.status("429 Too Many Requests", "\r\nRetry-After: 99999999999999999999999")
    }),
    ("429 with a length of time that overflows", Says("status 429"), |s| {
        s.status("429 Too Many Requests", "\r\nRetry-After: 18446744073709551615")
    }),
    ("500", Says("status 500"), |s| s.status("500 Internal Server Error", "")),
    ("503 with a date", Says("status 503"), |s| s.status("503 Busy", "\r\nRetry-After: Fri, 31 Dec 2199 23:59:59 GMT")),
    ("999", Says("status 999"), |s| s.status("999 Denied", "")),
    ("an error with an endless body", Says("status 404"), |s| {
        s.send("HTTP/1.1 404 Not Found\r\n\r\n").and_then(|()| s.endless(&[0; 4096], BUSY))
    }),
    // redirects
    ("302 without a place", Says("status 302"), |s| s.status("302 Found", "")),
    ("redirects to itself", Says("more than 5 times"), |s| s.redirect(&s.path.clone())),
    ("redirects on and on", Says("more than 5 times"), |s| s.redirect(&format!("{}x", s.path))),
    ("redirects to a file", Says("file:///etc/passwd"), |s| s.redirect("file:///etc/passwd")),
    ("redirects to http elsewhere", Says("https alone"), |s| s.redirect("http://192.0.2.1/x")),
    ("redirects to http elsewhere without a scheme", Says("https alone"), |s| s.redirect("//192.0.2.1/x")),
    ("redirects to ftp", Says("no URL of http"), |s| s.redirect("ftp://127.0.0.1/x")),
    ("redirects to data", Says("redirects to data:"), |s| s.redirect("data:text/plain,PAR1")),
    ("redirects to https that is none", Says(""), |s| s.redirect(&s.endpoint.replace("http:", "https:"))),
    ("redirects to a user's name", Says("names a user"), |s| s.redirect("https://huggingface.co@127.0.0.1/x")),
    ("redirects upwards", Says("does not have the file"), |s| match s.path.ends_with("passwd") {
        true => s.status("404 Not Found", ""),
        false => s.redirect("../../../../../../etc/passwd"),
    }),
    ("redirects to a place of control codes", Says(""), |s| s.redirect("/\x1b[2J\x07\x7f")),
    ("redirects to a very long place", Says(""), |s| s.redirect(&format!("/{}", "x".repeat(60_000)))),
    ("redirects to no port", Says("redirects to"), |s| s.redirect("http://127.0.0.1:99999/x")),
    ("redirects to a port where nobody is", Says("cannot be reached"), |s| s.redirect("http://127.0.0.1:1/x")),
    // lengths
    ("announces too much", Says("100000000000 bytes"), |s| s.answer("200 OK", "Content-Length: 100000000000", b"PAR1")),
    ("announces more than there are numbers", Says(""), |s| {
        s.answer("200 OK", "Content-Length: 99999999999999999999", b"PAR1")
    }),
    ("announces less than nothing", Says(""), |s| s.answer("200 OK", "Content-Length: -1", b"PAR1")),
    ("announces a word", Says(""), |s| s.answer("200 OK", "Content-Length: plenty", b"PAR1")),
    ("announces two lengths", Says(""), |s| {
        let file = s.file;
        s.answer("200 OK", &format!("Content-Length: {}\r\nContent-Length: 4", file.len()), file)
    }),
    ("ends early", Says("broke off"), |s| {
        let file = s.file;
        s.answer("200 OK", &format!("Content-Length: {}", file.len()), &file[..file.len() / 2])
    }),
    ("ends early without a length", Says("not the known file"), |s| {
        let file = s.file;
        s.answer("200 OK", "", &file[..file.len() / 2])
    }),
    ("sends more than it announced", Right, |s| s.right("").and_then(|()| s.send("HTTP/1.1 200 OK\r\n\r\nmore"))),
    ("sends on and on", Says("sends more"), |s| {
        s.answer("200 OK", "", b"PAR1").and_then(|()| s.endless(&[7; 4096], BUSY))
    }),
    // chunks
    ("sends chunks on and on", Says("sends more"), |s| {
        s.answer("200 OK", "Transfer-Encoding: chunked", b"").and_then(|()| s.endless(b"8\r\n12345678\r\n", BUSY))
    }),
    ("sends chunks without a number", Says("cannot be used"), |s| {
        s.answer("200 OK", "Transfer-Encoding: chunked", b"no\r\nxx\r\n")
    }),
    ("sends a chunk that overflows", Says(""), |s| {
        s.answer("200 OK", "Transfer-Encoding: chunked", b"FFFFFFFFFFFFFFFFF\r\nx").and_then(|()| s.stall())
    }),
    ("breaks off in a chunk", Says("broke off"), |s| s.answer("200 OK", "Transfer-Encoding: chunked", b"400\r\nPAR1")),
    ("sends a chunk's number without end", Says(""), |s| {
        s.answer("200 OK", "Transfer-Encoding: chunked", b"").and_then(|()| s.endless(&[b'0'; 4096], BUSY))
    }),
    ("sends trailers without end", Says(""), |s| {
        s.answer("200 OK", "Transfer-Encoding: chunked", b"1\r\nP\r\n0\r\n").and_then(|()| s.endless(b"X: y\r\n", BUSY))
    }),
    // time
    ("stalls in the body", Says("next to nothing"), |s| {
        let file = s.file;
        s.answer("200 OK", &format!("Content-Length: {}", file.len()), &file[..100]).and_then(|()| s.stall())
    }),
    ("stalls before the body", Says("next to nothing"), |s| {
        s.answer("200 OK", "Content-Length: 1000", b"").and_then(|()| s.stall())
    }),
    ("drips the body", Says("next to nothing"), |s| {
        s.answer("200 OK", "Content-Length: 1000000", b"").and_then(|()| s.endless(b"x", SLOW))
    }),
    ("never comes to the end", Says("does not send the file"), |s| {
        s.answer("200 OK", "Content-Length: 1000000", b"").and_then(|()| s.endless(&[1; 200], SLOW))
    }),
    // bytes
    ("sends nothing", Says("not the known file"), |s| s.status("200 OK", "")),
    ("changes a bit", Says("not the known file"), |s| {
        let mut file = s.file.to_vec();
        file[1000] ^= 1;
        s.answer("200 OK", &format!("Content-Length: {}", file.len()), &file)
    }),
    ("sends a page for logging in", Says("not the known file"), |s| {
        s.answer("200 OK", "Content-Type: text/html", b"<html>log in</html>")
    }),
    ("sends a bomb of gzip", Says("coding gzip"), |s| {
        s.answer("200 OK", "Content-Encoding: gzip", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 0x01])
    }),
    ("sends an unknown coding", Says("coding x-"), |s| s.right("\r\nContent-Encoding: x-\u{e9}\u{202e}")),
    ("sends chunks in gzip", Says(""), |s| {
        s.answer("200 OK", "Transfer-Encoding: gzip, chunked", b"4\r\nPAR1\r\n0\r\n\r\n")
    }),
    // names: whatever a server calls a file, it goes where it belongs
    ("tags it as a place above", Right, |s| {
        s.right("\r\nETag: \"../../../../outside/new\"\r\nX-Repo-Commit: ../../../outside")
    }),
    ("tags it as an absolute place", Right, |s| {
        s.right(
            "\r\nX-Linked-ETag: \"/tmp/flat-hostile-hub\"\r\nX-Linked-Size: 1\r\nX-Repo-Commit: /tmp/flat-hostile-hub",
        )
    }),
    ("tags it as nothing", Right, |s| s.right("\r\nETag: \r\nX-Linked-ETag: \"\"\r\nX-Repo-Commit: .")),
    ("names it", Right, |s| s.right("\r\nContent-Disposition: attachment; filename=\"../../../outside/secret\"")),
    ("names it with a bit changed", Says("not the known file"), |s| {
        let mut file = s.file.to_vec();
        file[1000] ^= 1;
        let names = "ETag: \"../../../../outside/secret\"\r\nX-Linked-ETag: \"../../../../outside/secret\"\r\n\
                     X-Repo-Commit: ../../../../outside\r\nContent-Disposition: attachment; filename=/outside/secret";
        s.answer("200 OK", &format!("Content-Length: {}\r\n{names}", file.len()), &file)
    }),
    ("tags it a hundred times", Says(""), |s| s.right(&"\r\nETag: \"../outside/new\"".repeat(300))),
    ("keeps the connection", Right, |s| {
        let (head, file) = (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", s.file.len()), s.file.to_vec());
        s.send(head).and_then(|()| s.send(file)).and_then(|()| s.stall())
    }),
    ("is as old as HTTP/1.0", Right, |s| s.send("HTTP/1.0 200 OK\r\n\r\n").and_then(|()| s.send(s.file))),
];
