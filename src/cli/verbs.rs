//! What each verb needs and reaches, for those who have it run from elsewhere.
//!
//! Every verb is named: a new one does not compile without its line here.

use super::Failure;
use super::args::{
    Activate, Assign, AuditVerb, Build, CheckConfig, ComputerVerb, DeploymentVerb, FieldVerb, GroupMark, GroupVerb,
    MirrorVerb, NetworkVerb, PackageVerb, RegistryVerb, RoleVerb, SeriesVerb, SettingVerb, SiteVerb, SoftwareVerb,
    Status, Stuck, TemplateVerb, TokenVerb, UserVerb, Verb, Why,
};
use crate::model::access::Right;
use crate::service::desk::verbs::{Computers, Packages, Reach};

/// A verb as the desk sees it.
#[derive(Debug)]
pub(super) struct About {
    /// As the audit log names it.
    pub(super) words: &'static str,
    /// What it is done to, with its kind.
    pub(super) subject: String,
    /// Each of these rights.
    pub(super) needs: &'static [Right],
    pub(super) reach: Reach,
}

fn line(words: &'static str, needs: &'static [Right], packages: Packages, computers: Computers) -> About {
    let reach = Reach { packages, computers };
    About { words, subject: String::new(), needs, reach }
}

impl About {
    fn on(mut self, kind: &str, name: impl std::fmt::Display) -> Self {
        self.subject = format!("{kind} {name}");
        self
    }
}

fn one(name: &str) -> Computers {
    Computers::Named(vec![name.to_owned()])
}

/// About a verb; a sentence for those that make sense on the server's machine only.
pub(super) fn about(verb: &Verb) -> Result<About, Failure> {
    let only_here = |sentence: &str| Err(Failure::refused(sentence));
    Ok(match verb {
        Verb::Serve(_) => {
            return only_here("`serve` starts a server on this machine: leave --server (DRIPFEED_SERVER) away");
        }
        Verb::CheckConfig(CheckConfig { .. }) => {
            return only_here("`check-config` reads a file of this machine: leave --server (DRIPFEED_SERVER) away");
        }
        Verb::Demo(_) => return only_here("`demo` runs on this machine: leave --server (DRIPFEED_SERVER) away"),
        Verb::Package(PackageVerb::Import(_)) => {
            return only_here(
                "`package import` reads a directory of the server's machine: leave --server (DRIPFEED_SERVER) away there",
            );
        }
        Verb::Package(verb) => package(verb),
        Verb::Template(verb) => template(verb),
        Verb::Activate(Activate { ca: Some(_), .. }) => {
            return only_here(
                "`activate --ca` names a file of the server's machine: leave it away, or activate there (--ca before the verb \
                 is for --server)",
            );
        }
        Verb::Activate(Activate { id, .. }) => {
            line("activate", &[Right::ActivatePackages], Packages::One(*id), Computers::Nothing).on("package", id)
        }
        Verb::Assign(options) => assign(options),
        Verb::Status(Status { id, computer, .. }) => {
            let computers = computer.as_deref().map_or(Computers::All, one);
            line("status", &[Right::SeeDeployments], id.map_or(Packages::All, Packages::One), computers)
        }
        // The desk shows what is in the scope.
        Verb::Stuck(Stuck { .. }) => by_desk("stuck", &[Right::SeeDeployments]),
        Verb::Deployment(verb) => deployment(verb),
        Verb::Series(verb) => series(verb),
        Verb::Why(Why { computer, package, .. }) => {
            let rights = &[Right::SeeDeployments, Right::SeeComputers];
            line("why", rights, Packages::One(*package), one(computer)).on("computer", computer)
        }
        Verb::Setting(verb) => setting(verb),
        Verb::Computer(verb) => computer(verb),
        Verb::Group(verb) => group(verb),
        Verb::Software(SoftwareVerb::List { .. }) => seen("software list", Right::SeeComputers),
        Verb::Software(SoftwareVerb::Show { .. }) => seen("software show", Right::SeeComputers),
        Verb::Network(NetworkVerb::List { .. }) => seen("network list", Right::SeeComputers),
        Verb::Network(NetworkVerb::Show { .. }) => seen("network show", Right::SeeComputers),
        Verb::Field(verb) => field(verb),
        Verb::Registry(verb) => registry(verb),
        Verb::Mirror(verb) => mirror(verb),
        Verb::Site(verb) => site(verb),
        Verb::User(verb) => user(verb),
        Verb::Role(verb) => role(verb),
        Verb::Token(TokenVerb::Create { .. }) => {
            return only_here(
                "`token create` makes a token of anybody's on the server's machine: leave --server (DRIPFEED_SERVER) away \
                 there, or have its owner make one in the console",
            );
        }
        // Everybody sees and takes back their own; the desk knows whose they are.
        Verb::Token(TokenVerb::List { .. }) => by_desk("token list", &[]),
        Verb::Token(TokenVerb::Delete { id, .. }) => by_desk("token delete", &[]).on("token", id),
        Verb::Audit(AuditVerb::List { .. }) => by_desk("audit list", &[Right::SeeAudit]),
    })
}

