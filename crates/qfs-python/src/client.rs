//! A client and its operations. Each begins at once and is returned as a call that is waited for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use qfs_client::error::Failure;
use qfs_client::plan::selection::Selection;
use qfs_client::session::Session;
use qfs_client::transfer::cat::{self, Part};
use qfs_client::transfer::look::Found;
use qfs_client::transfer::put;
use qfs_client::transfer::remote_file::RemoteFile;
use qfs_client::transfer::sync::{Direction, prepare};
use qfs_client::transfer::{change, look, run, single};
use qfs_core::model::{ByteRange, RemotePath};
use qfs_core::wire::Kind;
use qfs_store::local::{Hidden, LocalStore};
use tokio::sync::mpsc;

use crate::asked::{How, Sync, path, top};
use crate::call::Call;
use crate::counters::Counters;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::file::File;
use crate::upload::{BLOCKS_AHEAD, Upload};
use crate::values::{Entry, Outcome, Step};

/// Pieces of a file that wait to be put together.
const PIECES_AHEAD: usize = 8;

/// Longest wait for the server to be told of the end of a client that was dropped.
const CLOSE_PATIENCE: Duration = Duration::from_millis(300);

/// A connection to a server.
#[pyclass(frozen, module = "qfs._native")]
pub(crate) struct Client {
    engine: Arc<Engine>,
    /// None once it is closed.
    session: Mutex<Option<Session>>,
}

impl Client {
    pub(crate) fn new(engine: Arc<Engine>, session: Session) -> Self {
        Self { engine, session: Mutex::new(Some(session)) }
    }

    /// Begins `work` with the connection.
    fn begin<T, W>(
        &self,
        work: impl FnOnce(Session, Arc<Counters>) -> W,
        value: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Call>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let session = session.ok_or(Fault::Closed)?;
        // Whatever was before: what begins now has the whole time to get a connection again.
        session.note_progress();
        let counters = Arc::<Counters>::default();
        Call::begin(&self.engine, Arc::clone(&counters), work(session, counters), value)
    }
}

