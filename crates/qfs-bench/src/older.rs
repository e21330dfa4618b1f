//! An older version of a data set of one file, made from it: what is there before only what changed is fetched.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::dataset::DataSet;

/// How the version that is fetched differs from the one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// One percent of it, in [`PLACES`] places.
    Scattered,
    /// [`INSERTED_BYTES`] were put in front of it.
    Inserted,
    /// All of it: they have nothing in common.
    Everything,
}

/// Places of [`Change::Scattered`].
pub const PLACES: u64 = 100;

/// Bytes of [`Change::Inserted`].
pub const INSERTED_BYTES: u64 = 1 << 20;

/// How much older it is, so that no program takes it for the same by its time.
const AGE: Duration = Duration::from_secs(3600);

/// Bytes copied at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Writes the older version of `data`, which has one file, into `dest`.
///
/// # Errors
/// What the system says.
pub fn plant(data: &DataSet, change: Change, dest: &Path) -> io::Result<()> {
    let name = data.shape.name(0);
    let (from, to) = (data.root.join(&name), dest.join(&name));
    let size = data.shape.file_bytes;
    match change {
        Change::Scattered => {
            fs::copy(&from, &to)?;
            let file = File::options().read(true).write(true).open(&to)?;
            let (step, length) = (size / PLACES, size / PLACES / 100);
            for place in 0..PLACES {
                // Not at multiples of anything.
                let start = place * step + (place * 7919) % (step - length).max(1);
                let mut bytes = vec![0; usize::try_from(length).unwrap_or(CHUNK_BYTES)];
                file.read_exact_at(&mut bytes, start)?;
                bytes.iter_mut().for_each(|byte| *byte = !*byte);
                file.write_all_at(&bytes, start)?;
            }
        }
        Change::Inserted => {
            let (mut source, mut target) = (File::open(&from)?, File::create(&to)?);
            source.seek(SeekFrom::Start(INSERTED_BYTES.min(size)))?;
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                match source.read(&mut chunk)? {
                    0 => break,
                    read => target.write_all(&chunk[..read])?,
                }
            }
        }
        Change::Everything => {
            let (mut source, mut target) = (File::open(&from)?, File::create(&to)?);
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                let read = source.read(&mut chunk)?;
                if read == 0 {
                    break;
                }
                chunk[..read].iter_mut().for_each(|byte| *byte = !*byte);
                target.write_all(&chunk[..read])?;
            }
        }
    }
    let time = SystemTime::now() - AGE;
    File::options().write(true).open(to)?.set_times(FileTimes::new().set_modified(time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Shape;

    #[test]
    fn an_older_version_differs_as_it_should() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { files: 1, file_bytes: 3 << 20, directories: 0 };
        let data = DataSet::make(&dir.path().join("data"), shape, 7, &|| false).unwrap();
        let new = fs::read(data.root.join(shape.name(0))).unwrap();
        let older = |change| {
            plant(&data, change, dir.path()).unwrap();
            fs::read(dir.path().join(shape.name(0))).unwrap()
        };
        let scattered = older(Change::Scattered);
        let differing = new.iter().zip(&scattered).filter(|(a, b)| a != b).count();
        assert_eq!((scattered.len(), differing), (new.len(), 100 * (new.len() / 100 / 100)));
        assert_eq!(older(Change::Inserted), new[1 << 20..]);
        let other = older(Change::Everything);
        assert!(other.len() == new.len() && new.iter().zip(&other).all(|(a, b)| a != b));
        let modified = fs::metadata(dir.path().join(shape.name(0))).unwrap().modified().unwrap();
        assert!(modified < SystemTime::now() - AGE / 2);
    }
}