/// Something that the console does with the same words: the desk itself asks whose account it is, and what scope.
fn by_desk(words: &'static str, needs: &'static [Right]) -> About {
    line(words, needs, Packages::Nothing, Computers::Nothing)
}

/// Something about all computers.
fn seen(words: &'static str, right: Right) -> About {
    let needs: &'static [Right] = match right {
        Right::SeeGroups => &[Right::SeeGroups],
        Right::SeeDeployments => &[Right::SeeDeployments],
        _ => &[Right::SeeComputers],
    };
    let reach = Reach { packages: Packages::Nothing, computers: Computers::All };
    About { words, subject: String::new(), needs, reach }
}

fn package(verb: &PackageVerb) -> About {
    let see = &[Right::SeePackages];
    match verb {
        PackageVerb::Build(build) => {
            let Build { name, version, like, activate, .. } = &**build;
            let needs: &[Right] =
                if *activate { &[Right::BuildPackages, Right::ActivatePackages] } else { &[Right::BuildPackages] };
            let (reached, shown) = match (name, like) {
                (Some(name), _) => (Packages::Family(name.clone()), name.clone()),
                // The family of the one that it is like.
                (None, Some(id)) => (Packages::One(*id), format!("like {id}")),
                (None, None) => (Packages::All, String::new()),
            };
            line("package build", needs, reached, Computers::Nothing).on("package", format_args!("{shown} {version}"))
        }
        PackageVerb::Import(_) => by_desk("package import", &[Right::BuildPackages]),
        PackageVerb::List { .. } => line("package list", see, Packages::All, Computers::Nothing),
        PackageVerb::Show { id, .. } => line("package show", see, Packages::One(*id), Computers::Nothing),
        PackageVerb::Withdraw { id, .. } => {
            let rights = &[Right::WithdrawPackages];
            line("package withdraw", rights, Packages::One(*id), Computers::Nothing).on("package", id)
        }
        PackageVerb::Verify { id, .. } => {
            line("package verify", see, id.map_or(Packages::All, Packages::One), Computers::Nothing)
        }
    }
}

fn template(verb: &TemplateVerb) -> About {
    match verb {
        TemplateVerb::List { .. } => by_desk("template list", &[Right::BuildPackages]),
        TemplateVerb::Show { id, .. } => by_desk("template show", &[Right::BuildPackages]).on("template", id),
        TemplateVerb::Save { file, .. } => by_desk("template save", &[Right::BuildPackages]).on("file", file.display()),
        TemplateVerb::Delete { id, .. } => by_desk("template delete", &[Right::EditTemplates]).on("template", id),
    }
}

fn assign(options: &Assign) -> About {
    let Assign { ids, computer, wake, .. } = options;
    let computers = if computer.is_empty() { Computers::All } else { Computers::Named(computer.clone()) };
    let needs: &[Right] = if *wake { &[Right::Deploy, Right::WakeComputers] } else { &[Right::Deploy] };
    let about = line("assign", needs, Packages::These(ids.clone()), computers);
    let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
    about.on(if ids.len() == 1 { "package" } else { "packages" }, words.join(" "))
}

fn deployment(verb: &DeploymentVerb) -> About {
    let all = |words, rights| line(words, rights, Packages::All, Computers::All);
    match verb {
        DeploymentVerb::List { .. } => all("deployment list", &[Right::SeeDeployments]),
        DeploymentVerb::Show { .. } => all("deployment show", &[Right::SeeDeployments]),
        DeploymentVerb::Gates { deployment, .. } => {
            by_desk("deployment gates", &[Right::Deploy]).on("deployment", deployment)
        }
        DeploymentVerb::Cancel { deployment, .. } => {
            all("deployment cancel", &[Right::StopDeployments]).on("deployment", deployment)
        }
        DeploymentVerb::TakeOff { deployment, .. } => {
            all("deployment take-off", &[Right::StopDeployments]).on("deployment", deployment)
        }
        DeploymentVerb::Retry { deployment, .. } => {
            all("deployment retry", &[Right::Deploy]).on("deployment", deployment)
        }
        // The desk asks for what they are, and of whom.
        DeploymentVerb::Approve(said) => by_desk("deployment approve", &[Right::Approve]).on("deployment", said.number),
        DeploymentVerb::Reject(said) => by_desk("deployment reject", &[Right::Approve]).on("deployment", said.number),
        DeploymentVerb::Release(said) => {
            by_desk("deployment release", &[Right::EditSettings]).on("deployment", said.number)
        }
    }
}

