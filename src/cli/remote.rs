//! `dripfeed --server URL …`: the verb is checked here, run there, and told here.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::args::{Arguments, Build, Far, PackageVerb, Verb};
use super::output::{self, Output};
use super::progress::Bar;
use super::{Failure, verbs};
use crate::archive::ArchiveFormat;
use crate::disk::Spool;
use crate::fetch::{Bearer, Client, ClientOptions, FetchError, Reply, Secret, Url};
use crate::model::{InvalidPackage, OsFamily};
use crate::server::verbs::{Tone, VerbCall, VerbDone};
use crate::service::publish::pack_path;

/// Bytes of an answer: 64 MiB of output, every byte of it escaped.
const ANSWER: usize = 512 << 20;
/// Bytes of standard input.
const INPUT: u64 = 64 << 10;
/// How long a verb may take: a tree of terabytes is verified by one.
const LONGEST: Duration = Duration::from_hours(24);
/// How often a piece of an upload is tried before it is given up.
const TRIES: u32 = 5;

/// Has the verb run; gives its exit code.
pub(super) fn run(server: &str, arguments: &Arguments, typed: &[OsString], output: &mut Output) -> Result<u8, Failure> {
    if arguments.place.data_dir.is_some() || arguments.place.config.is_some() {
        return Err(Failure::refused(
            "--server (DRIPFEED_SERVER) and --data-dir or --config (DRIPFEED_DATA_DIR, DRIPFEED_CONFIG) name two servers: \
             say which one is meant",
        ));
    }
    // What cannot be done from here is said before anything is asked.
    verbs::about(&arguments.verb)?;
    let words = words_of(typed)?;
    let api = Api::new(server, &arguments.far)?;
    let input = verbs::reads_input(&arguments.verb).then(input).transpose()?;
    let upload =
        verbs::file_of(&arguments.verb).map(|path| api.upload(&api.content(path, &arguments.verb)?)).transpose()?;
    let call = VerbCall { arguments: words, input, upload };
    let reply = api.ask("POST", "verbs", &[("content-type", "application/json")], &serde_json::to_vec(&call)?)?;
    let done: VerbDone = api.read(&reply)?;
    // As on the machine itself: what is said comes while it works, the results are complete at the end.
    for message in done.messages.iter().filter(|message| message.tone != Tone::Error) {
        output::repeat(message);
    }
    output.bytes(done.stdout.as_bytes())?;
    output.flush()?;
    for message in done.messages.iter().filter(|message| message.tone == Tone::Error) {
        output::repeat(message);
    }
    Ok(done.exit_code)
}

/// The words from the verb on.
fn words_of(typed: &[OsString]) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut rest = typed.iter().skip(1);
    while let Some(word) = rest.next() {
        let text = text(word)?;
        if words.is_empty() && text.starts_with('-') {
            // All options before the verb have values.
            if !text.contains('=') {
                rest.next();
            }
            continue;
        }
        words.push(text);
    }
    Ok(words)
}

fn text(word: &OsString) -> Result<String, Failure> {
    word.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::refused(format!("{} is not UTF-8, and over the network words are", word.to_string_lossy()))
    })
}

fn input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(INPUT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > INPUT {
        return Err(Failure::refused("standard input is more than 64 KiB, which is no password"));
    }
    Ok(text)
}

/// A server's API.
struct Api {
    client: Client,
    base: String,
}

/// A refusal as the API tells it.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// An upload as far as it matters here.
#[derive(Deserialize)]
struct Upload {
    id: String,
    #[serde(default)]
    offset: u64,
    #[serde(default = "piece")]
    chunk_bytes: u64,
}

fn piece() -> u64 {
    8 << 20
}

