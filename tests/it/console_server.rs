//! The console's pages about the server itself, as a browser asks for them: signing in, users, settings, webhooks; and the
//! audit log, which knows what came by whatever door.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::util::process::{Served, Site};
use crate::util::web::Answer;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// Somebody with a browser.
pub(crate) struct Browser<'a> {
    served: &'a Served,
    cookie: String,
    csrf: String,
}

impl<'a> Browser<'a> {
    /// Signs in and chooses a password.
    pub(crate) fn sign_in(served: &'a Served, name: &str, password: &str) -> Self {
        let answer = sign_in(served, name, password, "");
        let cookie = session(&answer).unwrap_or_else(|| panic!("{}", answer.head));
        let mut browser = Self { served, cookie, csrf: String::new() };
        let page = browser.get("/account/password").text();
        between(&page, "name=\"csrf\" value=\"", "\"").clone_into(&mut browser.csrf);
        browser
    }

    pub(crate) fn get(&self, address: &str) -> Answer {
        let headers = format!("Cookie: {}\r\n", self.cookie);
        self.served.secure().request("GET", address, &headers, b"").expect("an answer")
    }

    pub(crate) fn post(&self, address: &str, form: &str) -> Answer {
        let headers = format!("Cookie: {}\r\n{FORM}", self.cookie);
        let form = format!("csrf={}&{form}", self.csrf);
        self.served.secure().request("POST", address, &headers, form.as_bytes()).expect("an answer")
    }
}

fn sign_in(served: &Served, name: &str, password: &str, cookie: &str) -> Answer {
    let form = format!("name={name}&password={password}&next=/account");
    let headers = if cookie.is_empty() { FORM.to_owned() } else { format!("Cookie: {cookie}\r\n{FORM}") };
    served.secure().request("POST", "/sign-in", &headers, form.as_bytes()).expect("an answer")
}

/// The cookie that an answer sets.
fn session(answer: &Answer) -> Option<String> {
    let line =
        answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie: __host-dripfeed="))?;
    Some(line.split_once(": ")?.1.split(';').next()?.to_owned())
}

pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before)
        .and_then(|(_, rest)| rest.split_once(after))
        .unwrap_or_else(|| panic!("no {before:?} in {text}"))
        .0
}

pub(crate) fn user(site: &Site, name: &str, role: &str) {
    let args = ["user", "add", name, "--role", role, "--password-stdin"];
    site.feed(&args, b"correct horse battery\n").ok();
}

pub(crate) const PASSWORD: &str = "correct+horse+battery";

#[test]
fn a_session_is_new_at_each_sign_in_and_ends_with_it() {
    let site = Site::new();
    let served = site.serve();
    user(&site, "amy", "administrator");
    // Whatever cookie is brought along, another one is given.
    let fixed = "__Host-dripfeed=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let answer = sign_in(&served, "amy", PASSWORD, fixed);
    assert_eq!(answer.status, 303, "{}", answer.head);
    let line = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with("set-cookie")).expect("a cookie");
    for flag in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(line.contains(flag), "{line}");
    }
    assert!(!line.contains("Domain"), "{line}");
    let first = session(&answer).expect("a session");
    let second = session(&sign_in(&served, "amy", PASSWORD, &first)).expect("a session");
    assert!(first != second && first != fixed && first.len() == fixed.len());

    let browser = Browser::sign_in(&served, "amy", PASSWORD);
    assert_eq!(browser.get("/account").status, 200);
    let left = browser.post("/sign-out", "");
    assert_eq!(left.status, 303);
    assert!(left.head.contains("Max-Age=0"), "{}", left.head);
    assert_eq!(browser.get("/account").status, 303, "the cookie is worth nothing any more");
    assert_eq!(served.plain().request("GET", "/account", "", b"").expect("an answer").status, 308, "HTTPS only");
    served.stop();
}