fn series(verb: &SeriesVerb) -> About {
    let deploy = |words, id: &i64| by_desk(words, &[Right::Deploy]).on("series", id);
    let stop = |words, id: &i64| by_desk(words, &[Right::StopDeployments]).on("series", id);
    match verb {
        SeriesVerb::List { .. } => by_desk("series list", &[Right::SeeDeployments]),
        SeriesVerb::Show { series, .. } => by_desk("series show", &[Right::SeeDeployments]).on("series", series),
        SeriesVerb::Change(change) => deploy("series change", &change.series),
        SeriesVerb::Pause { series, .. } => stop("series pause", series),
        SeriesVerb::Resume { series, .. } => deploy("series resume", series),
        SeriesVerb::Run { series, .. } => deploy("series run", series),
        SeriesVerb::End { series, .. } => stop("series end", series),
        SeriesVerb::Approve(said) => by_desk("series approve", &[Right::Approve]).on("series", said.number),
        SeriesVerb::Reject(said) => by_desk("series reject", &[Right::Approve]).on("series", said.number),
        SeriesVerb::Release(said) => by_desk("series release", &[Right::EditSettings]).on("series", said.number),
    }
}

fn setting(verb: &SettingVerb) -> About {
    let (see, edit) = (&[Right::SeeSettings], &[Right::EditSettings]);
    let whose = |computer: Option<&String>| computer.map_or(Computers::All, |name| one(name));
    match verb {
        SettingVerb::List { .. } => line("setting list", see, Packages::Nothing, Computers::Nothing),
        SettingVerb::Get { .. } => line("setting get", see, Packages::Nothing, Computers::Nothing),
        SettingVerb::Set { key, computer, .. } => {
            line("setting set", edit, Packages::Nothing, whose(computer.as_ref())).on("setting", key)
        }
        SettingVerb::Unset { key, computer, .. } => {
            line("setting unset", edit, Packages::Nothing, whose(computer.as_ref())).on("setting", key)
        }
        SettingVerb::Explain { computer, .. } => line("setting explain", see, Packages::Nothing, one(computer)),
    }
}

fn computer(verb: &ComputerVerb) -> About {
    let edit =
        |words, name: &String| line(words, &[Right::EditComputers], Packages::Nothing, one(name)).on("computer", name);
    let remove = |words, name: &String| {
        line(words, &[Right::RemoveComputers], Packages::Nothing, one(name)).on("computer", name)
    };
    // Of computers that nobody knows yet, so of no scope.
    let expected = |words, right: &'static [Right]| line(words, right, Packages::Nothing, Computers::All);
    match verb {
        ComputerVerb::List { .. } => seen("computer list", Right::SeeComputers),
        // Its jobs name packages.
        ComputerVerb::Show { computer, .. } => {
            line("computer show", &[Right::SeeComputers], Packages::All, one(computer))
        }
        ComputerVerb::Tag { computer, .. } => edit("computer tag", computer),
        ComputerVerb::Field { computer, .. } => edit("computer field", computer),
        // The same as in the console: the desk knows whose computers they are.
        ComputerVerb::Import { file, .. } => {
            by_desk("computer import", &[Right::EditComputers]).on("table", file.display())
        }
        ComputerVerb::Undo { change, .. } => by_desk("computer undo", &[Right::SeeComputers]).on("change", change),
        ComputerVerb::Count { .. } => by_desk("computer count", &[Right::SeeComputers]),
        ComputerVerb::Merge { old, new, .. } => {
            let both = Computers::Named(vec![old.clone(), new.clone()]);
            line("computer merge", &[Right::RemoveComputers], Packages::Nothing, both).on("computer", old)
        }
        ComputerVerb::Unmerge { computer, .. } => remove("computer unmerge", computer),
        ComputerVerb::Archive { computer, .. } => remove("computer archive", computer),
        ComputerVerb::Restore { computer, .. } => remove("computer restore", computer),
        ComputerVerb::Expect { names, .. } => {
            expected("computer expect", &[Right::EditComputers]).on("name", names.join(" "))
        }
        ComputerVerb::Expected { .. } => expected("computer expected", &[Right::SeeComputers]),
        ComputerVerb::Unexpect { name, .. } => expected("computer unexpect", &[Right::EditComputers]).on("name", name),
        ComputerVerb::Add { name, .. } => by_desk("computer add", &[Right::EditComputers]).on("computer", name),
        ComputerVerb::Duplicates { .. } => by_desk("computer duplicates", &[Right::SeeComputers]),
        ComputerVerb::KeepApart { one, .. } => {
            by_desk("computer keep-apart", &[Right::RemoveComputers]).on("computer", one)
        }
        // By the desk: what was forgotten stands in its line.
        ComputerVerb::ForgetKey { computer, .. } => {
            by_desk("computer forget-key", &[Right::RemoveComputers]).on("computer", computer)
        }
        ComputerVerb::RememberKey { computer, .. } => {
            by_desk("computer remember-key", &[Right::RemoveComputers]).on("computer", computer)
        }
        ComputerVerb::RegistrationKey { renew: false, remove: false, .. } => {
            by_desk("computer registration-key", &[Right::SeeComputers])
        }
        ComputerVerb::RegistrationKey { .. } => by_desk("computer registration-key", &[Right::EditSettings]),
        // By the desk: it knows who is meant.
        ComputerVerb::Wake { computers, .. } => {
            by_desk("computer wake", &[Right::WakeComputers]).on("computer", computers.join(" "))
        }
        ComputerVerb::Delete { computer, .. } => remove("computer delete", computer),
    }
}

