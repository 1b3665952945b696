//! The socket, and a thread for each client.

use super::desk::{Desk, Gone, Outbox};
use super::line::{Budget, LineReader, ReadError};
use super::protocol::{Envelope, Failure, FailureCode, Hello, PROTOCOL, Reply};
use arc_swap::ArcSwap;
use serde_json::Value;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients at once.
const CLIENTS: usize = 32;
/// Bytes of requests that all clients together may have sent and not have had answered.
const MEMORY: usize = 512 << 20;
/// How long a client may say nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a client may not read what it asked for.
const UNREAD: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The name, or the number where it has none.
    pub name: String,
}

impl User {
    fn of(stream: &UnixStream) -> io::Result<User> {
        let uid = rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw();
        Ok(User { uid, name: name_of(uid).unwrap_or_else(|| uid.to_string()) })
    }
}

/// The name of a user, as /etc/passwd has it: a lookup by NSS could wait for a network that the gateway is to carry.
fn name_of(uid: u32) -> Option<String> {
    let table = std::fs::read_to_string("/etc/passwd").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The socket. Dropping it takes the socket away; clients that are served are not waited for.
pub struct Server {
    path: PathBuf,
    desk: Arc<ArcSwap<Desk>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the socket, with permissions 0660, and serves it. A socket that a gateway left behind when it was killed
    /// is replaced; one that a living gateway answers at is not.
    ///
    /// # Errors
    /// The socket can't be made, or another gateway answers there.
    pub fn start(path: &Path, desk: Arc<Desk>) -> io::Result<Server> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is something else of that name",
                ));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another gateway answers there"));
            }
            std::fs::remove_file(path)?;
        }
        // Under another name until its permissions are set, so that nobody gets in before.
        let hidden = path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden)?;
        std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o660))?;
        std::fs::rename(&hidden, path)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let desk = Arc::new(ArcSwap::new(desk));
        let served = Arc::clone(&desk);
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &served, &over))?;
        Ok(Server { path: path.to_owned(), desk, is_over, thread: Some(thread) })
    }

    /// From now on requests are answered by this desk, also those of clients that are there already.
    pub fn serve_from(&self, desk: Arc<Desk>) {
        self.desk.store(desk);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Whoever waits for a client is woken by one.
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A place among the clients, given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>) -> Option<Place> {
        let place = Place(Arc::clone(places));
        (places.fetch_add(1, Ordering::AcqRel) < CLIENTS).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn accept(listener: &UnixListener, desk: &Arc<ArcSwap<Desk>>, is_over: &AtomicBool) {
    let places = Arc::new(AtomicUsize::new(0));
    let budget = Budget::new(MEMORY);
    for stream in listener.incoming() {
        if is_over.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: clients will leave.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let Some(place) = Place::take(&places) else {
            let _ = stream.set_write_timeout(Some(Duration::from_millis(10)));
            let failure = Failure::new(FailureCode::Busy, format!("{CLIENTS} clients are served already"));
            let _ = write(&mut &stream, &hello(&desk.load()))
                .and_then(|()| write(&mut &stream, &Reply::Error(failure)));
            continue;
        };
        let (desk, budget) = (Arc::clone(desk), budget.clone());
        let client = std::thread::Builder::new().name("client".to_owned()).spawn(move || {
            let _place = place;
            // An error is the client's: it has gone, or is too slow.
            let _ = serve(stream, &desk, budget);
        });
        drop(client);
    }
}

fn hello(desk: &Desk) -> Hello {
    Hello { bulkhead: env!("CARGO_PKG_VERSION").to_owned(), protocol: PROTOCOL, gateway: desk.gateway_name() }
}

fn write(stream: &mut impl Write, line: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    stream.write_all(&text)
}

/// What a client gets, behind a buffer.
struct Wire<'a>(BufWriter<&'a UnixStream>);

impl Outbox for Wire<'_> {
    fn item(&mut self, item: Value) -> Result<(), Gone> {
        write(&mut self.0, &Reply::Item(item)).map_err(|_| Gone)
    }

    fn lost(&mut self, count: u64) -> Result<(), Gone> {
        write(&mut self.0, &Reply::Lost(count)).map_err(|_| Gone)
    }

    fn flush(&mut self) -> Result<(), Gone> {
        self.0.flush().map_err(|_| Gone)
    }

    fn is_gone(&mut self) -> bool {
        let mut byte = [0; 1];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        matches!(rustix::net::recv(*self.0.get_ref(), &mut byte, flags), Ok((_, 0)))
    }
}

fn serve(stream: UnixStream, desk: &ArcSwap<Desk>, budget: Budget) -> io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(UNREAD))?;
    let user = User::of(&stream)?;
    write(&mut &stream, &hello(&desk.load()))?;
    let mut lines = LineReader::new(&stream, budget);
    let mut wire = Wire(BufWriter::with_capacity(64 * 1024, &stream));
    loop {
        let (answer, is_last) = match lines.next_line() {
            Ok(line) => (
                understand(&line).and_then(|request| desk.load_full().answer(&user, request, &mut wire)),
                false,
            ),
            Err(ReadError::TooLong) => (
                Err(Failure::new(FailureCode::Usage, "the request is too long: no memory is left for it")),
                true,
            ),
            Err(ReadError::End { .. } | ReadError::Io(_)) => return Ok(()),
        };
        let reply = match answer {
            Ok(value) => Reply::Ok(value),
            Err(failure) => Reply::Error(failure),
        };
        write(&mut wire.0, &reply)?;
        wire.0.flush()?;
        if is_last {
            return Ok(());
        }
    }
}

fn understand(line: &[u8]) -> Result<super::Request, Failure> {
    if let Ok(Envelope { protocol: PROTOCOL, request }) = serde_json::from_slice(line) {
        return Ok(request);
    }
    // What is wrong: the version first, as another's requests may not be understood at all.
    #[derive(serde::Deserialize)]
    struct Version {
        protocol: u32,
    }
    let usage = |error: serde_json::Error| {
        Failure::new(FailureCode::Usage, format!("the request can't be understood: {error}"))
    };
    let Version { protocol } = serde_json::from_slice(line).map_err(usage)?;
    if protocol != PROTOCOL {
        let message = format!("this gateway speaks version {PROTOCOL} of the protocol, not {protocol}");
        return Err(Failure::new(FailureCode::Usage, message));
    }
    serde_json::from_slice::<Envelope>(line).map(|envelope| envelope.request).map_err(usage)
}
