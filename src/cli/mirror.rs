//! `dripfeed mirror …` and `dripfeed site …`

use serde::Serialize;

use super::args::{MirrorVerb, Place, SiteVerb};
use super::context::open;
use super::output::{Output, count, printable, say};
use super::{Done, Failure};
use crate::clock;
use crate::model::{ByteSize, UnixTime};
use crate::service::App;
use crate::service::mirrors::{self, MirrorError};
use crate::store::mirrors::{Mirror, Reach, Site};
use crate::store::{StoreError, mirrors as stored, packages};
use crate::tls::signing::SigningKey;

fn refuse(error: MirrorError) -> Failure {
    match error {
        MirrorError::Store(_) | MirrorError::Token(_) => Failure::Failed(error.into()),
        _ => Failure::Refused(error.into()),
    }
}

pub(super) fn run(place: &Place, verb: MirrorVerb, output: &mut Output) -> Done {
    let context = open(place)?;
    let app = context.app;
    match verb {
        MirrorVerb::Add { name, location, packages, silent_after, json } => {
            let token =
                mirrors::add(&app, &name, location, packages.unwrap_or_default(), silent_after).map_err(refuse)?;
            tell_token("added", &name, &token, json, output)
        }
        MirrorVerb::Token { name, json } => {
            let token = mirrors::renew_token(&app, &name).map_err(refuse)?;
            tell_token("renewed", &name, &token, json, output)
        }
        MirrorVerb::List { json } => list(&app, json, output),
        MirrorVerb::Show { name, json } => show(&app, &name, json, output),
        MirrorVerb::Remove { name, json } => {
            let sites = mirrors::remove(&app, &name).map_err(refuse)?;
            if json {
                return output.json(&serde_json::json!({ "removed": name, "sites": sites }));
            }
            output.line(format_args!("removed {name}"))?;
            for site in sites {
                say(format_args!("site {site} had it: `dripfeed site list` shows what is left"));
            }
            Ok(())
        }
        MirrorVerb::Key { json } => {
            let key = SigningKey::ensure(&context.config.certificates_dir())?.public();
            if json { output.json(&serde_json::json!({ "key": key })) } else { output.line(key) }
        }
    }
}

pub(super) fn run_site(place: &Place, verb: SiteVerb, output: &mut Output) -> Done {
    let app = open(place)?.app;
    match verb {
        SiteVerb::Add { name, ranges, mirrors, json } => {
            mirrors::add_site(&app, &name, ranges, mirrors).map_err(refuse)?;
            if json {
                return output.json(&serde_json::json!({ "added": name }));
            }
            output.line(format_args!("added {name}: its computers are told at their next contact"))
        }
        SiteVerb::Remove { name, json } => {
            mirrors::remove_site(&app, &name).map_err(refuse)?;
            if json {
                return output.json(&serde_json::json!({ "removed": name }));
            }
            output.line(format_args!("removed {name}: its computers are told at their next contact"))
        }
        SiteVerb::List { json } => {
            let sites = app.store.read_now(stored::list_sites)?;
            if json {
                return output.json(&sites.iter().map(SiteView::from).collect::<Vec<_>>());
            }
            if sites.is_empty() {
                say("no sites yet: `dripfeed site add NAME RANGE… --mirrors MIRROR,…` makes one");
                return Ok(());
            }
            let rows: Vec<[String; 3]> = sites
                .iter()
                .map(SiteView::from)
                .map(|site| {
                    let mirrors = if site.mirrors.is_empty() { "none".to_owned() } else { site.mirrors.join(", ") };
                    [site.name, mirrors, site.ranges.join(", ")]
                })
                .collect();
            output.table(["SITE", "MIRRORS", "ADDRESSES"], &rows)
        }
    }
}

#[derive(Serialize)]
struct SiteView {
    name: String,
    mirrors: Vec<String>,
    ranges: Vec<String>,
}

impl From<&Site> for SiteView {
    fn from(site: &Site) -> Self {
        Self {
            name: site.name.clone(),
            mirrors: site.mirrors.clone(),
            ranges: site.ranges.iter().map(ToString::to_string).collect(),
        }
    }
}

fn tell_token(done: &str, name: &str, token: &str, json: bool, output: &mut Output) -> Done {
    if json {
        return output.json(&serde_json::json!({ "mirror": name, "token": token }));
    }
    output.line(format_args!("{done} {name}"))?;
    output.line(format_args!("token: {token}"))?;
    say("it is shown only now; on the mirror: DRIPFEED_MIRROR_TOKEN=… dripfeed-mirror sync --from URL --to DIRECTORY");
    Ok(())
}

#[derive(Serialize)]
struct View {
    name: String,
    location: String,
    health: &'static str,
    generation: u64,
    bytes: u64,
    reported_at: Option<String>,
    reported_from: Option<String>,
    may_have: Option<String>,
    silent_after_seconds: u64,
    problem: Option<String>,
    reached_at: Option<String>,
    lost_at: Option<String>,
    lost_why: Option<String>,
}

