//! Servers on a host, each on threads of its own that end with the value.

use super::bulk;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread waits before it looks whether it is to end.
const TURN: Duration = Duration::from_millis(20);

/// A server; dropping it ends it and its connections.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn start(address: SocketAddr, body: impl FnOnce(&AtomicBool) + Send + 'static) -> Service {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || body(&seen));
        Service { address, stop, thread: Some(thread) }
    }

    fn tcp(local: SocketAddr, serve: fn(&mut TcpStream, &AtomicBool)) -> io::Result<Service> {
        let listener = TcpListener::bind(local)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Service::start(address, move |stop| accept(&listener, stop, serve)))
    }

    pub(super) fn tcp_echo(local: SocketAddr) -> io::Result<Service> {
        Service::tcp(local, |stream, stop| {
            let mut buffer = [0; 16 * 1024];
            while let Some(length) = read(stream, &mut buffer, stop) {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
        })
    }

    pub(super) fn bulk_sink(local: SocketAddr) -> io::Result<Service> {
        Service::tcp(local, |stream, _| {
            // A transfer that breaks off is the sender's to report.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = bulk::receive(stream);
        })
    }

    pub(super) fn udp_echo(local: SocketAddr) -> io::Result<Service> {
        let socket = UdpSocket::bind(local)?;
        socket.set_read_timeout(Some(TURN))?;
        let address = socket.local_addr()?;
        Ok(Service::start(address, move |stop| {
            let mut buffer = vec![0; 65536];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    // A peer that is gone does not end the server.
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        }))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been printed by then.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, stop: &AtomicBool, serve: fn(&mut TcpStream, &AtomicBool)) {
    std::thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    let ready = stream.set_nonblocking(false).and(stream.set_read_timeout(Some(TURN)));
                    if ready.is_ok() {
                        scope.spawn(move || serve(&mut stream, stop));
                    }
                }
                Err(_) => std::thread::sleep(TURN / 10),
            }
        }
    });
}

/// The next bytes; `None` at the end of the stream, or when the server is to end.
fn read(stream: &mut TcpStream, buffer: &mut [u8], stop: &AtomicBool) -> Option<usize> {
    while !stop.load(Ordering::Relaxed) {
        match stream.read(buffer) {
            Ok(0) => return None,
            Ok(length) => return Some(length),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => return None,
        }
    }
    None
}
