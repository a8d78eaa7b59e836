//! Why the desk did not do what it was asked, in one type for the console, the API and the command line.

use std::fmt;

use super::super::account::AccountError as FieldError;
use super::super::accounts::AccountError;
use super::super::activate::{ActivateError, DeactivateError};
use super::super::approvals::ApprovalError;
use super::super::assign::AssignError;
use super::super::deployments::DeploymentError;
use super::super::discovery::DiscoveryError;
use super::super::duplicates::DuplicateError;
use super::super::entry::EntryError;
use super::super::fields::OwnFieldError;
use super::super::gates::GateError;
use super::super::groups::GroupError;
use super::super::identity::IdentityError;
use super::super::import::{ImportError, InvalidList};
use super::super::likenesses::LikenessError;
use super::super::mass::UndoError;
use super::super::mirrors::MirrorError;
use super::super::publish::PublishError;
use super::super::query::AskError;
use super::super::series::SeriesError;
use super::super::settings::SettingError;
use super::super::signin::SignInError;
use super::super::table::TableError;
use super::super::templates::FillError;
use super::super::templates::own::OwnError;
use super::super::uploads::UploadError;
use super::super::wake::WakeError;
use super::super::why::WhyError;
use super::super::withdraw::{RestoreError, WithdrawError};
use crate::disk::TreeError;
use crate::model::InvalidRegistryQuery;
use crate::model::access::InvalidAccess;
use crate::store::StoreError;

/// What kind of refusal it is: doors turn it into a status or an exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The actor may not.
    Forbidden,
    /// It is not there, or not for this actor.
    NotFound,
    /// The input is wrong.
    Invalid,
    /// The input is right, but what is there stands against it.
    Conflict,
    /// Too early: try again.
    Later,
    /// The machine failed; nothing is wrong with the input.
    Failed,
}

/// A refusal: its kind, a sentence for people, and for wrong input the field it is about.
#[derive(Debug)]
pub struct Refusal {
    /// What kind.
    pub kind: Kind,
    /// The field of a form or a document that is wrong, if it is one.
    pub field: Option<&'static str>,
    sentence: String,
}

impl Refusal {
    /// The actor may not.
    pub fn forbidden(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, sentence)
    }

    /// It is not there.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, sentence)
    }

    /// The input is wrong.
    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, sentence)
    }

    /// What is there stands against it.
    pub fn conflict(sentence: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, sentence)
    }

    /// The machine failed.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Failed, format!("{:#}", error.into()))
    }

    /// Of a kind.
    pub fn new(kind: Kind, sentence: impl Into<String>) -> Self {
        Self { kind, field: None, sentence: sentence.into() }
    }

    /// About one field.
    #[must_use]
    pub fn about(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// The sentence without what only helps at a terminal (": `dripfeed …` shows them", ": --option").
    pub fn for_people(&self) -> &str {
        let sentence = self.sentence.split(": `dripfeed").next().unwrap_or_default();
        sentence.split(": --").next().unwrap_or_default()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Refusal {}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Busy(_) => Kind::Later,
            StoreError::Taken => Kind::Conflict,
            _ => Kind::Failed,
        };
        Self::new(kind, format!("{:#}", anyhow::Error::from(error)))
    }
}

impl From<GateError> for Refusal {
    fn from(error: GateError) -> Self {
        Self::invalid(error.to_string()).about(error.field())
    }
}

/// `Error => |error| kind`: the sentence is the error's own with its causes.
macro_rules! refusals {
    ($($error:ty => $kind:expr;)*) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                let kind: fn(&$error) -> Kind = $kind;
                Self::new(kind(&error), format!("{:#}", anyhow::Error::from(error)))
            }
        })*
    };
}