impl View {
    fn of(mirror: &Mirror, generation: u64, now: UnixTime) -> Self {
        Self {
            name: mirror.name.clone(),
            location: mirror.location.to_string(),
            health: mirrors::health(mirror, generation, now),
            generation: mirror.generation,
            bytes: mirror.bytes,
            reported_at: mirror.reported_at.map(clock::utc_text),
            reported_from: mirror.reported_from.map(|address| address.to_string()),
            may_have: (!mirror.packages.is_everything()).then(|| mirror.packages.to_string()),
            silent_after_seconds: mirror.silent_after.as_secs(),
            problem: Some(printable(&mirror.problem)).filter(|text| !text.is_empty()),
            reached_at: mirror.reach.reached_at.map(clock::utc_text),
            lost_at: mirror.reach.lost.as_ref().map(|lost| clock::utc_text(lost.at)),
            lost_why: mirror.reach.lost.as_ref().map(|lost| printable(&lost.why)),
        }
    }
}

fn list(app: &App, json: bool, output: &mut Output) -> Done {
    let (all, generation) =
        app.store.read_now(|conn| Ok::<_, StoreError>((stored::list(conn)?, packages::generation(conn)?)))?;
    let now = app.clock.now();
    let views: Vec<View> = all.iter().map(|mirror| View::of(mirror, generation, now)).collect();
    if json {
        return output.json(&views);
    }
    if views.is_empty() {
        say("no mirrors yet: `dripfeed mirror add NAME HOST[:PORT]/PATH` registers one");
        return Ok(());
    }
    let rows: Vec<[String; 6]> = views
        .into_iter()
        .zip(&all)
        .map(|(view, mirror)| {
            let reported = mirror.reported_at.map_or_else(|| "never".to_owned(), clock::local_text);
            let holds = ByteSize(view.bytes).to_string();
            [view.name, view.health.to_owned(), view.generation.to_string(), holds, reported, view.location]
        })
        .collect();
    output.table(["MIRROR", "HEALTH", "GENERATION", "HOLDS", "REPORTED", "LOCATION"], &rows)
}

/// What came of asking a mirror for a file.
fn answers(reach: &Reach) -> String {
    match (&reach.lost, reach.reached_at) {
        (None, None) => "not asked yet".to_owned(),
        (None, Some(at)) => format!("since {}", clock::local_text(at)),
        (Some(lost), Some(_)) => {
            format!("no more since {}, so it is not offered: {}", clock::local_text(lost.at), printable(&lost.why))
        }
        (Some(lost), None) => format!("its computers, perhaps; never this server: {}", printable(&lost.why)),
    }
}

fn show(app: &App, name: &str, json: bool, output: &mut Output) -> Done {
    #[derive(Serialize)]
    struct Whole {
        #[serde(flatten)]
        mirror: View,
        sites: Vec<String>,
        packages: Vec<u32>,
    }
    let wanted = name.to_owned();
    let found = app.store.read_now(move |conn| {
        let Some(mirror) = stored::find(conn, &wanted)? else { return Ok(None) };
        let held = stored::held(conn, &wanted)?;
        Ok::<_, StoreError>(Some((mirror, held, stored::list_sites(conn)?, packages::generation(conn)?)))
    })?;
    let (mirror, held, sites, generation) = found.ok_or_else(|| refuse(MirrorError::Unknown(name.to_owned())))?;
    let sites: Vec<String> =
        sites.into_iter().filter(|site| site.mirrors.contains(&mirror.name)).map(|site| site.name).collect();
    let view = View::of(&mirror, generation, app.clock.now());
    if json {
        let packages = held.iter().map(|package| package.number()).collect();
        return output.json(&Whole { mirror: view, sites, packages });
    }
    output.line(format_args!("mirror    {}", view.name))?;
    output.line(format_args!("health    {}", view.health))?;
    if let Some(problem) = &view.problem {
        output.line(format_args!("problem   {problem}"))?;
    }
    output.line(format_args!("location  {}", view.location))?;
    output.line(format_args!("may have  {}", view.may_have.as_deref().unwrap_or("everything")))?;
    let from = view.reported_from.map(|address| format!(" from {address}")).unwrap_or_default();
    match mirror.reported_at {
        Some(at) => output.line(format_args!("reported  {}{from}", clock::local_text(at)))?,
        None => output.line("reported  never")?,
    }
    output.line(format_args!("answers   {}", answers(&mirror.reach)))?;
    output.line(format_args!("at        generation {} of {generation}", view.generation))?;
    output.line(format_args!("sites     {}", if sites.is_empty() { "none".to_owned() } else { sites.join(", ") }))?;
    output.line(format_args!("holds     {}, {}", count(held.len(), "package"), ByteSize(view.bytes)))?;
    for package in held {
        output.line(format_args!("  {package}"))?;
    }
    Ok(())
}
