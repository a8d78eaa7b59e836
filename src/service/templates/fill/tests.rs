use std::fmt::Write as _;

use super::super::{Catalogue, built_in};
use super::*;

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n-----END PGP PUBLIC KEY BLOCK-----";

/// What somebody might type.
fn example(field: &Field) -> String {
    match field.kind {
        Kind::Words => "/S",
        Kind::Name => "Mozilla.Firefox",
        Kind::Names => "htop curl",
        Kind::List => "main contrib",
        Kind::Code => "{90160000-008C-0000-1000-0000000FF1CE}",
        Kind::Path => "/opt/a tool",
        Kind::Url => "https://example.org/$basearch",
        Kind::Line => "It's \"ours\"",
        Kind::Text => "two\nlines",
        Kind::Key => KEY,
        Kind::Number => "7",
        Kind::Choice => return field.options[0].clone(),
    }
    .to_owned()
}

fn filled(template: &Template, value: impl Fn(&Field) -> String) -> Result<Filled, FillError> {
    let values = template.fields.iter().map(|field| (field.name.clone(), value(field))).collect();
    template.fill(template.systems().next().expect("a system"), Some("my setup.bin"), &values)
}

/// The lines of a script that something was filled into.
fn written(template: &Template, script: &Script) -> String {
    let body = template.body.as_deref().expect("a body");
    let known: Vec<&str> = body.lines().collect();
    script.text.lines().filter(|line| !known.contains(line)).fold(String::new(), |all, line| all + "    " + line + "\n")
}

