//! How headers are looked up. A way more to do it is a variant more, and an arm in each of the two functions.

use super::header::{Block, Header, SOURCE_MAC, egress, ingress};
use clap::ValueEnum;
use classifier::decision::Judgement;
use classifier::policy::RuleId;
use classifier::tables::Tables;

/// A way to look headers up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Method {
    /// One header after the other.
    Scalar,
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
    #[inline]
    fn from(judgement: Judgement) -> Answer {
        judgement.decided_by.map_or(Answer::DEFAULT, |RuleId(rule)| Answer(rule))
    }
}

impl Method {
    /// The name that the command line has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Method::Scalar => "scalar",
        }
    }

    /// Looks up a block; `answers` is as long as a block.
    #[inline]
    pub(crate) fn look_up(self, tables: &Tables, block: Block<'_>, answers: &mut [Answer]) {
        match block {
            Block::V4(headers) => self.v4(tables, headers, answers),
            Block::V6(headers) => self.v6(tables, headers, answers),
        }
    }

    #[inline]
    fn v4(self, tables: &Tables, headers: &[Header<u32>], answers: &mut [Answer]) {
        match self {
            Method::Scalar => {
                for (header, answer) in headers.iter().zip(answers) {
                    let from = tables.source_class_v4(ingress(), SOURCE_MAC, header.source);
                    let to = tables.destination_class_v4(egress(), None, header.destination);
                    *answer = tables
                        .judge(from, to, header.protocol, header.source_port, header.destination_port)
                        .into();
                }
            }
        }
    }

    #[inline]
    fn v6(self, tables: &Tables, headers: &[Header<u128>], answers: &mut [Answer]) {
        match self {
            Method::Scalar => {
                for (header, answer) in headers.iter().zip(answers) {
                    let from = tables.source_class_v6(ingress(), SOURCE_MAC, header.source);
                    let to = tables.destination_class_v6(egress(), None, header.destination);
                    *answer = tables
                        .judge(from, to, header.protocol, header.source_port, header.destination_port)
                        .into();
                }
            }
        }
    }
}