fn group(verb: &GroupVerb) -> About {
    // Who becomes a member gets what the group gets, whatever package that is.
    let edit = |words, name: &str| line(words, &[Right::EditGroups], Packages::All, Computers::All).on("group", name);
    let mark = |words, mark: &GroupMark| edit(words, &mark.group);
    match verb {
        GroupVerb::List { .. } => seen("group list", Right::SeeGroups),
        GroupVerb::Show { .. } => seen("group show", Right::SeeGroups),
        GroupVerb::Create { name, .. } => edit("group create", name),
        GroupVerb::Edit { group, .. } => edit("group edit", group),
        GroupVerb::Describe { group, .. } => edit("group describe", group),
        GroupVerb::Add(it) => mark("group add", it),
        GroupVerb::Exclude(it) => mark("group exclude", it),
        GroupVerb::Remove(it) => mark("group remove", it),
        GroupVerb::Refresh { group, .. } => edit("group refresh", group.as_deref().unwrap_or("all")),
        GroupVerb::Delete { group, force: false, .. } => edit("group delete", group),
        GroupVerb::Delete { group, force: true, .. } => {
            let rights = &[Right::EditGroups, Right::StopDeployments];
            line("group delete", rights, Packages::All, Computers::All).on("group", group)
        }
        GroupVerb::Restore { group, .. } => edit("group restore", group),
    }
}

fn field(verb: &FieldVerb) -> About {
    let edit = |words, name: &dyn std::fmt::Display| by_desk(words, &[Right::EditComputers]).on("field", name);
    match verb {
        FieldVerb::List { .. } => by_desk("field list", &[Right::SeeComputers]),
        FieldVerb::Add { name, .. } => edit("field add", name),
        FieldVerb::Edit { field, .. } => edit("field edit", field),
        FieldVerb::Arrange { .. } => by_desk("field arrange", &[Right::EditComputers]),
        FieldVerb::Delete { field, .. } => edit("field delete", field),
        FieldVerb::Restore { field, .. } => edit("field restore", field),
    }
}

fn registry(verb: &RegistryVerb) -> About {
    let edit = |words, name: &str| {
        line(words, &[Right::EditSettings], Packages::Nothing, Computers::All).on("registry question", name)
    };
    match verb {
        RegistryVerb::List { .. } => {
            line("registry list", &[Right::SeeComputers], Packages::Nothing, Computers::Nothing)
        }
        RegistryVerb::Add { name, .. } => edit("registry add", name),
        RegistryVerb::Remove { name, .. } => edit("registry remove", name),
        RegistryVerb::Show { computer: Some(name), .. } => {
            line("registry show", &[Right::SeeComputers], Packages::Nothing, one(name))
        }
        RegistryVerb::Show { computer: None, .. } => seen("registry show", Right::SeeComputers),
    }
}