#[pymethods]
impl Client {
    /// The server's key.
    #[getter]
    fn fingerprint(&self) -> Option<String> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.as_ref()?.fingerprint().map(|key| key.to_string())
    }

    /// Every file below a directory, or all.
    fn list(&self, directory: &str) -> PyResult<Call> {
        let directory = top(directory)?;
        self.begin(
            async move |session, _| {
                let found = look::files(&session, directory.as_ref()).await.map_err(within(directory.as_ref()))?;
                found.ok_or_else(|| missing(directory.as_ref()))
            },
            entries,
        )
    }

    /// What lies directly in a directory.
    fn children(&self, directory: &str) -> PyResult<Call> {
        let directory = top(directory)?;
        self.begin(
            async move |session, _| {
                let found = look::children(&session, directory.as_ref()).await.map_err(within(directory.as_ref()))?;
                found.ok_or_else(|| missing(directory.as_ref()))
            },
            entries,
        )
    }

    /// What there is under a name.
    fn stat(&self, name: &str) -> PyResult<Call> {
        let path = path(name)?;
        self.begin(
            async move |session, _| {
                let found = look::stat(&session, &path).await.map_err(Fault::of(path.as_str()))?;
                let found = found.ok_or_else(|| missing(Some(&path)))?;
                Ok(Entry::new(path.as_str(), found))
            },
            |py, entry| Ok(Py::new(py, entry)?.into_any()),
        )
    }

    /// Opens a file for reading.
    fn open(&self, name: &str) -> PyResult<Call> {
        let (path, engine) = (path(name)?, Arc::clone(&self.engine));
        self.begin(
            async move |session, _| RemoteFile::open(&session, &path).await.map_err(Fault::of(path.as_str())),
            move |py, file| Ok(Py::new(py, File::new(engine, file))?.into_any()),
        )
    }

    /// The whole content of a file, verified, or a part of it.
    #[pyo3(signature = (name, start, end))]
    fn read(&self, name: &str, start: u64, end: Option<u64>) -> PyResult<Call> {
        let path = path(name)?;
        self.begin(
            async move |session, _| {
                let (out, mut pieces) = mpsc::channel::<Bytes>(PIECES_AHEAD);
                let pouring = async {
                    // Moved in, so that the channel ends with the file.
                    let out = out;
                    cat::cat(&session, path.as_str(), Part::Range(ByteRange { start, end }), &out).await
                };
                let gathering = async {
                    let mut content = Vec::new();
                    while let Some(piece) = pieces.recv().await {
                        content.extend_from_slice(&piece);
                    }
                    content
                };
                let (poured, content) = tokio::join!(pouring, gathering);
                poured.map_err(Fault::of(path.as_str()))?;
                Ok(content)
            },
            |py, content| Ok(PyBytes::new(py, &content).into_any().unbind()),
        )
    }

    /// Fetches names and patterns into a directory; everything for None.
    #[pyo3(signature = (names, directory, how))]
    fn get(&self, names: Option<Vec<String>>, directory: PathBuf, how: How) -> PyResult<Call> {
        let selection = match names {
            Some(names) => Selection::parse(&names).map_err(|error| Fault::Usage(error.to_string()))?,
            None => Selection::all(),
        };
        self.begin(
            async move |session, counters| {
                let open = move || {
                    LocalStore::create_root(&directory).map(|store| store.hidden(Hidden::Included).sparse(true))
                };
                let store = tokio::task::spawn_blocking(open).await.map_err(|error| error.to_string());
                let store = store.and_then(|store| store.map_err(|error| error.to_string()));
                let store = Arc::new(store.map_err(|why| Fault::Local("local", why))?);
                let fetched = run::fetch(&session, store, selection, how.fetch(), counters, &mut |_| {}).await?;
                Fault::of_files(fetched.files)
            },
            outcomes,
        )
    }

    /// Fetches one file to a path.
    fn get_file(&self, name: &str, target: PathBuf, how: How) -> PyResult<Call> {
        let path = path(name)?;
        self.begin(
            async move |session, counters| {
                let fetching = single::fetch_file(&session, &path, &target, how.fetch(), counters);
                Fault::of_files(vec![fetching.await.map_err(Fault::of(path.as_str()))?])
            },
            outcomes,
        )
    }

    /// Uploads files and directories, each a path here and its name on the server.
    fn put(&self, paths: Vec<(PathBuf, String)>, how: How) -> PyResult<Call> {
        let named = paths.into_iter().map(|(here, there)| Ok::<_, PyErr>((here, path(&there)?)));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        self.begin(
            async move |session, counters| {
                let sources = put::gather(named).await.map_err(|(path, error)| Fault::source(&path, &error))?;
                let uploaded = put::put(&session, sources, how.put(), counters, &mut |_| {}).await?;
                Fault::of_files(uploaded.files)
            },
            outcomes,
        )
    }

    /// Makes a file of bytes.
    fn write(&self, name: &str, data: &[u8], how: How) -> PyResult<Call> {
        let (path, data) = (path(name)?, Bytes::copy_from_slice(data));
        self.begin(
            async move |session, counters| {
                let putting = put::put_bytes(&session, &path, data, how.put(), counters);
                Ok(vec![putting.await.map_err(Fault::of(path.as_str()))?])
            },
            outcomes,
        )
    }

    /// Begins an upload whose bytes come one after another.
    fn upload(&self, py: Python<'_>, name: &str, how: How) -> PyResult<Upload> {
        let path = path(name)?;
        let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
        let ending = self.begin(
            async move |session, counters| {
                let putting = put::put_stream(&session, &path, blocks, how.put(), counters);
                Ok(vec![putting.await.map_err(Fault::of(path.as_str()))?])
            },
            outcomes,
        )?;
        Ok(Upload::new(Arc::clone(&self.engine), sender, Py::new(py, ending)?))
    }

    /// Makes a directory here like one of the server.
    fn pull(&self, directory: PathBuf, prefix: &str, sync: Sync) -> PyResult<Call> {
        self.sync(Direction::Pull, directory, prefix, sync)
    }

    /// Makes a directory of the server like one here.
    fn push(&self, directory: PathBuf, prefix: &str, sync: Sync) -> PyResult<Call> {
        self.sync(Direction::Push, directory, prefix, sync)
    }

    /// Removes a file, or with `recursive` also a directory with all that is in it.
    fn remove(&self, name: &str, recursive: bool) -> PyResult<Call> {
        let path = path(name)?;
        self.begin(
            async move |session, _| {
                let doomed = match recursive {
                    true => change::doomed(&session, path.clone()).await.map_err(Fault::of(path.as_str()))?,
                    false => vec![(path, Kind::File, None)],
                };
                for (name, kind, version) in doomed {
                    change::remove(&session, &name, kind, version).await.map_err(Fault::of(name.as_str()))?;
                }
                Ok(())
            },
            nothing,
        )
    }

    /// Removes a directory that is empty.
    fn remove_directory(&self, name: &str) -> PyResult<Call> {
        let path = path(name)?;
        self.begin(
            async move |session, _| {
                change::remove(&session, &path, Kind::Directory, None).await.map_err(Fault::of(path.as_str()))
            },
            nothing,
        )
    }

    /// Makes a directory.
    fn make_directory(&self, name: &str) -> PyResult<Call> {
        let path = path(name)?;
        self.begin(
            async move |session, _| change::make_directory(&session, &path).await.map_err(Fault::of(path.as_str())),
            nothing,
        )
    }

    /// Has the server copy a file.
    fn copy(&self, source: &str, target: &str, overwrite: bool) -> PyResult<Call> {
        let (from, to) = (path(source)?, path(target)?);
        self.begin(
            async move |session, _| {
                change::copy(&session, &from, &to, overwrite).await.map(drop).map_err(Fault::of(from.as_str()))
            },
            nothing,
        )
    }

    /// Ends the connection. What is under way on it ends with an error.
    fn close(&self) -> PyResult<Call> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = async move {
            if let Some(session) = session {
                session.close().await;
            }
            Ok(())
        };
        Call::begin(&self.engine, Arc::<Counters>::default(), work, nothing)
    }
}