impl Api {
    fn new(server: &str, far: &Far) -> Result<Self, Failure> {
        let base = server.trim_end_matches('/').to_owned();
        let url: Url = base.parse().map_err(|error: crate::fetch::InvalidUrl| Failure::Refused(error.into()))?;
        if !url.is_https() {
            return Err(Failure::refused(format!(
                "--server is the HTTPS address, because the token is a secret: https://HOST:PORT instead of {}",
                output::printable(&base)
            )));
        }
        let options = ClientOptions {
            ca_file: far.ca.clone(),
            user_agent: concat!("dripfeed/", env!("CARGO_PKG_VERSION"), " command-line").to_owned(),
            bearer: Some(Bearer { servers: vec![url], token: token(far)? }),
            read_timeout: LONGEST,
            deadline: LONGEST,
            ..ClientOptions::default()
        };
        let client = Client::new(&options).map_err(|error| Failure::Refused(error.into()))?;
        Ok(Self { client, base })
    }

    fn url(&self, path: &str) -> Result<Url, Failure> {
        Ok(format!("{}/api/v1/{path}", self.base).parse()?)
    }

    /// Asks; a refusal's sentence is the failure's.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, Failure> {
        let url = self.url(path)?;
        let reply = self.client.ask(method, &url, headers, body, ANSWER).map_err(|error| match error {
            FetchError::NoCaFile { .. } => Failure::refused(
                "the server is checked against its authority: name a copy of its certs/ca.pem with --ca (DRIPFEED_CA) before \
                 the verb",
            ),
            error => Failure::Failed(error.into()),
        })?;
        self.accept(reply)
    }

    fn accept(&self, reply: Reply) -> Result<Reply, Failure> {
        if (200..300).contains(&reply.status) {
            return Ok(reply);
        }
        let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) else {
            let url = format!("{}/api/v1", self.base);
            return Err(FetchError::Status { url, status: reply.status }.into());
        };
        let error = anyhow::anyhow!(problem.detail);
        Err(match reply.status {
            // Nothing is wrong with what was asked: the server could not, or cannot now.
            429 | 500.. => Failure::Failed(error),
            _ => Failure::Refused(error),
        })
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, reply: &Reply) -> Result<T, Failure> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            Failure::Failed(anyhow::anyhow!("{} does not answer as a dripfeed server does: {error}", self.base))
        })
    }

    /// Sends it, piece by piece; gives the upload's number.
    fn upload(&self, content: &Content) -> Result<String, Failure> {
        let mut file = content.file();
        let size = file.seek(SeekFrom::End(0))?;
        let begin = serde_json::json!({ "name": content.name, "size": size }).to_string();
        let reply = self.ask("POST", "uploads", &[("content-type", "application/json")], begin.as_bytes())?;
        let upload: Upload = self.read(&reply)?;
        let address = format!("uploads/{}", upload.id);
        let bar = Bar::new("uploading");
        let (mut offset, mut tries) = (upload.offset, 0);
        let mut piece = Vec::new();
        while offset < size {
            bar.of("uploading", offset, size);
            file.seek(SeekFrom::Start(offset))?;
            piece.clear();
            file.take(upload.chunk_bytes.clamp(1, 64 << 20)).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Err(Failure::refused(format!("{} became shorter while it was read", content.name)));
            }
            let at = offset.to_string();
            let headers = [("content-type", "application/octet-stream"), ("upload-offset", at.as_str())];
            let sent = self.client.ask("PATCH", &self.url(&address)?, &headers, &piece, 1 << 20);
            match sent {
                Ok(Reply { status: 200..300 | 409, offset: Some(next), .. }) if next != offset => {
                    (offset, tries) = (next, 0);
                }
                Ok(reply) if reply.status != 409 && reply.status < 500 => {
                    self.accept(reply)?;
                    offset += piece.len() as u64;
                }
                failed => {
                    tries += 1;
                    if tries >= TRIES {
                        let reply = failed.map_err(|error| Failure::Failed(error.into()))?;
                        self.accept(reply)?;
                        return Err(Failure::Failed(anyhow::anyhow!("the server does not take the file any further")));
                    }
                    std::thread::sleep(Duration::from_secs(1 << tries));
                    // What counts is what it has made durable.
                    if let Ok(Reply { offset: Some(known), .. }) =
                        self.client.ask("HEAD", &self.url(&address)?, &[], &[], 1 << 20)
                    {
                        offset = known;
                    }
                }
            }
        }
        bar.clear();
        Ok(upload.id)
    }

    /// What to send: a file as it is, a directory as an archive of it, packed here as it would be there.
    fn content(&self, path: &Path, verb: &Verb) -> Result<Content, Failure> {
        if path == Path::new("-") {
            return Err(Failure::refused(
                "standard input is not sent to a server elsewhere: give the archive as a file",
            ));
        }
        let unreadable =
            |error: std::io::Error| Failure::refused(format!("{} cannot be read: {error}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            let Verb::Package(PackageVerb::Build(build)) = verb else {
                return Err(Failure::refused(format!("{} is a directory, and this verb reads a file", path.display())));
            };
            return packed(path, self.system_of(build)?);
        }
        Ok(Content { name: last_name(path, "file"), bytes: Bytes::File(file) })
    }

    /// The system that a package is for: as it was said, or that of the one that it is like.
    fn system_of(&self, build: &Build) -> Result<OsFamily, Failure> {
        /// A package as far as it matters here.
        #[derive(Deserialize)]
        struct Before {
            os: String,
        }
        match (build.os, build.like) {
            (Some(os), _) => Ok(os),
            (None, Some(id)) => {
                let before: Before = self.read(&self.ask("GET", &format!("packages/{id}"), &[], &[])?)?;
                before.os.parse().map_err(|error: InvalidPackage| Failure::Refused(error.into()))
            }
            (None, None) => Err(Failure::refused("--os is needed")),
        }
    }
}

