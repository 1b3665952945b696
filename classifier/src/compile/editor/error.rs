//! Why a change can't be made.

use crate::compile::CompileError;
use std::fmt;

/// Why a change can't be made in place. Tables and policy are as they were.
///
/// All but [`EditError::Absent`] and [`EditError::Invalid`] have a remedy: [`super::Editor::rebuild`] makes the change
/// and compiles the policy anew.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EditError {
    /// The segment, rule or member is not there, or it is so already.
    Absent,
    /// The rule or member is not one that a policy may have: without services or endpoints, with a range whose end is
    /// before its start, in a tier or of a segment that there is not, or with an id that another rule has; or the segment
    /// has another name, or is made of other segments than before.
    Invalid,
    /// The tables have a form that can't be changed.
    Form,
    /// The change has to do with a VLAN or MAC.
    Place,
    /// The rule has a protocol, or in tables of rows a service, that the tables can't tell apart.
    Service,
    /// The rule matches so many pairs that a compilation is the shorter way.
    Wide,
    /// The tables have no room for what the change brings.
    Full,
}

impl EditError {
    /// Whether a compilation makes the change possible.
    #[must_use]
    pub const fn is_cured_by_rebuild(self) -> bool {
        match self {
            EditError::Absent | EditError::Invalid => false,
            EditError::Form | EditError::Place | EditError::Service | EditError::Wide | EditError::Full => {
                true
            }
        }
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EditError::Absent => "there is no such segment, rule or member, or it is as wished already",
            EditError::Invalid => "the rule or member is not valid",
            EditError::Form => {
                "tables of this form can't be changed in place, so the policy must be compiled anew"
            }
            EditError::Place => {
                "VLANs and MACs can't be changed in place, so the policy must be compiled anew"
            }
            EditError::Service => {
                "the tables don't know the service of the rule, so the policy must be compiled anew"
            }
            EditError::Wide => {
                "the rule is too wide to be changed in place, so the policy must be compiled anew"
            }
            EditError::Full => "the tables have no room left, so the policy must be compiled anew",
        })
    }
}

impl std::error::Error for EditError {}

/// Why a policy can't be changed and compiled anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RebuildError {
    /// The change is none that the policy can have.
    Edit(EditError),
    /// The policy does not compile.
    Compile(CompileError),
}

impl fmt::Display for RebuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RebuildError::Edit(error) => error.fmt(f),
            RebuildError::Compile(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RebuildError {}