#[test]
fn every_template_fills_to_a_command_and_its_script() {
    let mut told = String::new();
    for template in built_in().iter().filter(|template| template.id != "custom") {
        let Filled { action, script } = filled(template, example).expect("filled");
        let _ = writeln!(told, "{}: {} {}", template.id, action.as_str(), action.text());
        if let Some(script) = script {
            assert!(!script.text.contains("{{"), "{}", template.id);
            told.push_str(&written(template, &script));
        }
    }
    insta::assert_snapshot!(told, @r#"
    msi: execute msiexec /i "my setup.bin" /qn /norestart /S
    msi-remove: execute msiexec /x "{90160000-008C-0000-1000-0000000FF1CE}" /qn /norestart
    exe: execute "my setup.bin" /S
    winget: execute winget install --id Mozilla.Firefox --exact --silent --scope machine --accept-package-agreements --accept-source-agreements --disable-interactivity
    winget-remove: execute winget uninstall --id Mozilla.Firefox --exact --silent --disable-interactivity
    powershell: execute powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "my setup.bin" /S
    batch: execute cmd /c "my setup.bin" /S
    agent-windows: execute powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File update-agent.ps1
            $file = Join-Path (Get-Location).Path 'my setup.bin'
    ocs-agent-windows: execute powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File update-agent.ps1
        $wanted = 'Mozilla.Firefox'
            $file = Join-Path (Get-Location).Path 'my setup.bin'
            $setup = Start-Process -FilePath (Join-Path $Place 'setup.exe') -ArgumentList 'It''s "ours"' -Wait -PassThru
    deb: execute DEBIAN_FRONTEND=noninteractive apt-get install -y ./'my setup.bin'
    rpm: execute dnf install -y --nogpgcheck ./'my setup.bin'
    apt-install: execute DEBIAN_FRONTEND=noninteractive apt-get install -y htop curl
    apt-remove: execute DEBIAN_FRONTEND=noninteractive apt-get remove -y htop curl
    dnf-install: execute dnf install -y htop curl
    dnf-remove: execute dnf remove -y htop curl
    apt-repo: execute sh ./add-repository.sh
        name=Mozilla.Firefox
        set -- main contrib
        set -- main contrib
        printf '%s\n' '-----BEGIN PGP PUBLIC KEY BLOCK-----
        mDMEZ
        -----END PGP PUBLIC KEY BLOCK-----' >"$key"
            printf 'URIs: %s\n' 'https://example.org/$basearch'
    dnf-repo: execute sh ./add-repository.sh
        name=Mozilla.Firefox
        printf '%s\n' '-----BEGIN PGP PUBLIC KEY BLOCK-----
        mDMEZ
        -----END PGP PUBLIC KEY BLOCK-----' >"$key"
            printf 'name=%s\n' 'It'\''s "ours"'
            printf 'baseurl=%s\n' 'https://example.org/$basearch'
    ocs-plugin: execute sh ./add-module.sh
        module='my setup.bin'
    ocs-agent-linux: execute sh ./update-agent.sh
        wanted=Mozilla.Firefox
    agent-linux: execute sh ./update-agent.sh
        unit=Mozilla.Firefox
        program='/opt/a tool'
            if cmp -s ./'my setup.bin' "$program"; then
            cp ./'my setup.bin' "$place/new"
    script: execute sh ./'my setup.bin' /S
    pkg: execute installer -pkg ./'my setup.bin' -target '/opt/a tool'
    brew-install: execute sh ./brew.sh
        exec launchctl asuser "$(id -u "$user")" sudo -u "$user" -H NONINTERACTIVE=1 "$brew" install --formula main contrib
    brew-remove: execute sh ./brew.sh
        exec launchctl asuser "$(id -u "$user")" sudo -u "$user" -H NONINTERACTIVE=1 "$brew" uninstall --formula main contrib
    applescript: execute osascript ./'my setup.bin' /S
    store: store /opt/a tool
    "#);
}

#[test]
fn no_command_ends_well_whatever_happened() {
    for template in built_in() {
        for text in [Some(template.command()), template.body.as_deref()].into_iter().flatten() {
            for forced in ["|| true;", "; exit 0", "&& exit 0", "|| exit 0", "add-apt-repository"] {
                assert!(!text.contains(forced), "{} forces its result: {forced}", template.id);
            }
        }
        if template.command().contains("msiexec") {
            assert!(template.command().contains("/qn"), "{} waits for somebody", template.id);
        }
    }
}

/// What breaks out of a word if anything does.
const HOSTILE: [&str; 12] = [
    "x'; touch /tmp/pwned; '",
    "x\"; reboot; \"",
    "$(reboot)",
    "`reboot`",
    "a & calc.exe",
    "a | b",
    "%COMSPEC%",
    "x\nreboot",
    "x\u{2019}; calc",
    "--force",
    "{{key}}",
    "{file}",
];

#[test]
fn hostile_values_are_refused_or_stay_one_word() {
    let mut tried = 0;
    for template in built_in().iter().filter(|template| template.id != "custom") {
        let shell = if template.is_for(OsFamily::Windows) { Shell::Cmd } else { Shell::Sh };
        for field in template.fields.iter().filter(|field| field.kind != Kind::Words) {
            for text in HOSTILE {
                let value = |of: &Field| if of.name == field.name { text.to_owned() } else { example(of) };
                let Ok(done) = filled(template, value) else { continue };
                tried += 1;
                assert!(!text.contains('\n') || field.kind.is_long(), "{} {}", template.id, field.name);
                if template.action == "store" {
                    continue;
                }
                let in_script = done.script.as_ref().and_then(|script| Shell::of_script(&script.name));
                let word = in_script.unwrap_or(shell).word(text).expect("it was taken");
                let all =
                    format!("{}\n{}", done.action.text(), done.script.map(|script| script.text).unwrap_or_default());
                assert!(all.contains(&word), "{} {}: {text} is not {word}", template.id, field.name);
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn what_was_filled_in_is_not_filled_in_again() {
    let values: Values = [("path".to_owned(), "/x/{file}".to_owned())].into();
    let store = Catalogue::with([]).named("store").cloned().expect("a template");
    assert_eq!(store.fill(OsFamily::Linux, Some("a"), &values).expect("filled").action.text(), "/x/{file}");
}

#[test]
fn what_a_shell_would_read_otherwise_is_refused_or_quoted() {
    let all = Catalogue::with([]);
    let fill = |id: &str, os, file: &str, values: &[(&str, &str)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.find(id, os).expect("a template").fill(os, Some(file), &values)
    };
    let refused = |id, os, file, values: &[(&str, &str)]| fill(id, os, file, values).expect_err("refused").to_string();
    let (linux, windows) = (OsFamily::Linux, OsFamily::Windows);
    insta::assert_snapshot!(refused("apt-install", linux, "", &[("packages", "htop; reboot")]), @"Packages: a package's name has letters, digits and .+-_:~= only");
    insta::assert_snapshot!(refused("apt-install", linux, "", &[("packages", "--reinstall")]), @"Packages: a package's name has letters, digits and .+-_:~= only");
    insta::assert_snapshot!(refused("msi-remove", windows, "", &[("code", "{x} & calc")]), @"Product code: a product code is a GUID in braces");
    insta::assert_snapshot!(refused("msi", windows, "a%b.msi", &[]), @r#"The file's name: Windows takes neither " nor % here"#);
    insta::assert_snapshot!(refused("brew-install", OsFamily::Macos, "", &[("kind", "--HEAD"), ("packages", "jq")]), @"What: it is one of --formula, --cask");
    insta::assert_snapshot!(refused("apt-repo", linux, "", &[("name", "x"), ("url", "https://x/'y"), ("suites", "a"), ("key", KEY)]), @"Address: an address begins with its scheme, as https://, and holds no blanks or quotes");
    insta::assert_snapshot!(refused("apt-repo", linux, "", &[("name", "x"), ("url", "https://x/y"), ("suites", "a"), ("key", "mDMEZ")]), @"Key: a key is the whole text from -----BEGIN PGP PUBLIC KEY BLOCK----- to -----END PGP PUBLIC KEY BLOCK-----");
    insta::assert_snapshot!(refused("msi", windows, "a.msi", &[("argument", "x")]), @r#"this kind has no field "argument""#);
    let deb = fill("deb", linux, "it's $(id).deb", &[]).expect("filled");
    assert!(deb.action.text().ends_with("./'it'\\''s $(id).deb'"), "{}", deb.action.text());
}

#[test]
fn the_file_in_an_archive_is_the_one_that_lies_highest() {
    let all = Catalogue::with([]);
    let msi = all.named("msi").expect("a template");
    let members = ["parts/extra.msi", "readme.txt", "Office.msi"];
    assert_eq!(msi.file_of("office.zip", members).as_deref(), Ok("Office.msi"));
    assert_eq!(msi.file_of("office.msi", []).as_deref(), Ok("office.msi"));
    assert!(msi.file_of("office.zip", ["readme.txt"]).is_err());
    assert_eq!(all.named("ocs-plugin").expect("one").file_of("a.zip", ["A.pm"]), Err(FillError::Archive));
}