/// What is sent.
struct Content {
    /// What it is called there.
    name: String,
    bytes: Bytes,
}

enum Bytes {
    File(File),
    /// An archive that was made for this, and goes with it.
    Packed(Spool),
}

impl Content {
    fn file(&self) -> &File {
        match &self.bytes {
            Bytes::File(file) => file,
            Bytes::Packed(spool) => spool.file(),
        }
    }
}

fn packed(directory: &Path, os: OsFamily) -> Result<Content, Failure> {
    let place = std::env::temp_dir();
    let spool = Spool::create(&place).map_err(|error| {
        Failure::Failed(anyhow::anyhow!(
            "nothing can be written to {}, where archives are packed: {error}",
            place.display()
        ))
    })?;
    let bar = Bar::new("packing");
    let spool = pack_path(directory, os, spool, &mut |done| bar.bytes("packing", done)).map_err(|error| {
        if error.is_refusal() { Failure::Refused(error.into()) } else { Failure::Failed(error.into()) }
    })?;
    bar.clear();
    let name = format!("{}{}", last_name(directory, "directory"), ArchiveFormat::for_os(os).suffix());
    Ok(Content { name, bytes: Bytes::Packed(spool) })
}

/// The last part of a path, also of one that ends with dots.
fn last_name(path: &Path, otherwise: &str) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().or_else(|| whole.file_name());
    name.map_or_else(|| otherwise.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn token(far: &Far) -> Result<Secret, Failure> {
    let text = match (&far.token, &far.token_file) {
        (Some(token), _) => token.0.clone(),
        (None, Some(path)) => {
            let mut text = String::new();
            let file = File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text));
            file.map_err(|error| {
                Failure::refused(format!("the file with the token, {}, cannot be read: {error}", path.display()))
            })?;
            text
        }
        (None, None) => {
            return Err(Failure::refused(
                "a server elsewhere asks for a token: make one in its console and give it with DRIPFEED_TOKEN, --token-file \
                 or --token before the verb",
            ));
        }
    };
    let text = text.trim().to_owned();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::refused("the token is not one: expected one line that begins with drip_"));
    }
    Ok(Secret(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        let typed: Vec<OsString> = line.iter().map(OsString::from).collect();
        words_of(&typed).expect("UTF-8")
    }

    #[test]
    fn what_is_sent_begins_with_the_verb() {
        assert_eq!(
            words(&["dripfeed", "--server", "https://x", "--token=t", "status", "--json"]),
            ["status", "--json"]
        );
        assert_eq!(words(&["dripfeed", "setting", "set", "FREQUENCY", "-1"]), ["setting", "set", "FREQUENCY", "-1"]);
        assert_eq!(
            words(&["dripfeed", "--ca", "f", "package", "build", "--command", "--server"]),
            ["package", "build", "--command", "--server"]
        );
    }
}
