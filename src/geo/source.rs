//! The database in use, and its change for another while the program runs.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::database::{GeoDatabase, GeoError};

/// What looking for a new file came to.
#[derive(Debug)]
pub enum Reload {
    /// It is the same as the last time.
    Unchanged,
    /// There was a new file, and it is in use.
    Reopened,
    /// There is a new file, or none any more, that cannot serve: the old one stays in use.
    /// Said once for each change.
    Kept(GeoError),
}

/// The database in use.
#[derive(Debug)]
pub struct GeoSource {
    current: RwLock<Arc<GeoDatabase>>,
    file: Option<WatchedFile>,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    knows_private: bool,
    /// The file as it was last looked at; none when it was not there. Locked for the whole
    /// of a reload, so that two at a time do not read twice.
    seen: Mutex<Option<Stamp>>,
}

/// What changes when a file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn new(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl GeoSource {
    /// The database that is part of the program.
    #[must_use]
    pub fn embedded() -> Self {
        Self { current: RwLock::new(Arc::new(GeoDatabase::embedded())), file: None }
    }

    /// A database in a file, whose word about private addresses counts, too, or not.
    ///
    /// # Errors
    /// When it cannot be read, is no MaxMind DB or holds no places.
    pub fn file(path: &Path, knows_private: bool) -> Result<Self, GeoError> {
        let (stamp, database) = open(path, knows_private);
        let seen = Mutex::new(stamp);
        Ok(Self {
            current: RwLock::new(Arc::new(database?)),
            file: Some(WatchedFile { path: path.to_owned(), knows_private, seen }),
        })
    }

    /// The database in use now.
    #[must_use]
    pub fn current(&self) -> Arc<GeoDatabase> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new file into use if there is one. It reads the whole of it: not for a thread
    /// that serves requests.
    pub fn reload_if_changed(&self) -> Reload {
        let Some(file) = &self.file else { return Reload::Unchanged };
        let mut seen = file.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&file.path).ok().map(|metadata| Stamp::new(&metadata));
        if now == *seen {
            return Reload::Unchanged;
        }
        let (stamp, database) = open(&file.path, file.knows_private);
        *seen = stamp;
        match database {
            Ok(database) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(database);
                Reload::Reopened
            }
            Err(error) => Reload::Kept(error),
        }
    }
}

/// Reads a file, with the stamp of the very file that was read.
fn open(path: &Path, knows_private: bool) -> (Option<Stamp>, Result<GeoDatabase, GeoError>) {
    let opened = File::open(path).and_then(|file| Ok((Stamp::new(&file.metadata()?), file)));
    match opened {
        Ok((stamp, file)) => {
            (Some(stamp), GeoDatabase::read(file).map(|database| database.with_private(knows_private)))
        }
        Err(error) => (None, Err(error.into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{database, nested};
    use super::*;
    use std::fs;

    fn city(source: &GeoSource) -> String {
        let place = source.current().lookup("8.8.8.8".parse().unwrap()).unwrap();
        place.city.unwrap().to_string()
    }

    fn file_of(city: &'static str) -> Vec<u8> {
        database("Test-City", &[("8.0.0.0/8", nested("US", Some(city), 1.0, 2.0))])
    }

    #[test]
    fn a_replaced_file_is_reopened_and_a_broken_one_keeps_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("geo.mmdb"), folder.path().join("new"));
        fs::write(&path, file_of("One")).unwrap();
        let source = GeoSource::file(&path, false).unwrap();
        let in_use = source.current();
        assert_eq!(city(&source), "One");
        assert!(matches!(source.reload_if_changed(), Reload::Unchanged));

        fs::write(&new, file_of("Two")).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(matches!(source.reload_if_changed(), Reload::Reopened));
        assert_eq!(city(&source), "Two");
        assert!(matches!(source.reload_if_changed(), Reload::Unchanged));
        // Who holds the old one may go on with it.
        assert!(in_use.lookup("8.8.8.8".parse().unwrap()).is_some());

        fs::write(&new, &file_of("Three")[..60]).unwrap();
        fs::rename(&new, &path).unwrap();
        assert!(matches!(source.reload_if_changed(), Reload::Kept(GeoError::Format(_))));
        assert!(matches!(source.reload_if_changed(), Reload::Unchanged), "said once");
        assert_eq!(city(&source), "Two");

        let nothing = database("Test-Country", &[("8.0.0.0/8", super::super::testing::Value::Map(vec![]))]);
        fs::write(&path, nothing).unwrap();
        assert!(matches!(source.reload_if_changed(), Reload::Kept(GeoError::NoPlaces { .. })));

        fs::remove_file(&path).unwrap();
        assert!(matches!(source.reload_if_changed(), Reload::Kept(GeoError::Read(_))));
        assert!(matches!(source.reload_if_changed(), Reload::Unchanged), "said once");
        assert_eq!(city(&source), "Two");

        fs::write(&path, file_of("Four")).unwrap();
        assert!(matches!(source.reload_if_changed(), Reload::Reopened));
        assert_eq!(city(&source), "Four");
    }

    #[test]
    fn the_start_needs_a_file_that_serves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("geo.mmdb");
        assert!(matches!(GeoSource::file(&path, false), Err(GeoError::Read(_))));
        fs::write(&path, b"no database").unwrap();
        assert!(matches!(GeoSource::file(&path, false), Err(GeoError::Format(_))));
        assert!(matches!(GeoSource::file(folder.path(), false), Err(GeoError::Read(_))));
    }

    #[test]
    fn the_embedded_database_never_changes() {
        let source = GeoSource::embedded();
        assert!(matches!(source.reload_if_changed(), Reload::Unchanged));
        assert!(source.current().lookup("203.5.76.1".parse().unwrap()).is_some());
    }
}