fn mirror(verb: &MirrorVerb) -> About {
    let see = |words, packages| line(words, &[Right::SeeMirrors], packages, Computers::Nothing);
    let edit = |words, name: &str| line(words, &[Right::EditMirrors], Packages::All, Computers::All).on("mirror", name);
    match verb {
        MirrorVerb::List { .. } => see("mirror list", Packages::Nothing),
        MirrorVerb::Show { .. } => see("mirror show", Packages::All),
        MirrorVerb::Key { .. } => see("mirror key", Packages::Nothing),
        MirrorVerb::Add { name, .. } => edit("mirror add", name),
        MirrorVerb::Remove { name, .. } => edit("mirror remove", name),
        MirrorVerb::Token { name, .. } => edit("mirror token", name),
    }
}

fn site(verb: &SiteVerb) -> About {
    let edit = |words, name: &str| line(words, &[Right::EditMirrors], Packages::All, Computers::All).on("site", name);
    match verb {
        SiteVerb::List { .. } => line("site list", &[Right::SeeMirrors], Packages::Nothing, Computers::Nothing),
        SiteVerb::Add { name, .. } => edit("site add", name),
        SiteVerb::Remove { name, .. } => edit("site remove", name),
    }
}

fn user(verb: &UserVerb) -> About {
    let edit = |words, name: &str| by_desk(words, &[Right::EditUsers]).on("user", name);
    match verb {
        UserVerb::List { .. } => by_desk("user list", &[Right::EditUsers]),
        UserVerb::Add { name, .. } => edit("user add", name),
        UserVerb::Password { name, .. } => edit("user password", name),
        UserVerb::Access { name, .. } => edit("user access", name),
        UserVerb::Profile { name, .. } => edit("user profile", name),
        UserVerb::Disable { name, .. } => edit("user disable", name),
        UserVerb::Enable { name, .. } => edit("user enable", name),
        UserVerb::NoCodes { name, .. } => edit("user no-codes", name),
        UserVerb::Delete { name, .. } => edit("user delete", name),
    }
}

fn role(verb: &RoleVerb) -> About {
    let edit = |words, name: &str| by_desk(words, &[Right::EditUsers]).on("role", name);
    match verb {
        RoleVerb::List { .. } => by_desk("role list", &[Right::EditUsers]),
        RoleVerb::Rights { .. } => by_desk("role rights", &[]),
        RoleVerb::Set { name, .. } => edit("role set", name),
        RoleVerb::Delete { name, .. } => edit("role delete", name),
    }
}

/// The file that a verb reads, which has to go to the server first.
pub(super) fn file_of(verb: &Verb) -> Option<&std::path::Path> {
    match verb {
        Verb::Package(PackageVerb::Build(build)) => build.source.as_deref(),
        Verb::Template(TemplateVerb::Save { file, .. }) | Verb::Computer(ComputerVerb::Import { file, .. }) => {
            Some(file)
        }
        _ => None,
    }
}

/// Does it read standard input?
pub(super) fn reads_input(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::User(UserVerb::Add { password_stdin: true, .. } | UserVerb::Password { password_stdin: true, .. })
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::Arguments;
    use super::*;

    fn parsed(line: &str) -> Verb {
        let words = std::iter::once("dripfeed").chain(line.split_whitespace());
        Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).verb
    }

    #[test]
    fn the_audit_log_names_verbs_as_they_are_typed() {
        for line in [
            "package list",
            "package show 1795168800",
            "package withdraw 1795168800",
            "activate 1795168800",
            "assign 1795168800 --all",
            "status",
            "stuck",
            "deployment list",
            "deployment cancel 1",
            "why ws042 1795168800",
            "setting set PROLOG_FREQ 1",
            "computer archive ws042",
            "group delete Paris --force",
            "software list",
            "network show 192.0.2.0",
            "registry remove x",
            "mirror key",
            "site list",
            "user list",
            "user add eve",
            "user no-codes eve",
            "role set packers packages.build",
            "token delete 7",
            "audit list",
        ] {
            let about = about(&parsed(line)).expect("a verb for everywhere");
            assert!(line.starts_with(about.words), "{line}: {}", about.words);
        }
    }

    #[test]
    fn what_runs_here_only_says_so() {
        for line in [
            "serve",
            "demo",
            "check-config",
            "activate 1795168800 --ca ca.pem",
            "token create ci --user ada --rights users.edit",
        ] {
            let Err(Failure::Refused(error)) = about(&parsed(line)) else { panic!("{line} was taken") };
            assert!(error.to_string().contains("machine"), "{line}: {error}");
        }
    }
}
