//! Secrets whose files change while they are in use.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use crate::cluster::keys::SharedSecret;
use crate::config::{Secret, read_secret};
use crate::tasks::{Next, Worker};
use crate::tickets::{InvalidKey, Rotating};

/// From one look at the file to the next.
const EVERY: Duration = Duration::from_secs(5);

/// Takes up a secret that replaced the one in use.
pub(super) struct SecretReload<S> {
    /// Which secret it is, in words.
    what: &'static str,
    file: PathBuf,
    secret: SharedSecret<S>,
    /// Whether it must have something of the one in use.
    goes_on: bool,
    /// What was said last, so that it is said once.
    trouble: String,
}

impl<S> SecretReload<S> {
    /// For a secret that stands in a file; none for another.
    pub(super) fn new(what: &'static str, given: &Secret<S>, secret: &SharedSecret<S>) -> Option<Self> {
        let file = given.file.clone()?;
        Some(Self { what, file, secret: secret.clone(), goes_on: false, trouble: String::new() })
    }

    /// Does not take up what has nothing of the secret in use: a signing root by itself would shut out every
    /// node at once. (A join secret by itself is how a wrong one is put right.)
    pub(super) fn going_on(self) -> Self {
        Self { goes_on: true, ..self }
    }

    fn complain(&mut self, why: &str) {
        if self.trouble != why {
            why.clone_into(&mut self.trouble);
            tracing::error!(what = self.what, error = why, "the secret stays as it was");
        }
    }
}

fn goes_on<S: PartialEq>(used: &Rotating<S>, new: &Rotating<S>) -> bool {
    new.iter().any(|new| used.iter().any(|used| used == new))
}

#[async_trait]
impl<S> Worker for SecretReload<S>
where
    S: FromStr<Err = InvalidKey> + PartialEq + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        "secret-reload"
    }

    async fn step(&mut self) -> Next {
        let file = self.file.clone();
        match tokio::task::spawn_blocking(move || read_secret::<S>(&file)).await {
            Ok(Ok(now)) if self.goes_on && !goes_on(&self.secret.get(), &now) => {
                self.complain(
                    "the file has nothing of the secret in use: change it with `closeby secret rotate`",
                );
            }
            Ok(Ok(now)) => {
                self.trouble.clear();
                if *self.secret.get() != now {
                    let beside_a_former_one = now.is_changing();
                    self.secret.set(now);
                    tracing::info!(
                        what = self.what,
                        beside_a_former_one,
                        "a secret was changed and is in use"
                    );
                }
            }
            Ok(Err(error)) => self.complain(&error.to_string()),
            Err(error) => tracing::error!(%error, "a secret's file could not be looked at"),
        }
        Next::After(EVERY)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;
    use crate::tickets::JoinSecret;

    #[tokio::test]
    async fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join-secret");
        let text = |letter: &str| format!("{}\n", letter.repeat(32));
        let secret = |text: &str| text.parse::<Rotating<JoinSecret>>().unwrap();
        fs::write(&path, text("a")).unwrap();
        let given = Secret { value: read_secret::<JoinSecret>(&path).unwrap(), file: Some(path.clone()) };
        let shared = SharedSecret::new(given.value.clone());
        let mut reload = SecretReload::new("signing root", &given, &shared).unwrap().going_on();
        let both = format!("{}former: {}", text("b"), text("a"));
        for (now, expected) in [
            (text("a"), text("a")),
            (both.clone(), both.clone()),
            ("short".to_owned(), both.clone()),
            (String::new(), both.clone()),
            (text("c"), both.clone()),
            (text("b"), text("b")),
        ] {
            fs::write(&path, now).unwrap();
            assert_eq!(reload.step().await, Next::After(EVERY));
            assert_eq!(*shared.get(), secret(&expected));
        }
        fs::remove_file(&path).unwrap();
        reload.step().await;
        assert_eq!(*shared.get(), secret(&text("b")));
        assert!(
            reload.trouble.contains("join-secret") && !reload.trouble.contains("bbb"),
            "{}",
            reload.trouble
        );
        fs::write(&path, text("c")).unwrap();
        let mut reload = SecretReload::new("join secret", &given, &shared).unwrap();
        reload.step().await;
        assert_eq!(*shared.get(), secret(&text("c")), "this one may be another");
        let inline = Secret { file: None, ..given };
        assert!(SecretReload::new("join secret", &inline, &shared).is_none());
    }
}
