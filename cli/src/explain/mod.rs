//! `bulkhead why`: what becomes of one new flow, and why, in words.
//!
//! ```text
//! texts --question--> Question --classifier::analysis, path--> Answer --text--> for people
//!                                                                     `-serde-> for programs
//! ```
//!
//! The policy's answer is exact. What stands before the policy is told as far as the configuration alone tells it
//! (`path`): neither ARP, nor live flows, nor limits are known here.

mod answer;
mod guard;
mod nearest;
mod path;
mod question;
mod text;

pub use answer::{Answer, EndOfFlow, MatchedRule, Nearest, Note, ServiceAsked, Tier, WouldBe};
pub use question::Question;

use crate::config::Configuration;
use classifier::analysis::explain;
use classifier::tables::Tables;
use dataplane::network::{Network, NetworkError, PortFacts};

/// What the tables say of a flow; they must be of the configuration's policy.
///
/// # Errors
/// Where the network does not hold together, which a configuration that was loaded does.
pub fn why(
    configuration: &Configuration,
    tables: &Tables,
    question: &Question,
) -> Result<Answer, NetworkError> {
    let network = Network::compile(&configuration.topology, &PortFacts::of_file(&configuration.topology))?;
    let (source, destination) = question.endpoints(configuration);
    let explanation = explain(tables, &source, &destination, question.packet);
    let notes = path::notes(configuration, &network, tables.compiled_for(), question);
    Ok(Answer::new(configuration, tables.compiled_for(), question, &explanation, notes))
}
