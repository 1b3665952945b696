//! The control socket: how a person or a program speaks to a gateway that is at work.
//!
//! ```text
//!  client ──line──► client's own thread ──order──► main thread (owns the gateway)
//!                        │  ▲
//!                        └──┴──errand──► worker (between two batches)
//! ```
//!
//! Each client has a thread of its own, which reads, asks and writes for it alone: one that is slow, or sends
//! nonsense, keeps nobody waiting but itself. What changes the gateway is an *order* that the main thread carries out
//! in turn; what looks at flows is an *errand* that a worker does in portions. docs/CONTROL.md has the protocol.

mod client;
pub mod desk;
mod line;
mod protocol;
mod server;

pub use client::{Client, ClientError};
pub use desk::{Desk, Order, Outbox};
pub use line::{Budget, LineReader, ReadError};
pub use protocol::{
    ApplyOptions, CaptureOptions, Envelope, EstablishedFlows, EventFilter, EventVerdict, Failure,
    FailureCode, FlowFilter, Hello, PROTOCOL, Reply, Request, Show,
};
pub use server::{Server, User};

/// Where the socket is, unless `--socket` says otherwise.
pub const SOCKET: &str = "/run/bulkhead/control.sock";
