//! How headers are looked up. A way more to do it is a variant more, an arm in each of the functions, and a field of
//! [`Found`] where it leaves its answers in a form of its own.

use super::header::{BLOCK, Block, Header, SOURCE_MAC, egress, ingress};
use clap::ValueEnum;
use classifier::decision::Judgement;
use classifier::policy::RuleId;
use classifier::tables::{self, Tables};

/// A way to look headers up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Method {
    /// One header after the other.
    Scalar,
    /// A block at once, by the widest instructions that the processor has.
    Batch,
}

/// What came out for a header: the index of the rule that decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Answer(u32);

impl Answer {
    /// No rule decides.
    pub(crate) const DEFAULT: Answer = Answer(u32::MAX);

    /// The answer as the number that a dump bears.
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

impl From<Judgement> for Answer {
    fn from(judgement: Judgement) -> Answer {
        judgement.decided_by.map_or(Answer::DEFAULT, |RuleId(rule)| Answer(rule))
    }
}

/// What the headers of a block came to, as the method leaves it: what it takes to tell the rule is measured, the
/// telling is not.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    judgements: [Judgement; BLOCK],
    outcomes: [tables::Answer; BLOCK],
}

impl Default for Found {
    fn default() -> Found {
        Found { judgements: [Judgement::default(); BLOCK], outcomes: [tables::Answer::default(); BLOCK] }
    }
}

impl Method {
    /// The name that the command line has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Method::Scalar => "scalar",
            Method::Batch => "batch",
        }
    }

    /// Looks up a block: this is what is measured.
    #[inline]
    pub(crate) fn look_up(self, tables: &Tables, block: Block<'_>, found: &mut Found) {
        match block {
            Block::V4(headers) => self.v4(tables, headers, found),
            Block::V6(headers) => self.v6(tables, headers, found),
        }
    }

    /// The answers that were found, a block of them.
    pub(crate) fn answers(self, tables: &Tables, found: &Found) -> [Answer; BLOCK] {
        match self {
            Method::Scalar => found.judgements.map(Answer::from),
            Method::Batch => found.outcomes.map(|outcome| tables.judgement_of(outcome).into()),
        }
    }

    #[inline]
    fn v4(self, tables: &Tables, headers: &[Header<u32>], found: &mut Found) {
        match self {
            Method::Scalar => {
                for (header, judgement) in headers.iter().zip(&mut found.judgements) {
                    let from = tables.source_class_v4(ingress(), SOURCE_MAC, header.source);
                    let to = tables.destination_class_v4(egress(), None, header.destination);
                    *judgement =
                        tables.judge(from, to, header.protocol, header.source_port, header.destination_port);
                }
            }
            Method::Batch => tables.classify_v4(headers, &[], &mut found.outcomes),
        }
    }

    #[inline]
    fn v6(self, tables: &Tables, headers: &[Header<u128>], found: &mut Found) {
        match self {
            Method::Scalar => {
                for (header, judgement) in headers.iter().zip(&mut found.judgements) {
                    let from = tables.source_class_v6(ingress(), SOURCE_MAC, header.source);
                    let to = tables.destination_class_v6(egress(), None, header.destination);
                    *judgement =
                        tables.judge(from, to, header.protocol, header.source_port, header.destination_port);
                }
            }
            Method::Batch => tables.classify_v6(headers, &[], &mut found.outcomes),
        }
    }
}