impl Client {
    fn sync(&self, direction: Direction, directory: PathBuf, prefix: &str, sync: Sync) -> PyResult<Call> {
        let is_dry = sync.dry_run;
        let (config, request) = (sync.config(), sync.request(direction, directory, top(prefix)?)?);
        self.begin(
            async move |session, counters| {
                let prepared = prepare(&session, request).await?;
                let steps: Vec<_> = prepared.plan.steps.iter().map(Step::from).collect();
                if !is_dry {
                    let names: Vec<_> =
                        prepared.plan.steps.iter().map(|step| step.path().as_str().to_owned()).collect();
                    let carried = prepared.carry_out(&session, config, counters, &mut |_, _| {}).await?;
                    if let Some((number, failure)) = carried.failures().next() {
                        return Err(Fault::Failure(names.get(number).cloned(), failure.clone()));
                    }
                }
                Ok(steps)
            },
            |py, steps| Ok(steps.into_pyobject(py)?.unbind()),
        )
    }
}

impl Drop for Client {
    /// Lets the server know, where nobody has closed it. The thread goes on until that is done.
    fn drop(&mut self) {
        let session = self.session.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = session.filter(|_| self.engine.is_here()) {
            let engine = Arc::clone(&self.engine);
            self.engine.handle().spawn(async move {
                // The server finds out by itself otherwise.
                let _ = tokio::time::timeout(CLOSE_PATIENCE, session.close()).await;
                drop(engine);
            });
        }
    }
}

fn entries(py: Python<'_>, rows: impl IntoIterator<Item = (RemotePath, Found)>) -> PyResult<Py<PyAny>> {
    let entries = rows.into_iter().map(|(name, found)| Entry::new(name.as_str(), found));
    Ok(entries.collect::<Vec<_>>().into_pyobject(py)?.unbind())
}

fn outcomes(py: Python<'_>, files: Vec<qfs_client::transfer::outcome::FileOutcome>) -> PyResult<Py<PyAny>> {
    Ok(files.into_iter().map(Outcome::from).collect::<Vec<_>>().into_pyobject(py)?.unbind())
}

fn nothing(py: Python<'_>, (): ()) -> PyResult<Py<PyAny>> {
    Ok(py.None())
}

/// A failure that has to do with `directory`, where it is not the top.
fn within(directory: Option<&RemotePath>) -> impl Fn(Failure) -> Fault {
    let name = directory.map(|directory| directory.as_str().to_owned());
    move |failure| Fault::Failure(name.clone(), failure)
}

/// There is nothing under this name.
fn missing(name: Option<&RemotePath>) -> Fault {
    within(name)(Failure::NoMatch)
}
