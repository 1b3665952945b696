//! `GET /metrics`, for Prometheus.
//!
//! One path, one method, one answer to a connection: that is less than a library for it would bring along, and
//! here what a client can take is bounded: four connections at once, 4 KiB of request, five seconds for both ways.

use super::exposition::Exposition;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Connections at once.
const CONNECTIONS: usize = 4;
/// Bytes of a request, its headers included.
const REQUEST: usize = 4096;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer is good for: what asks more often costs the workers nothing.
const FRESH: Duration = Duration::from_millis(500);

/// What is counted, as text; an error is a sentence for who asked.
pub type Collect = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// The responder. Dropping it closes the port.
#[derive(Debug)]
pub struct Responder {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// An address to listen at: `9469` and `:9469` are ports of this machine itself.
///
/// # Errors
/// What to write instead.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is no address: write `127.0.0.1:9469`, `[::1]:9469`, or a port"))
}

struct Book {
    collect: Collect,
    last: Mutex<Option<(Instant, String)>>,
    connections: AtomicUsize,
}

impl Responder {
    /// Listens at an address.
    ///
    /// # Errors
    /// It can't be listened at, or the system has no thread left.
    pub fn start(address: SocketAddr, collect: Collect) -> io::Result<Responder> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let book = Arc::new(Book { collect, last: Mutex::new(None), connections: AtomicUsize::new(0) });
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                match stream {
                    Ok(stream) => take(stream, &book),
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
        Ok(Responder { address, is_over, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Whoever waits for a connection is woken by one.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let woken = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn take(stream: TcpStream, book: &Arc<Book>) {
    let book = Arc::clone(book);
    if book.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS {
        book.connections.fetch_sub(1, Ordering::AcqRel);
        let _ = stream.set_write_timeout(Some(Duration::from_millis(10)));
        let _ =
            (&stream).write_all(&answer("503 Service Unavailable", "text/plain", "too many ask\n", false));
        return;
    }
    // Where there is no thread the place is lost with the connection, which is dropped with the closure.
    struct Place(Arc<Book>);
    impl Drop for Place {
        fn drop(&mut self) {
            self.0.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
    let place = Place(book);
    let _ = std::thread::Builder::new().name("metrics-client".to_owned()).spawn(move || {
        // An error is the client's: it has gone, or is too slow.
        let _ = serve(&stream, &place.0);
    });
}

fn serve(mut stream: &TcpStream, book: &Book) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(Some(left)),
    };
    let mut request = Vec::with_capacity(REQUEST);
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut portion = [0; 1024];
        stream.set_read_timeout(left()?)?;
        match stream.read(&mut portion)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&portion[..count]),
        }
        if request.len() > REQUEST {
            stream.set_write_timeout(left()?)?;
            let text = answer("431 Request Header Fields Too Large", "text/plain", "too long\n", false);
            return stream.write_all(&text);
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = respond(&String::from_utf8_lossy(line), book);
    let mut rest = &text[..];
    while !rest.is_empty() {
        stream.set_write_timeout(left()?)?;
        match stream.write(rest)? {
            0 => return Ok(()),
            count => rest = &rest[count..],
        }
    }
    Ok(())
}

/// The answer to a request line (RFC 9112 §3).
fn respond(line: &str, book: &Book) -> Vec<u8> {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return answer("400 Bad Request", "text/plain", "bad request\n", false);
    };
    if !version.starts_with("HTTP/1.") {
        return answer("505 HTTP Version Not Supported", "text/plain", "HTTP/1.1, please\n", false);
    }
    let is_head = method == "HEAD";
    if target.split('?').next() != Some("/metrics") {
        return answer("404 Not Found", "text/plain", "there is only /metrics\n", is_head);
    }
    if method != "GET" && !is_head {
        return answer("405 Method Not Allowed\r\nAllow: GET, HEAD", "text/plain", "only GET\n", false);
    }
    match book.text() {
        Ok(text) => answer("200 OK", Exposition::CONTENT_TYPE, &text, is_head),
        Err(why) => answer("503 Service Unavailable", "text/plain", &format!("{why}\n"), is_head),
    }
}

impl Book {
    fn text(&self) -> Result<String, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let text = (self.collect)()?;
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

fn answer(status: &str, content_type: &str, body: &str, is_head: bool) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut text = head.into_bytes();
    if !is_head {
        text.extend_from_slice(body.as_bytes());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// Whether there is no place for a connection.
    fn is_refused(mut stream: TcpStream) -> bool {
        let mut text = [0; 12];
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        stream.read_exact(&mut text).is_ok() && &text == b"HTTP/1.1 503"
    }

    #[test]
    fn only_get_of_metrics_is_answered_and_idle_connections_shut_nobody_out_for_long() {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let responder = Responder::start(local, Box::new(|| Ok("x 1\n".to_owned()))).unwrap();
        let address = responder.address();
        let good = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n") && good.ends_with("\r\n\r\nx 1\n"), "{good}");
        assert!(good.contains("Content-Length: 4\r\n") && good.contains("version=0.0.4"), "{good}");
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("nonsense\r\n\r\n", "400"),
            ("GET /metrics HTTP/2\r\n\r\n", "505"),
        ] {
            let text = ask(address, request);
            assert_eq!(text.split(' ').nth(1), Some(status), "{request}: {text}");
        }
        let idle: Vec<_> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
        let full = Instant::now() + PATIENCE;
        while !TcpStream::connect(address).is_ok_and(is_refused) {
            assert!(Instant::now() < full, "they take all places");
        }
        drop(idle);
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut text = String::new();
            let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n");
            if asked.and_then(|()| stream.read_to_string(&mut text)).is_ok() && text.contains("200 OK") {
                break;
            }
            assert!(Instant::now() < deadline, "{text}");
        }
        drop(responder);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_port_alone_is_of_this_machine() {
        assert_eq!(listen_address("9469").unwrap().to_string(), "127.0.0.1:9469");
        assert_eq!(listen_address(":9469").unwrap().to_string(), "127.0.0.1:9469");
        assert_eq!(listen_address("0.0.0.0:1").unwrap().to_string(), "0.0.0.0:1");
        assert!(listen_address("prometheus").is_err());
    }
}
