//! What requests come to: each is answered on its client's own thread.

mod act;
mod capture;
mod change;
mod counters;
mod flows;
mod listing;
mod metrics;
mod observe;
mod status;

use super::protocol::{Failure, FailureCode, Request, Show};
use super::server::User;
use crate::config::Configuration;
use crate::feed::Shelf;
use crate::run::Host;
use crate::run::hub::Feed;
use arc_swap::ArcSwap;
use conntrack::time::Tick;
use crossbeam_channel::{Sender, TrySendError, bounded};
use dataplane::ErrandError;
use dataplane::worker::{Clock, Control};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the main thread does for somebody else, in turn, over all that it owns.
pub type Order = Box<dyn FnOnce(&mut Host) + Send>;

/// How long an order is waited for: a large policy takes seconds to compile.
const PATIENCE: Duration = Duration::from_secs(120);

/// The client has gone away, or does not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

/// Where the items of an answer go.
pub trait Outbox {
    /// Sends an item.
    ///
    /// # Errors
    /// [`Gone`].
    fn item(&mut self, item: Value) -> Result<(), Gone>;

    /// Tells of items that were lost.
    ///
    /// # Errors
    /// [`Gone`].
    fn lost(&mut self, count: u64) -> Result<(), Gone>;

    /// Sends what is held back.
    ///
    /// # Errors
    /// [`Gone`].
    fn flush(&mut self) -> Result<(), Gone>;

    /// Whether the client has gone, for who has nothing to send for long.
    fn is_gone(&mut self) -> bool;
}

/// What the main thread and all clients' threads share. None of it is ever locked for long.
pub struct Shared {
    /// The workers.
    pub control: Arc<Control>,
    /// The configuration in force.
    pub configuration: ArcSwap<Configuration>,
    /// The same without what was done beside the files.
    pub base: ArcSwap<Configuration>,
    /// The workers' time.
    pub clock: Clock,
    /// Where the lists of feeds are.
    pub shelf: Shelf,
    /// When the gateway started.
    pub started: jiff::Timestamp,
    /// The same, by a clock that nobody sets.
    pub began: Instant,
}

impl Shared {
    /// A moment of the workers' time as the wall clock had it, as RFC 3339 in UTC.
    #[must_use]
    pub fn time_of(&self, tick: Tick) -> String {
        let age = self.clock.now().since(tick);
        let at = jiff::Timestamp::now().checked_sub(age).unwrap_or_default();
        at.round(jiff::Unit::Millisecond).unwrap_or(at).to_string()
    }
}

/// Answers requests.
pub struct Desk {
    shared: Arc<Shared>,
    orders: Sender<Order>,
    feed: Feed,
}

/// A client that has gone needs no answer.
impl From<Gone> for Failure {
    fn from(_: Gone) -> Failure {
        Failure::new(FailureCode::No, "the client has gone away")
    }
}

impl From<ErrandError> for Failure {
    fn from(error: ErrandError) -> Failure {
        Failure::new(FailureCode::Busy, error.to_string())
    }
}

impl Desk {
    /// A desk before these workers, this main thread, and the events of `feed`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, orders: Sender<Order>, feed: Feed) -> Desk {
        Desk { shared, orders, feed }
    }

    /// `[gateway] name`.
    #[must_use]
    pub fn gateway_name(&self) -> String {
        self.shared.configuration.load().topology.name.clone()
    }

    /// Answers a request.
    ///
    /// # Errors
    /// The failure that the client is told.
    pub fn answer(&self, user: &User, request: Request, out: &mut dyn Outbox) -> Result<Value, Failure> {
        match request {
            Request::Show { what } => self.show(what, out),
            Request::Flows { filter, limit } => flows::list(&self.shared, &filter, limit, out),
            Request::Observe { filter, follow, since, last } => {
                observe::observe(self, filter, follow, since, last, out)
            }
            Request::Capture { filter, options } => capture::capture(self, &filter, &options, out),
            Request::Apply { bundle, options } => change::apply(self, user, bundle, options, out),
            Request::Confirm { message } => change::confirm(self, user, message),
            Request::Rollback { version, message } => change::rollback(self, user, version, message),
            Request::Diff { bundle, version } => change::diff(self, bundle, version, out),
            Request::Act { deed, for_s } => act::act(self, user, deed, for_s),
            Request::Undo { deed } => act::undo(self, user, deed),
            Request::Acts => act::list(self, out),
            Request::SegmentsOf { address } => act::segments_of(self, &address),
            Request::CountFlows { filter } => act::count_flows(self, &filter),
            Request::KillFlows { filter } => act::kill_flows(self, user, filter),
            Request::History { verify } => change::history(self, verify, out),
        }
    }

    fn show(&self, what: Show, out: &mut dyn Outbox) -> Result<Value, Failure> {
        match what {
            Show::Status => status::status(self),
            Show::Ports => listing::ports(self, out),
            Show::Vlans => listing::vlans(&self.shared, out),
            Show::Segments => listing::segments(&self.shared, out),
            Show::Rules => counters::rules(self, out),
            Show::Neighbors => listing::neighbors(&self.shared, out),
            Show::Counters => counters::counters(self),
            Show::Drops => counters::drops(&self.shared, out),
            Show::Workers => counters::workers(&self.shared, out),
            Show::Config => listing::config(&self.shared, out),
        }
    }

    /// Has the main thread do something, and waits for it.
    fn order<T: Send + 'static>(
        &self,
        order: impl FnOnce(&mut Host) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, receiver) = bounded(1);
        let order: Order = Box::new(move |host| {
            let answer = order(host);
            host.once_known(Box::new(move || {
                // Who asked may have given up.
                let _ = sender.try_send(answer);
            }));
        });
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => Failure::new(FailureCode::Busy, "too many requests wait; try again"),
            TrySendError::Disconnected(_) => Failure::new(FailureCode::Busy, "the gateway is stopping"),
        })?;
        let busy = |_| Failure::new(FailureCode::Busy, "the gateway does not answer");
        receiver.recv_timeout(PATIENCE).map_err(busy)
    }
}