#[test]
fn a_new_password_gives_a_new_cookie_and_cannot_be_guessed_at() {
    let site = Site::new();
    let served = site.serve();
    user(&site, "amy", "administrator");
    let mut amy = Browser::sign_in(&served, "amy", PASSWORD);
    let stolen = amy.cookie.clone();
    let wrong = amy.post("/account/password", "old=wrong+wrong+wrong&new=another+password&again=another+password");
    assert_eq!((wrong.status, session(&wrong)), (422, None), "{}", wrong.text());
    let changed = amy.post("/account/password", &format!("old={PASSWORD}&new=another+password&again=another+password"));
    assert_eq!(changed.status, 303, "{}", changed.text());
    let line = changed.head.lines().find(|line| line.contains("__Host-dripfeed=")).expect("a cookie");
    for flag in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(line.contains(flag), "{line}");
    }
    let answer = served.secure().request("GET", "/account", &format!("Cookie: {stolen}\r\n"), b"").expect("an answer");
    assert_eq!(answer.status, 303, "the stolen cookie");
    amy.cookie = session(&changed).expect("a new cookie");
    let page = amy.get("/account/password").text();
    between(&page, "name=\"csrf\" value=\"", "\"").clone_into(&mut amy.csrf);
    let statuses: Vec<u16> = (0..6)
        .map(|_| amy.post("/account/password", "old=wrong+wrong+wrong&new=a+b+c+d+e+f&again=a+b+c+d+e+f").status)
        .collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    served.stop();
}

#[test]
fn guessing_a_password_becomes_slow() {
    let site = Site::new();
    let served = site.serve();
    user(&site, "amy", "viewer");
    let mut slowed = false;
    for _ in 0..7 {
        let answer = sign_in(&served, "amy", "wrong+wrong+wrong", "");
        assert!(session(&answer).is_none());
        slowed |= answer.status == 429;
    }
    assert!(slowed, "seven guesses at once");
    let answer = sign_in(&served, "amy", PASSWORD, "");
    assert_eq!((answer.status, session(&answer)), (429, None), "the right one has to wait, too");
    served.stop();
}