refusals! {
    InvalidAccess => |_| Kind::Invalid;
    AskError => ask;
    AssignError => assign;
    ActivateError => |error| match error {
        ActivateError::Unknown(_) => Kind::NotFound,
        ActivateError::Store(_) => Kind::Failed,
        ActivateError::Location(_) => Kind::Invalid,
        ActivateError::NotAvailable(..)
        | ActivateError::Fetch { .. }
        | ActivateError::Info { .. }
        | ActivateError::Other { .. } => Kind::Conflict,
    };
    DeploymentError => |error| match error {
        DeploymentError::Unknown(_) => Kind::NotFound,
        DeploymentError::Store(_) => Kind::Failed,
        _ => Kind::Conflict,
    };
    ApprovalError => |error| match error {
        ApprovalError::Deployment(DeploymentError::Unknown(_)) | ApprovalError::Series(SeriesError::Unknown(_)) => {
            Kind::NotFound
        }
        ApprovalError::Deployment(DeploymentError::Store(_))
        | ApprovalError::Series(SeriesError::Store(_))
        | ApprovalError::Store(_) => Kind::Failed,
        ApprovalError::NoReason | ApprovalError::LongReason => Kind::Invalid,
        ApprovalError::Own { .. } => Kind::Forbidden,
        _ => Kind::Conflict,
    };
    DuplicateError => |error| match error {
        DuplicateError::Named(error) => assign(error),
        DuplicateError::Same(_) => Kind::Invalid,
        DuplicateError::Damaged(_) | DuplicateError::Store(_) => Kind::Failed,
        _ => Kind::Conflict,
    };
    IdentityError => |error| match error {
        IdentityError::Named(error) => assign(error),
        IdentityError::NotAName(_) => Kind::Invalid,
        IdentityError::NotExpected(_) => Kind::NotFound,
        IdentityError::NoKey(_) | IdentityError::NothingForgotten(_) | IdentityError::NoRegistrationKey => Kind::Conflict,
        IdentityError::Store(_) => Kind::Failed,
    };
    LikenessError => |error| match error {
        LikenessError::Named(error) => assign(error),
        LikenessError::NotAsked(..) | LikenessError::NotSettled(..) => Kind::Conflict,
        LikenessError::Store(_) => Kind::Failed,
    };
    EntryError => |error| match error {
        EntryError::Exists(_) => Kind::Conflict,
        EntryError::Store(_) | EntryError::Name(IdentityError::Store(_)) => Kind::Failed,
        _ => Kind::Invalid,
    };
    GroupError => group;
    SeriesError => |error| match error {
        SeriesError::Unknown(_) => Kind::NotFound,
        SeriesError::Rule(_) | SeriesError::Zone(_) | SeriesError::Beginning(_) | SeriesError::TooMany(_) => Kind::Invalid,
        SeriesError::Assign(error) => assign(error),
        SeriesError::Store(_) => Kind::Failed,
        _ => Kind::Conflict,
    };
    SettingError => |error| match error {
        SettingError::Invalid(_) | SettingError::ServerAlone(_) => Kind::Invalid,
        SettingError::Computer(error) => assign(error),
        SettingError::Group(error) => group(error),
        SettingError::NotSet { .. } => Kind::Conflict,
        SettingError::Store(_) => Kind::Failed,
    };
    WhyError => |error| match error {
        WhyError::Package(_) => Kind::NotFound,
        WhyError::Computer(error) => assign(error),
        WhyError::Store(_) => Kind::Failed,
    };
    FieldError => |error| match error {
        FieldError::Named(error) => assign(error),
        FieldError::Store(_) => Kind::Failed,
        FieldError::NotSet(..) => Kind::Conflict,
        FieldError::Field(error) => own_field(error),
        FieldError::Value(_) | FieldError::Tag => Kind::Invalid,
    };
    OwnFieldError => own_field;
    UndoError => |error| match error {
        UndoError::Gone => Kind::NotFound,
        UndoError::Undone => Kind::Conflict,
        UndoError::Store(_) => Kind::Failed,
    };
    TableError => |error| match error {
        TableError::Store(_) => Kind::Failed,
        _ => Kind::Invalid,
    };
    PublishError => |error| if error.is_refusal() { Kind::Invalid } else { Kind::Failed };
    ImportError => |error| if error.is_refusal() { Kind::Invalid } else { Kind::Failed };
    InvalidList => |_| Kind::Invalid;
    WithdrawError => |error| match error {
        WithdrawError::Unknown(_) => Kind::NotFound,
        WithdrawError::Already(_) => Kind::Conflict,
        WithdrawError::Tree(_) | WithdrawError::Store(_) => Kind::Failed,
    };
    MirrorError => |error| match error {
        MirrorError::Name(_) | MirrorError::Twice(_) => Kind::Invalid,
        MirrorError::Exists(_) | MirrorError::SiteExists(_) => Kind::Conflict,
        MirrorError::Unknown(_) | MirrorError::SiteUnknown(_) => Kind::NotFound,
        MirrorError::Token(_) | MirrorError::Store(_) => Kind::Failed,
    };
    DiscoveryError => |error| match error {
        DiscoveryError::UnknownNetwork(_) | DiscoveryError::UnknownQuery(_) => Kind::NotFound,
        DiscoveryError::Exists(_) => Kind::Conflict,
        DiscoveryError::Label(_) => Kind::Invalid,
        DiscoveryError::Store(_) => Kind::Failed,
    };
    InvalidRegistryQuery => |_| Kind::Invalid;
    RestoreError => |error| match error {
        RestoreError::Unknown(_) => Kind::NotFound,
        RestoreError::NotWithdrawn(..) | RestoreError::Gone(_) => Kind::Conflict,
        RestoreError::Tree(_) | RestoreError::Lock(_) | RestoreError::Store(_) => Kind::Failed,
    };
    DeactivateError => |error| match error {
        DeactivateError::NotActive(_) => Kind::Conflict,
        DeactivateError::Store(_) => Kind::Failed,
    };
    FillError => |_| Kind::Invalid;
    OwnError => |error| match error {
        OwnError::Document(_) => Kind::Invalid,
        OwnError::Unknown(_) => Kind::NotFound,
        OwnError::BuiltIn(_) | OwnError::TooMany | OwnError::Changed { .. } => Kind::Conflict,
        OwnError::Store(_) => Kind::Failed,
    };
    UploadError => |error| match error {
        UploadError::Unknown => Kind::NotFound,
        UploadError::Offset { .. } | UploadError::TooMany | UploadError::Incomplete(_) => Kind::Conflict,
        UploadError::Disk(TreeError::Full { .. }) => Kind::Invalid,
        UploadError::Disk(_) | UploadError::Store(_) | UploadError::Random(_) => Kind::Failed,
        _ => Kind::Invalid,
    };
    WakeError => |error| match error {
        WakeError::NoAddress(_) | WakeError::Waiting(_) => Kind::Conflict,
        WakeError::Store(_) => Kind::Failed,
    };
    AccountError => account;
    SignInError => |error| match error {
        SignInError::Wrong | SignInError::CodeNeeded | SignInError::CodeWrong => Kind::Forbidden,
        SignInError::Later(_) => Kind::Later,
        SignInError::Account(error) => account(error),
        SignInError::Store(_) => Kind::Failed,
    };
}

