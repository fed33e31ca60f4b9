//! Clients that others wrote, driven as they come. `scripts/test` installs them.

use std::cell::RefCell;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// The system's own: the package is installed for that one.
const PYTHON: &str = "/usr/bin/python3";
/// Where `scripts/test` has put the packages of `tests/clients/package.json`.
const MODULES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/tus-clients/node_modules");

fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A client that runs; ends with its test, if not before.
struct Client(RefCell<Child>);

impl Drop for Client {
    fn drop(&mut self) {
        let child = self.0.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What a client that must succeed prints: the upload's address.
async fn run(command: &mut Command, args: &[&str]) -> String {
    let command = command.args(args).env("NO_PROXY", "*").stdin(Stdio::null()).stdout(Stdio::piped());
    let client = Client(RefCell::new(command.spawn().unwrap()));
    let status = poll("the client's end", || async { client.0.borrow_mut().try_wait().unwrap() }).await;
    assert!(status.success(), "{args:?}: it says why above");
    let output = client.0.borrow_mut().stdout.take().unwrap();
    std::io::read_to_string(output).unwrap().trim().to_owned()
}

/// 20 MB that are no whole number of chunks.
fn file(cluster: &Cluster, seed: u64) -> (Vec<u8>, String, String) {
    let bytes = content(seed, 20_000_001);
    let scratch = cluster.scratch("client");
    let path = scratch.join("from a client.bin");
    std::fs::write(&path, &bytes).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    (bytes, text(&path), text(&scratch.join("urls.json")))
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_uploads_and_resumes() {
    let found = std::process::Command::new(PYTHON).args(["-c", "import tusclient"]).output();
    assert!(
        found.is_ok_and(|found| found.status.success()),
        "{PYTHON} has no tuspy: run scripts/test, or install the package python3-tuspy"
    );
    let cluster = Cluster::start().await;
    let (bytes, path, store) = file(&cluster, 95);
    let (script, endpoint) = (script("tuspy.py"), cluster.url("/api/v1/uploads"));
    let step = async |step: &str, offset: &str| {
        run(&mut Command::new(PYTHON), &[&script, step, &endpoint, &path, &store, offset]).await
    };
    let url = step("begin", "0").await;
    let begun = object(&cluster, &url).await;
    assert_eq!((&begun["status"], &begun["offset"]), (&"receiving".into(), &(10 << 20).into()));
    assert_eq!(step("resume", "10485760").await, url);
    let object = object(&cluster, &url).await;
    assert_eq!((&object["status"], &object["name"]), (&"stored".into(), &"from a client.bin".into()));
    assert_kept(&cluster, &object, &bytes).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_uploads_and_resumes() {
    assert!(
        Path::new(MODULES).join("tus-js-client").exists(),
        "tus-js-client is not at {MODULES}: run scripts/test where npm and its registry can be used"
    );
    let cluster = Cluster::start().await;
    let (bytes, path, store) = file(&cluster, 96);
    let (script, endpoint) = (script("tus-js.cjs"), cluster.url("/api/v1/uploads"));
    let step = async |step: &str| {
        let mut node = Command::new("node");
        run(node.env("NODE_PATH", MODULES), &[&script, step, &endpoint, &path, &store]).await
    };
    let url = step("begin").await;
    assert_eq!(object(&cluster, &url).await["status"], "receiving");
    assert_eq!(step("resume").await, url);
    let object = object(&cluster, &url).await;
    assert_eq!((&object["status"], &object["name"]), (&"stored".into(), &"from a client.bin".into()));
    assert_kept(&cluster, &object, &bytes).await;
    // Another time, in one go: a duplicate.
    std::fs::remove_file(&store).unwrap();
    let again = step("whole").await;
    assert_eq!(self::object(&cluster, &again).await["status"], "duplicate");
    cluster.stop().await;
}
