//! One thing that was looked at.

use serde::Serialize;

use super::remedy::Step;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Good,
    /// It works, with something less, or may be meant as it is.
    Lacking,
    Bad,
    /// It was bad, and its remedy has been carried out.
    Mended,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The issue's number in the guide; 0 for what the guide does not speak of.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) issue: u8,
    pub(crate) what: String,
    pub(crate) verdict: Verdict,
    /// How it is, and where it is not good the cause and what becomes of it.
    pub(crate) said: String,
    /// The commands that mend it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) remedy: Vec<Step>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(issue: &u8) -> bool {
    *issue == 0
}

impl Finding {
    pub(crate) fn good(what: impl Into<String>, said: impl Into<String>) -> Finding {
        Finding { issue: 0, what: what.into(), verdict: Verdict::Good, said: said.into(), remedy: Vec::new() }
    }

    pub(crate) fn lacking(what: impl Into<String>, said: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Lacking, ..Finding::good(what, said) }
    }

    pub(crate) fn bad(what: impl Into<String>, said: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Bad, ..Finding::good(what, said) }
    }

    /// The same, of an issue of the guide's.
    pub(super) fn of(self, issue: u8) -> Finding {
        Finding { issue, ..self }
    }

    /// The same, with what mends it.
    pub(super) fn mended_by(self, remedy: impl IntoIterator<Item = Step>) -> Finding {
        Finding { remedy: remedy.into_iter().collect(), ..self }
    }
}