#[test]
fn users_roles_and_settings_are_managed_in_the_browser() {
    let site = Site::new();
    let served = site.serve();
    user(&site, "amy", "administrator");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);

    // A role of one's own, a user with it, limited to a part of the fleet.
    let made = amy.post("/users/roles", "name=starter&right=packages.see&right=deployments.see");
    assert_eq!(made.status, 303, "{}", made.text());
    let added = amy.post("/users", "name=bob&role=starter&computers=tag+%3D+Paris&families=office*%0D%0Avlc");
    let password = between(&added.text(), "<pre id=\"password\"><code>", "</code>").to_owned();
    let listed = site.json("user list");
    let bob = listed.as_array().and_then(|all| all.iter().find(|user| user["name"] == "bob")).expect("bob");
    assert_eq!(
        (&bob["role"], &bob["families"][0], &bob["must_change_password"]),
        (&"starter".into(), &"office*".into(), &true.into())
    );
    // What is wrong comes back with the field marked and the input kept.
    let wrong = amy.post("/users", "name=eve&role=starter&computers=tag+%3D");
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("value=\"eve\"") && wrong.text().contains("aria-invalid"), "{}", wrong.text());
    // The one-time password is for one thing: another one.
    let mut bob = Browser::sign_in(&served, "bob", &password);
    assert!(bob.get("/packages").head.contains("/account/password"));
    let changed = bob.post("/account/password", &format!("old={password}&new={PASSWORD}&again={PASSWORD}"));
    assert_eq!(changed.status, 303, "{}", changed.text());
    bob.cookie = session(&changed).expect("a new cookie");
    assert_eq!(bob.get("/packages").status, 200);
    assert_eq!(bob.get("/users").status, 403);

    // Nobody is left who manages users: refused, and said why. `admin` of the first start goes before.
    assert_eq!(amy.post("/users/one/admin/delete", "").status, 303);
    let refused = amy.post("/users/one/amy/disable", "");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("the last one who can manage users"), "{}", refused.text());

    // A token may what was ticked, as long as its owner may.
    let page = amy.post("/account/tokens", "name=nightly&days=1&right=settings.see&right=settings.edit").text();
    let token = between(&page, "<pre id=\"token\"><code>", "</code>").to_owned();
    let call = |method: &str, path: &str, body: &str| {
        let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
        served.secure().request(method, path, &headers, body.as_bytes()).expect("an answer")
    };
    let set = call("PUT", "/api/v1/settings/PROLOG_FREQ", r#"{"value":12}"#);
    assert_eq!(set.status, 200, "{}", set.text());
    let wild = call("PUT", "/api/v1/settings/PROLOG_FREQ", r#"{"value":0}"#);
    assert_eq!(wild.status, 422, "{}", wild.text());
    assert_eq!(call("GET", "/api/v1/users", "").status, 403);
    // The page of the setting tells by whom.
    let page = amy.get("/settings/PROLOG_FREQ").text();
    assert!(page.contains("amy (token nightly)") && page.contains("<ins>12</ins>"), "{page}");
    assert_eq!(amy.post("/settings/PROLOG_FREQ", "value=9999").status, 422);
    assert_eq!(amy.post("/settings/PROLOG_FREQ/unset", "").status, 303);
    assert_eq!(site.json("setting get PROLOG_FREQ")["origin"], "default");

    // Certificates: a real handshake with ourselves.
    let page = amy.get("/certificates").text();
    assert!(page.contains("The handshake went well"), "{page}");

    // All of it stands in the log, searchable and to be taken along.
    let page = amy.get("/audit?action=user+add&subject=bob").text();
    assert!(page.contains("<ins>starter</ins>") && page.contains("127.0.0.1"), "{page}");
    let csv = amy.get("/audit/export?format=csv&action=user");
    assert!(csv.head.contains("attachment; filename=\"audit.csv\""), "{}", csv.head);
    assert!(csv.text().lines().count() > 3 && csv.text().starts_with("id,at,actor"), "{}", csv.text());
    let json: serde_json::Value = serde_json::from_slice(&amy.get("/audit/export?format=json").body).expect("JSON");
    assert!(json.as_array().is_some_and(|lines| lines.iter().any(|line| line["action"] == "setting unset")));
    assert!(!json.to_string().contains(&password) && !json.to_string().contains(&token), "a secret is in the log");

    // Without script the theme is chosen by the server.
    let dark = amy.post("/theme", "next=/audit");
    assert!(
        dark.head.contains("theme=dark") && dark.head.to_ascii_lowercase().contains("location: /audit"),
        "{}",
        dark.head
    );
    served.stop();
}

/// The form behind "Undo" on the page that an answer leads to: its address and its fields.
fn undo(browser: &Browser<'_>, answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 303, "{}", answer.text());
    let header = |name: &str| {
        let line = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", answer.head)).split_once(": ").expect("a value").1.to_owned()
    };
    let toast = header("set-cookie: __host-toast=");
    for flag in ["; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(toast.contains(flag), "{toast}");
    }
    let cookies = format!("Cookie: {}; {}\r\n", browser.cookie, toast.split(';').next().expect("a cookie"));
    let page = browser.served.secure().request("GET", &header("location: "), &cookies, b"").expect("an answer").text();
    let form = between(&page, "<div class=\"toast is-ok\">", "</form>");
    assert!(form.ends_with("<button class=\"button tiny\">Undo</button>"), "{form}");
    let fields = form.split("<input type=\"hidden\" name=\"").skip(1).map(|field| {
        let (name, value) = field.split_once("\" value=\"").expect("a field");
        format!("{name}={}", value.split('"').next().expect("a value"))
    });
    let fields: Vec<String> = fields.filter(|field| !field.starts_with("csrf=")).collect();
    (between(form, "action=\"", "\"").to_owned(), fields.join("&"))
}

#[test]
fn what_was_done_can_be_undone_without_the_script() {
    let site = Site::new();
    let served = site.serve();
    user(&site, "amy", "administrator");
    user(&site, "bob", "viewer");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    let press = |(address, fields): (String, String)| {
        let pressed = amy.post(&address, &fields);
        assert_eq!(pressed.status, 303, "{}", pressed.text());
        pressed
    };
    let value = || site.json("setting get PROLOG_FREQ")["value"].clone();
    let default = value();

    // A setting goes back to the value that it had, and to none if it had none.
    let first = amy.post("/settings/PROLOG_FREQ", "value=12");
    let second = amy.post("/settings/PROLOG_FREQ", "value=13");
    let back = undo(&amy, &second);
    assert_eq!(back, ("/settings/PROLOG_FREQ".to_owned(), "value=12".to_owned()));
    let again = press(back);
    assert_eq!(value(), 12);
    assert_eq!(undo(&amy, &again).1, "value=13", "what was undone can be done again");
    press(undo(&amy, &first));
    assert_eq!((value(), site.json("setting get PROLOG_FREQ")["origin"].clone()), (default, "default".into()));

    // A user who was locked out; a package that was withdrawn.
    press(undo(&amy, &amy.post("/users/one/bob/disable", "")));
    assert!(session(&sign_in(&served, "bob", PASSWORD, "")).is_some());
    let package = site.package();
    press(undo(&amy, &amy.post(&format!("/packages/{package}/withdraw"), "")));
    assert_ne!(site.json(&format!("package show {package}"))["state"], "withdrawn");

    // Each of these is a line of the log like any other, and the button is a form: without its secret it does nothing.
    let page = amy.get("/audit").text();
    assert!(page.contains("package restore") && page.contains("user enable"), "{page}");
    let headers = format!("Cookie: {}\r\n{FORM}", amy.cookie);
    let forged = served.secure().request("POST", "/users/one/bob/enable", &headers, b"csrf=").expect("an answer");
    assert_eq!(forged.status, 403);
    served.stop();
}

#[test]
fn changing_verbs_leave_a_line_and_reading_ones_none() {
    let site = Site::new();
    let package = site.package();
    let lines = || site.json("audit list").as_array().expect("lines").clone();
    let first = lines();
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(
        (&first[0]["action"], &first[0]["via"], &first[0]["actor"]),
        (&"package build".into(), &"command line".into(), &"tester".into())
    );
    assert!(first[0]["subject"].as_str().is_some_and(|text| text.contains("--name tool") && !text.contains("--json")));

    let (show, info) = (format!("package show {package}"), format!("package show {package} --info"));
    for reading in [
        "package list",
        &show,
        &info,
        "package verify",
        "status",
        "deployment list",
        "setting list",
        "setting get PROLOG_FREQ",
        "computer list",
        "group list",
        "software list",
        "network list",
        "registry list",
        "mirror list",
        "site list",
        "user list",
        "role list",
        "role rights",
        "token list",
        "audit list",
    ] {
        let ran = site.say(reading);
        assert_eq!(ran.code(), Some(0), "{reading}: {ran:?}");
        assert_eq!(lines().len(), 1, "{reading} left a line");
    }

    let withdraw = format!("package withdraw {package}");
    let changing = [
        ("user add amy", "user add"),
        ("user add bob --role viewer", "user add"),
        ("user access bob --role deployer --families office* vlc", "user access"),
        ("user disable bob", "user disable"),
        ("user enable bob", "user enable"),
        ("user password bob", "user password"),
        ("role set starter packages.see deployments.start", "role set"),
        ("role delete starter", "role delete"),
        ("token create nightly --user bob --rights packages.see --days 7", "token create"),
        ("token delete 1", "token delete"),
        ("user delete bob", "user delete"),
        ("group create labs", "group create"),
        ("group delete labs", "group delete"),
        ("setting set PROLOG_FREQ 12", "setting set"),
        ("setting unset PROLOG_FREQ", "setting unset"),
        (&withdraw, "package withdraw"),
    ];
    for (number, (verb, action)) in changing.into_iter().enumerate() {
        let ran = site.say(verb);
        assert_eq!(ran.code(), Some(0), "{verb}: {ran:?}");
        let all = lines();
        assert_eq!((all.len(), &all[0]["action"]), (number + 2, &action.into()), "{verb}: {:?}", all[0]);
    }
    let refused = lines().len();
    site.say("setting set PROLOG_FREQ 0").refused();
    site.say("user disable nobody").refused();
    site.say("user disable amy").refused();
    assert_eq!(lines().len(), refused, "what was refused changed nothing");
    assert_eq!(site.say("audit list --action setting --limit 1").ok().lines().count(), 2);
}

#[test]
fn a_webhook_is_told_signed_and_again_until_it_is_taken() {
    let site = Site::new();
    site.configure("[webhooks]\ntargets = \"any\"\n");
    let served = site.serve();
    user(&site, "amy", "administrator");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let page = amy.post("/webhooks", &format!("name=chat&url=http%3A%2F%2F{address}%2Fhook")).text();
    let secret = between(&page, "<pre id=\"secret\"><code>", "</code>").to_owned();
    assert!(!amy.get("/webhooks/1").text().contains(&secret), "it is shown once");

    let test = std::thread::spawn(move || {
        let told = take(&listener, "204 No Content");
        (listener, told)
    });
    let answer = amy.post("/webhooks/1/test", "");
    assert_eq!(answer.status, 303, "{}", answer.text());
    let (listener, (head, body)) = test.join().expect("told");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).expect("JSON")["event"], "test");
    let header = |name: &str| {
        let line =
            head.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap_or_else(|| panic!("{head}"));
        line.split_once(": ").expect("a value").1.trim().to_owned()
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(format!("{}.{body}", header("x-dripfeed-timestamp")).as_bytes());
    let expected = mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    assert_eq!(header("x-dripfeed-signature"), format!("sha256={expected}"));

    // What the other side does not take is said, and a redirect is not followed.
    let elsewhere = std::thread::spawn(move || {
        let told = take(&listener, "302 Found\r\nLocation: http://127.0.0.1:1/");
        drop(listener);
        told
    });
    let refused = amy.post("/webhooks/1/test", "");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("302 was answered"), "{}", refused.text());
    elsewhere.join().expect("told");
    let page = amy.get("/webhooks/1").text();
    assert!(page.contains("taken") && page.contains("302 was answered"), "the log of attempts: {page}");
    served.stop();
}

