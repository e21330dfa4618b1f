//! One request: who asks, whose turn it is, what is asked, and what is written down of it. Knows no transport.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HOST};
use http::{Method, Version};
use qfs_core::store::WriteStore;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::ask::{Ask, PacedBody, RequestBody};
use super::client::Client;
use super::error::HttpError;
use super::reply::{Answer, Form, Outlet, Reply};
use super::target::{Place, Target};
use super::{archive, change, credential, directory, file, own};
use crate::deliveries::Handed;
use crate::error::HandlerError;
use crate::gate::audit;
use crate::gate::patience::Progress;
use crate::gate::rights::Right;
use crate::metrics;
use crate::service::Service;
use crate::view::View;

/// What the trail has of a request.
#[derive(Default)]
struct Record {
    command: &'static str,
    name: String,
    token: Option<String>,
    /// What the answer hands out.
    handed: Handed,
}

/// Answers one request to its end.
pub(super) async fn serve<S: WriteStore, O: Outlet, P: Progress>(
    service: Arc<Service<S>>,
    client: Arc<Client>,
    request: http::request::Parts,
    body: impl RequestBody,
    mut reply: Reply<O, P>,
) {
    let _active = client.begin();
    let start = Instant::now();
    let mut record = Record::default();
    let form = Form::of_accept(request.headers.get(ACCEPT));
    let body = PacedBody::new(body, client.lane.clone());
    let gone = reply.gone();
    let result = tokio::select! {
        biased;
        result = answer(&service, &client, &request, body, form, &mut reply, &mut record) => result,
        () = gone => Err(HttpError::gone()),
    };
    // Fails when there is nobody to tell.
    let _ = match &result {
        Ok(()) => reply.end().await,
        Err(error) => reply.fail(error, form).await,
    };
    client.visit().count(reply.sent());
    let status = result.as_ref().err().map_or_else(|| "ok".to_owned(), HttpError::word);
    service.metrics.answered(&metrics::Answered {
        door: client.door,
        command: record.command,
        status: &status,
        token: record.token.as_deref(),
        bytes: reply.sent(),
        took: start.elapsed(),
    });
    // With other methods nothing of the file leaves.
    if record.command == "GET" {
        record.handed.tell(service.deliveries.as_ref(), result.is_ok());
    }
    match &result {
        Err(error) if error.is_abandoned() => client.note_abandoned(&service),
        Err(HttpError::Handler(HandlerError::Denied)) => return client.note_denied(&service),
        _ => {}
    }
    if audit::hears_commands() {
        let who = client.visit().client();
        audit::Command {
            door: client.door,
            peer: client.peer,
            client: who.as_deref(),
            token: record.token.as_deref(),
            command: record.command,
            name: &record.name,
            failure: result.as_ref().err().map(|error| (status, error.to_string())),
            bytes: reply.sent(),
            seconds: start.elapsed().as_secs_f64(),
        }
        .tell(std::iter::empty());
    }
}

/// Settles who asks before what is asked, waits for a turn, and answers.
async fn answer<S: WriteStore, R: Answer>(
    service: &Service<S>,
    client: &Client,
    request: &http::request::Parts,
    mut body: impl RequestBody,
    form: Form,
    reply: &mut R,
    record: &mut Record,
) -> Result<(), HttpError> {
    record.command = command(&request.method);
    let uri = &request.uri;
    let target =
        Target::parse(uri.path(), uri.query()).ok_or(HttpError::Malformed("this is no target of a request"))?;
    let authority = uri.authority().map(|authority| authority.as_str());
    let hosts = request.headers.get_all(HOST).iter().count();
    // RFC 9112 §3.2. Whoever stands between may go by another one than this program.
    if hosts > 1 || hosts == 0 && request.version == Version::HTTP_11 {
        return Err(HttpError::Malformed("a request names one host"));
    }
    let mut ask = Ask { service, client, headers: &request.headers, authority, target, form, token: None };
    if service.is_draining() {
        return Err(HandlerError::ShuttingDown.into());
    }
    if let Place::Own(name) = &ask.target.place {
        record.name = format!("{}{name}", super::target::OWN);
        return own::answer(&ask, name, &request.method, &mut body, reply).await;
    }
    let access = service.gate.admit_token(credential::shown(ask.headers, client.port).as_ref())?;
    ask.token = access.token_id();
    record.token.clone_from(&ask.token);
    let is_reading = change::is_reading(&ask, &request.method);
    if is_reading && !access.reads() {
        return Err(HandlerError::Forbidden(Right::Read).into());
    }
    if !is_reading {
        change::ensure_possible(&ask, &request.method)?;
    }
    let _turn = client.commands.acquire().await.map_err(|_| HandlerError::ShuttingDown)?;
    let _command = turn(&service.commands, service.deadlines().queue).await?;
    let (view, withdrawn) = (service.view(access.clone()), access);
    let answered = async {
        if is_reading {
            get(&ask, &view, reply, record).await
        } else {
            record.name = change::name(&ask.target.place);
            change::answer(&ask, &view, &request.method, body, reply).await
        }
    };
    // A token that is revoked ends what it was good for.
    tokio::select! {
        biased;
        result = answered => result,
        () = withdrawn.withdrawn() => Err(HandlerError::Denied.into()),
    }
}

/// What the trail calls a method.
fn command(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// One of `permits`, unless the server stays at its limit.
async fn turn(permits: &Semaphore, patience: Duration) -> Result<SemaphorePermit<'_>, HandlerError> {
    let permit = timeout(patience, permits.acquire()).await.map_err(|_| HandlerError::Busy)?;
    permit.map_err(|_| HandlerError::ShuttingDown)
}

async fn get<S: WriteStore, R: Answer>(
    ask: &Ask<'_, S>,
    view: &View<S>,
    reply: &mut R,
    record: &mut Record,
) -> Result<(), HttpError> {
    let directory = match &ask.target.place {
        Place::File(path) => {
            path.as_str().clone_into(&mut record.name);
            return file::answer(ask, view, path, reply, &mut record.handed).await;
        }
        Place::Directory(path) => {
            record.name = format!("{}/", path.as_str());
            Some(path)
        }
        Place::Root => None,
        Place::Own(_) | Place::Nothing => return Err(HandlerError::NotFound.into()),
    };
    if ask.target.has("tar") {
        archive::answer(ask, view, directory, reply, &mut record.handed).await
    } else {
        directory::answer(ask, view, directory, reply).await
    }
}
