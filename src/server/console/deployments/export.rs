//! Results as files: CSV that a spreadsheet cannot be fooled with, and JSON. Read and sent a page at a time.

use std::collections::VecDeque;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::unfold;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde_json::json;

use super::super::super::visit::blocking;
use super::super::call::{Call, View};
use super::{id, wanted};
use crate::clock::utc_text;
use crate::model::{DeploymentId, JobId, UnixTime};
use crate::service::desk::{Desk, Refusal};
use crate::store::progress::{OnComputer, Wanted};

/// Lines that are read at a time.
const PAGE: usize = 1000;

type Write = fn(&mut String, &OnComputer, bool);

struct Export {
    desk: Desk,
    id: DeploymentId,
    wanted: Wanted,
    after: Option<JobId>,
    write: Write,
    is_first: bool,
    pieces: VecDeque<&'static str>,
    has_ended: bool,
}

pub(super) fn csv(call: &Call) -> Result<View, Refusal> {
    let head = "computer,device_id,ip_address,state,code,meaning,withheld,planned,offered,finished,last_contact\r\n";
    answer(call, "csv", "text/csv; charset=utf-8", head, "", |text, line, _| {
        let job = &line.job;
        let at = |moment: Option<UnixTime>| moment.map(utc_text).unwrap_or_default();
        let code = job.result.as_ref();
        let fields = [
            line.name.clone(),
            line.device_id.clone(),
            line.ip_address.clone(),
            job.state.to_string(),
            code.map(ToString::to_string).unwrap_or_default(),
            code.and_then(crate::model::ResultCode::explanation).unwrap_or_default(),
            job.withheld.clone().unwrap_or_default(),
            utc_text(job.created_at),
            at(job.offered_at),
            at(job.finished_at),
            utc_text(line.last_contact),
        ];
        text.push_str(&fields.map(|field| cell(&field)).join(","));
        text.push_str("\r\n");
    })
}

pub(super) fn json(call: &Call) -> Result<View, Refusal> {
    answer(call, "json", "application/json", "[", "]\n", |text, line, is_first| {
        let job = &line.job;
        let value = json!({
            "computer": line.name,
            "device_id": line.device_id,
            "ip_address": line.ip_address,
            "state": job.state.as_str(),
            "code": job.result.as_ref().map(crate::model::ResultCode::as_str),
            "meaning": job.result.as_ref().and_then(crate::model::ResultCode::explanation),
            "withheld": job.withheld,
            "planned_at": utc_text(job.created_at),
            "offered_at": job.offered_at.map(utc_text),
            "finished_at": job.finished_at.map(utc_text),
            "last_contact": utc_text(line.last_contact),
        });
        text.push_str(if is_first { "\n" } else { ",\n" });
        text.push_str(&value.to_string());
    })
}

/// A field of a CSV line. What a spreadsheet would take for a formula begins with an apostrophe.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn answer(
    call: &Call,
    ending: &str,
    media: &'static str,
    head: &'static str,
    tail: &'static str,
    write: Write,
) -> Result<View, Refusal> {
    let id = id(call)?;
    call.desk().deployment(id)?;
    let export = Export {
        desk: call.desk().clone(),
        id,
        wanted: wanted(&call.query)?,
        after: None,
        write,
        is_first: true,
        pieces: [head, tail].into(),
        has_ended: false,
    };
    let stream = unfold(export, |export| async move {
        if export.has_ended {
            return None;
        }
        let (chunk, export) = blocking(move || {
            let mut export = export;
            (export.next(), export)
        })
        .await;
        Some((chunk, export))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"deployment-{id}.{ending}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(View::Other(Box::new(response)))
}

impl Export {
    /// The next page. A failure breaks the answer off, so that nobody takes half of it for all.
    fn next(&mut self) -> Result<Bytes, std::io::Error> {
        let mut text = String::new();
        if self.is_first {
            text.push_str(self.pieces.pop_front().unwrap_or_default());
        }
        let page = self.desk.deployment_computers(self.id, self.wanted.clone(), self.after, PAGE);
        let page = page.map_err(|refusal| {
            self.has_ended = true;
            std::io::Error::other(refusal.to_string())
        })?;
        for line in &page {
            (self.write)(&mut text, line, self.is_first);
            self.is_first = false;
        }
        self.after = page.last().map(|line| line.job.id);
        if page.len() < PAGE {
            self.has_ended = true;
            text.push_str(self.pieces.pop_back().unwrap_or_default());
        }
        self.is_first = false;
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheet_is_given_text_and_no_formula() {
        for (text, written) in [
            ("ws042", "ws042"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("-2+3", "\"'-2+3\""),
            ("+cmd|' /C calc'!A0", "\"'+cmd|' /C calc'!A0\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            assert_eq!(cell(text), written);
        }
    }
}
