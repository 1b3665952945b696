//! A thread that gives the service manager signs of life, as long as there is life: every worker answers, and the main
//! thread does its rounds. Where that ends, the signs end, and the service manager kills and restarts the process.
//!
//! That a worker has panicked is noticed by the main thread within milliseconds. This here is for what hangs.

use super::Service;
use arc_swap::ArcSwap;
use dataplane::ErrandError;
use dataplane::worker::Control;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the main thread may be busy with one thing: a policy of a million rules takes it long to compile.
const MAIN_THREAD: Duration = Duration::from_secs(180);
/// Between two tries to reach a worker.
const AGAIN: Duration = Duration::from_millis(20);

/// The thread. Dropping it ends the signs of life.
#[derive(Debug)]
pub struct Watchdog {
    started: Instant,
    shared: Arc<Watched>,
}

#[derive(Debug)]
struct Watched {
    control: ArcSwap<Control>,
    /// Milliseconds after the start.
    main_thread: AtomicU64,
    is_over: AtomicBool,
}

impl Watchdog {
    /// Starts to watch the workers under `control`, where the service manager wants that.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(service: &Arc<Service>, control: Arc<Control>) -> std::io::Result<Watchdog> {
        let started = Instant::now();
        let shared = Arc::new(Watched {
            control: ArcSwap::new(control),
            main_thread: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        if let Some(within) = service.watchdog() {
            let (service, watched) = (Arc::clone(service), Arc::clone(&shared));
            std::thread::Builder::new()
                .name("watchdog".to_owned())
                .spawn(move || watch(&service, &watched, started, within))?;
        }
        Ok(Watchdog { started, shared })
    }

    /// From now on the workers are these.
    pub fn watch(&self, control: Arc<Control>) {
        self.shared.control.store(control);
    }

    /// Says that the main thread does its rounds.
    pub fn main_thread_is_alive(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.main_thread.store(now, Ordering::Release);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
    }
}

fn watch(service: &Service, watched: &Watched, started: Instant, within: Duration) {
    // Half of it is what sd_watchdog_enabled(3) advises; an answer may take the other half.
    let every = within / 4;
    while !watched.is_over.load(Ordering::Acquire) {
        let asked = Instant::now();
        let last = Duration::from_millis(watched.main_thread.load(Ordering::Acquire));
        if is_alive(watched, asked + within / 2) && started.elapsed().saturating_sub(last) < MAIN_THREAD {
            service.tell("WATCHDOG=1");
        } else {
            tell!(
                "error: a worker or the main thread does not answer; the service manager is to restart the gateway"
            );
        }
        std::thread::sleep(every.saturating_sub(asked.elapsed()));
    }
}

/// Whether every worker answers before the deadline. The workers may be replaced meanwhile.
fn is_alive(watched: &Watched, deadline: Instant) -> bool {
    loop {
        match watched.control.load_full().ask_all(|_| ()) {
            Ok(_) => return true,
            Err(ErrandError::Busy | ErrandError::Gone) if Instant::now() >= deadline => return false,
            Err(ErrandError::Busy | ErrandError::Gone) => std::thread::sleep(AGAIN),
        }
    }
}
