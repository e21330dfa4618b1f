//! Requests that change what is published: which are understood, where they may come from, and who answers them.

use http::header::ALLOW;
use http::{Method, StatusCode};
use qfs_core::model::RemotePath;
use qfs_core::store::{Condition, WriteStore};

use super::ask::{Ask, RequestBody};
use super::error::HttpError;
use super::fields::{self, ACCEPT_PATCH, PARTIAL_UPLOAD, UPLOAD_COMPLETE, UPLOAD_LIMIT};
use super::reply::{self, Answer};
use super::target::Place;
use super::{condition, credential, resumable, upload};
use crate::error::HandlerError;
use crate::gate::rights::Right;
use crate::intake::step;
use crate::view::View;

/// What a server understands that publishes for reading alone.
const READING: &str = "GET, HEAD";

/// What it understands of a file that may be changed.
const WRITING: &str = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS";

/// What it understands of a directory there.
const DIRECTORY: &str = "GET, HEAD, DELETE, OPTIONS";

/// Whether nothing can be changed by it: it asks for a file, or for a directory.
pub(super) fn is_reading<S>(ask: &Ask<'_, S>, method: &Method) -> bool {
    match *method {
        Method::GET => true,
        // Of an upload it says how far it has got, which ends whoever still sends.
        Method::HEAD => !(ask.service.gate.is_writable() && ask.target.has(resumable::UPLOAD)),
        _ => false,
    }
}

/// Whether such a request is understood here, and nobody but its sender is behind it.
///
/// # Errors
/// [`HttpError::Method`], [`HttpError::CrossSite`].
pub(super) fn ensure_possible<S>(ask: &Ask<'_, S>, method: &Method) -> Result<(), HttpError> {
    if !ask.service.gate.is_writable() {
        return Err(HttpError::Method { allow: READING });
    }
    let known = [Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS];
    if !known.contains(method) {
        return Err(HttpError::Method { allow: WRITING });
    }
    if *method != Method::OPTIONS && !credential::may_change(ask.headers, ask.authority) {
        return Err(HttpError::CrossSite);
    }
    Ok(())
}

/// What the trail calls the place of such a request.
pub(super) fn name(place: &Place) -> String {
    match place {
        Place::File(path) => path.as_str().to_owned(),
        Place::Directory(path) => format!("{}/", path.as_str()),
        Place::Root | Place::Own(_) | Place::Nothing => String::new(),
    }
}

pub(super) async fn answer<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    method: &Method,
    body: impl RequestBody,
    reply: &mut R,
) -> Result<(), HttpError> {
    if *method == Method::OPTIONS {
        return options(ask, reply).await;
    }
    let path = match (&ask.target.place, method) {
        (Place::File(path), _) => path,
        (Place::Directory(path), &Method::DELETE) => return remove_directory(view, path, reply).await,
        (Place::Directory(_) | Place::Root, _) => return Err(HttpError::Method { allow: DIRECTORY }),
        (Place::Own(_) | Place::Nothing, _) => return Err(HandlerError::NotFound.into()),
    };
    if ask.target.has(resumable::UPLOAD) {
        return resumable::answer(ask, view, path, method, body, reply).await;
    }
    match (method, fields::boolean(ask.headers, &UPLOAD_COMPLETE)) {
        (&Method::PUT | &Method::POST, Some(complete)) => {
            resumable::create(ask, view, path, complete, body, reply).await
        }
        (&Method::PUT, None) => upload::put(ask, view, path, fields::content_length(ask.headers), body, reply).await,
        (&Method::DELETE, _) => remove(ask, view, path, reply).await,
        _ => Err(HttpError::Method { allow: WRITING }),
    }
}

async fn options<S: WriteStore, R: Answer>(ask: &Ask<'_, S>, reply: &mut R) -> Result<(), HttpError> {
    let is_file = matches!(ask.target.place, Place::File(_));
    let mut head = reply::head(StatusCode::NO_CONTENT).header(ALLOW, if is_file { WRITING } else { DIRECTORY });
    if is_file {
        head = head.header(ACCEPT_PATCH, PARTIAL_UPLOAD).header(UPLOAD_LIMIT, upload::limit(ask));
    }
    Ok(reply.begin(head).await?)
}

/// Removes a file, if it is what the conditions of the request say.
async fn remove<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    path: &RemotePath,
    reply: &mut R,
) -> Result<(), HttpError> {
    let wanted = path.clone();
    let current = step(view, move |view| view.current(Right::Delete, &wanted)).await?;
    let condition = condition::of_change(ask.headers, current.as_ref()).ok_or(HttpError::Precondition)?;
    // Something that must not be there cannot be removed either.
    if condition == Condition::Absent {
        return Err(HandlerError::NotFound.into());
    }
    let (wanted, checked) = (path.clone(), condition.clone());
    let removed = step(view, move |view| view.remove(&wanted, &checked)).await;
    removed.map_err(|error| upload::refused(error, &condition))?;
    Ok(reply.begin(reply::head(StatusCode::NO_CONTENT)).await?)
}

async fn remove_directory<S: WriteStore, R: Answer>(
    view: &View<S>,
    path: &RemotePath,
    reply: &mut R,
) -> Result<(), HttpError> {
    let path = path.clone();
    step(view, move |view| view.remove_directory(&path)).await?;
    Ok(reply.begin(reply::head(StatusCode::NO_CONTENT)).await?)
}
