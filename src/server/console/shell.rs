//! The frame around every page: menu, search, user, theme, what was just done.

use super::call::Call;
use super::show::Html;
use super::toast::Toast;
use crate::clock;
use crate::model::access::Right;

/// An entry of the menu.
pub(super) struct Place {
    pub(super) address: &'static str,
    pub(super) title: &'static str,
    pub(super) icon: &'static str,
    pub(super) keys: &'static str,
    pub(super) current: bool,
}

/// A group of the menu.
pub(super) struct PlaceGroup {
    pub(super) title: &'static str,
    pub(super) places: Vec<Place>,
}

/// What `base.html` writes around a page.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) user: String,
    pub(super) initials: String,
    pub(super) role_note: String,
    pub(super) csrf: String,
    /// The page's own address, for what comes back to it.
    pub(super) address: String,
    pub(super) theme: Option<&'static str>,
    /// The query that the session is locked to.
    pub(super) locked_to: Option<String>,
    pub(super) toast: Option<Toast>,
    pub(super) groups: Vec<PlaceGroup>,
    pub(super) version: &'static str,
    /// The server's time, for administrators.
    pub(super) server_time: Option<String>,
    started: std::time::Instant,
}

type Entry = (&'static str, &'static str, &'static str, &'static str, Option<Right>);

/// Address, title, icon, keys and right of every place in the menu. A page's `nav` is one of these addresses.
const MENU: &[(&str, &[Entry])] = &[
    ("", &[("/", "Home", "home", "g h", None)]),
    (
        "Software",
        &[
            ("/packages", "Packages", "package", "g p", Some(Right::SeePackages)),
            ("/deployments", "Deployments", "deployment", "g d", Some(Right::SeeDeployments)),
        ],
    ),
    (
        "Fleet",
        &[
            ("/computers", "Computers", "computer", "g c", Some(Right::SeeComputers)),
            ("/groups", "Groups", "group", "g g", Some(Right::SeeGroups)),
            ("/fields", "Own fields", "tag", "g f", Some(Right::SeeComputers)),
            ("/software", "Software", "software", "g s", Some(Right::SeeComputers)),
            ("/networks", "Networks", "network", "g n", Some(Right::SeeComputers)),
            ("/registry", "Registry", "windows", "g r", Some(Right::SeeComputers)),
            ("/registration", "Registration", "lock", "g i", Some(Right::SeeComputers)),
            ("/mirrors", "Mirrors", "mirror", "g m", Some(Right::SeeMirrors)),
        ],
    ),
    (
        "Server",
        &[
            ("/settings", "Settings", "settings", "g e", Some(Right::SeeSettings)),
            ("/users", "Users and roles", "users", "g u", Some(Right::EditUsers)),
            ("/certificates", "Certificates", "certificate", "g t", Some(Right::SeeSettings)),
            ("/webhooks", "Webhooks", "bolt", "g w", Some(Right::EditWebhooks)),
            ("/audit", "Audit log", "audit", "g a", Some(Right::SeeAudit)),
        ],
    ),
];

impl Shell {
    pub(super) fn new(call: &Call, title: String, nav: &'static str) -> Self {
        let known = super::pages();
        let exists = |address: &str| known.iter().any(|page| page.path == address);
        let groups = MENU.iter().map(|(title, places)| PlaceGroup {
            title,
            places: places
                .iter()
                .filter(|(address, .., right)| exists(address) && right.is_none_or(|right| call.desk().may(right)))
                .map(|(address, title, icon, keys, _)| Place { address, title, icon, keys, current: *address == nav })
                .collect(),
        });
        let actor = call.desk().actor();
        let letters = actor.name.split(['.', '-', '_']).filter_map(|part| part.chars().next());
        Self {
            title,
            user: actor.name.clone(),
            initials: letters.take(2).flat_map(char::to_uppercase).collect(),
            role_note: if actor.scope.is_limited() { "limited to a scope".to_owned() } else { String::new() },
            csrf: call.visit.csrf.clone(),
            address: match call.query_text.as_str() {
                // What answers a form may have no page of its own.
                _ if !call.form.0.is_empty() => "/".to_owned(),
                "" => call.address.clone(),
                query => format!("{}?{query}", call.address),
            },
            theme: call.theme,
            locked_to: call.visit.visitor.session.as_ref().and_then(|session| session.locked_to.clone()),
            toast: call.toast.clone(),
            groups: groups.filter(|group| !group.places.is_empty()).collect(),
            version: env!("CARGO_PKG_VERSION"),
            server_time: call.desk().may(Right::EditUsers).then(|| clock::local_text(call.site.app.clock.now())),
            started: call.started,
        }
    }

    /// The hidden field that every form of ours carries.
    pub(super) fn csrf_field(&self) -> Html {
        // Hexadecimal, so nothing in it is markup.
        Html(format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">", self.csrf))
    }

    /// How long the page took so far.
    pub(super) fn took(&self) -> String {
        format!("{} ms", self.started.elapsed().as_millis())
    }
}
