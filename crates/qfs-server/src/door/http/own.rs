//! What this door brings itself, below [`OWN`](super::target::OWN): the style and script of the page, and the form for a token.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use qfs_core::model::Digest;
use qfs_core::store::WriteStore;

use super::ask::{Ask, RequestBody, whole_body};
use super::error::HttpError;
use super::reply::{self, Answer, HTML};
use super::target::{FORGET, TOKEN};
use super::{credential, page, target};
use crate::error::HandlerError;

/// Longest form that is read, in bytes: a token and a path.
const MAX_FORM_BYTES: usize = 16 << 10;

/// Something that is the same for everybody.
struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static str,
}

const ASSETS: [Asset; 6] = [
    Asset { name: "page.css", kind: "text/css; charset=utf-8", content: include_str!("page/page.css") },
    Asset { name: "page.js", kind: "text/javascript; charset=utf-8", content: include_str!("page/page.js") },
    Asset { name: "upload.js", kind: "text/javascript; charset=utf-8", content: include_str!("page/upload.js") },
    Asset { name: "file.svg", kind: "image/svg+xml", content: include_str!("page/file.svg") },
    Asset { name: "folder.svg", kind: "image/svg+xml", content: include_str!("page/folder.svg") },
    Asset { name: "icon.svg", kind: "image/svg+xml", content: include_str!("page/icon.svg") },
];

pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    name: &str,
    method: &Method,
    body: &mut impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    match (method, name) {
        (&Method::POST, TOKEN) => take_token(ask, body, reply).await,
        (&Method::POST, FORGET) => {
            same_site(ask)?;
            let cookie = credential::set_cookie(None, ask.client.port);
            see(reply, "/", Some(cookie)).await
        }
        (&Method::GET | &Method::HEAD, _) => match ASSETS.iter().find(|asset| asset.name == name) {
            Some(asset) => send(ask, asset, reply).await,
            None => Err(HandlerError::NotFound.into()),
        },
        _ => Err(HttpError::Method { allow: "GET, HEAD" }),
    }
}

async fn send<S: WriteStore, R: Answer>(ask: &Ask<'_, S>, asset: &Asset, reply: &mut R) -> Result<(), HttpError> {
    let etag = format!("\"{:.16}\"", Digest::of(asset.content.as_bytes()).to_string());
    let head = reply::head(StatusCode::OK).header(ETAG, &etag);
    if ask.headers.get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == etag.as_bytes()) {
        return Ok(reply.begin(head.status(StatusCode::NOT_MODIFIED)).await?);
    }
    let head = head.header(CONTENT_TYPE, asset.kind).header(CONTENT_LENGTH, asset.content.len());
    reply.begin(page::guarded(head)).await?;
    Ok(reply.send(asset.content.into()).await?)
}

/// Takes a token from the form and has the browser show it from now on.
async fn take_token<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    body: &mut impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    same_site(ask)?;
    let form = whole_body(body, MAX_FORM_BYTES, ask.service.deadlines().request).await?;
    let fields = target::pairs(std::str::from_utf8(&form).map_err(|_| HttpError::Malformed("this is no form"))?);
    let value = |name: &str| fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let next = place_to_go(value("next"));
    let token = value("token").trim().parse().ok();
    if ask.service.gate.admit_token(token.as_ref()).is_err() {
        ask.client.note_denied(ask.service);
        let text = page::token_form(&next, true);
        let head = reply::head(StatusCode::UNAUTHORIZED).header(CONTENT_TYPE, HTML).header(CONTENT_LENGTH, text.len());
        reply.begin(page::guarded(head)).await?;
        return Ok(reply.send(text.into()).await?);
    }
    let cookie = token.map(|token| credential::set_cookie(Some(&token), ask.client.port));
    see(reply, &next, cookie).await
}

/// Where a browser goes from the form: to a place of this server and no other, whatever the form says.
pub(super) fn place_to_go(next: &str) -> String {
    use target::{Place, Target};
    match Target::parse(next, None).map(|target| target.place) {
        Some(Place::Directory(path)) => target::directory_path(Some(&path)),
        Some(Place::File(path)) => format!("/{}", target::encoded(path.as_str())),
        _ => "/".to_owned(),
    }
}

fn same_site<S>(ask: &Ask<'_, S>) -> Result<(), HttpError> {
    if credential::is_same_site(ask.headers, ask.authority) { Ok(()) } else { Err(HttpError::CrossSite) }
}

async fn see<R: Answer>(reply: &mut R, place: &str, cookie: Option<String>) -> Result<(), HttpError> {
    let mut head = reply::head(StatusCode::SEE_OTHER).header(LOCATION, place).header(CONTENT_LENGTH, 0);
    if let Some(cookie) = cookie {
        head = head.header(SET_COOKIE, cookie);
    }
    Ok(reply.begin(head).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a form can send a browser elsewhere.
    #[test]
    fn the_form_leads_to_this_server_only() {
        assert_eq!(place_to_go("/a/b c/"), "/a/b%20c/");
        assert_eq!(place_to_go("/a"), "/a");
        for next in ["", "//evil.example/x", "https://evil.example", "/\\evil", "/a//b", "javascript:x", "/%2f%2fevil"]
        {
            assert_eq!(place_to_go(next), "/", "{next}");
        }
    }
}