fn ask(error: &AskError) -> Kind {
    if matches!(error, AskError::Store(_)) { Kind::Failed } else { Kind::Invalid }
}

fn assign(error: &AssignError) -> Kind {
    match error {
        AssignError::UnknownPackage(_) | AssignError::UnknownComputer(_) | AssignError::UnknownGroup(_) => {
            Kind::NotFound
        }
        AssignError::NoPackage | AssignError::TooMany(_) | AssignError::Twice(_) | AssignError::MixedOrder { .. } => {
            Kind::Invalid
        }
        AssignError::Ask(error) => ask(error),
        AssignError::Store(_) => Kind::Failed,
        _ => Kind::Conflict,
    }
}

fn group(error: &GroupError) -> Kind {
    match error {
        GroupError::Unknown(_) => Kind::NotFound,
        GroupError::Name(_) | GroupError::Description(_) => Kind::Invalid,
        GroupError::Ask(error) => ask(error),
        GroupError::Computer(error) => assign(error),
        GroupError::Store(_) => Kind::Failed,
        _ => Kind::Conflict,
    }
}

fn own_field(error: &OwnFieldError) -> Kind {
    match error {
        OwnFieldError::Unknown(_) => Kind::NotFound,
        OwnFieldError::Store(_) => Kind::Failed,
        OwnFieldError::Exists(_)
        | OwnFieldError::TooMany
        | OwnFieldError::Values { .. }
        | OwnFieldError::Used { .. }
        | OwnFieldError::NotDeleted => Kind::Conflict,
        _ => Kind::Invalid,
    }
}

fn account(error: &AccountError) -> Kind {
    match error {
        AccountError::Unknown(_) => Kind::NotFound,
        AccountError::Exists(_) | AccountError::Last(_) => Kind::Conflict,
        AccountError::Short(_)
        | AccountError::Name(_)
        | AccountError::Role(_)
        | AccountError::FullName
        | AccountError::Mail(_) => Kind::Invalid,
        AccountError::Hash(_) | AccountError::Store(_) => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_not_told_what_helps_at_a_terminal() {
        let refusal = Refusal::from(GroupError::Unknown("Paris".to_owned()));
        assert_eq!((refusal.kind, refusal.for_people()), (Kind::NotFound, "there is no group \"Paris\""));
        assert!(refusal.to_string().contains("`dripfeed group list`"));
    }
}