/// Takes one request and answers it.
fn take(listener: &TcpListener, status: &str) -> (String, String) {
    let (stream, _) = listener.accept().expect("somebody comes");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line") > 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("a body");
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    reader.get_mut().write_all(answer.as_bytes()).expect("written");
    (head, String::from_utf8(body).expect("text"))
}

#[test]
fn a_new_version_keeps_what_exit_codes_mean() {
    let site = Site::new();
    let words = "package build --name tool --version 1 --os linux --action execute --command true --exit-codes";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push("3=success 194=reboot");
    let id = site.run(&words).ok().trim().to_owned();
    let served = site.serve();
    user(&site, "amy", "administrator");
    let amy = Browser::sign_in(&served, "amy", PASSWORD);
    let page = amy.get(&format!("/packages/{id}")).text();
    assert!(page.contains("3=success 194=reboot"), "{page}");
    let form = amy.get(&format!("/packages/new?from=nothing&like={id}")).text();
    assert!(form.contains("name=\"exit_codes\"") && form.contains("value=\"3=success 194=reboot\""), "{form}");
    let said = "from=nothing&os=linux&kind=custom&name=tool&version=2&action=execute&command=true&priority=5";
    let wrong = amy.post("/packages/new", &format!("{said}&like={id}&exit_codes=3%3Dperhaps"));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    let made = amy.post("/packages/new", &format!("{said}&like={id}&exit_codes=3%3Dsuccess"));
    assert_eq!(made.status, 303, "{}", made.text());
    crate::util::process::until("it is built", || {
        site.json("package list").as_array().is_some_and(|all| all.len() == 2)
    });
    let both = site.json("package list").to_string();
    assert!(both.contains("\"version\":\"2\""), "{both}");
    served.stop();
}
