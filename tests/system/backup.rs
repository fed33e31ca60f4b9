//! The ledger as it is copied, lost and put back, by the commands that `docs/operations.md` tells.

use std::ffi::OsStr;
use std::process::{Command, Output};

use reqwest::StatusCode;

use crate::support::{Cluster, Options, content};

fn closeby<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_closeby")).args(arguments).env_remove("CLOSEBY_DATA").output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn central_moves_to_another_machine_with_a_copy_that_was_taken_while_it_worked() {
    let mut cluster =
        Cluster::with(Options { places: vec!["toronto", "amsterdam", "singapore"], ..Options::default() })
            .await;
    let kept = content(9301, 100_000);
    let object = cluster.store("kept.bin", kept.clone()).await;
    let (old, copy) = (cluster.central_data(), cluster.scratch("backup").join("ledger"));
    let output = closeby([OsStr::new("backup"), "--data".as_ref(), old.as_ref(), copy.as_ref()]);
    assert!(output.status.success(), "{output:?}");
    let late = content(9302, 100_000);
    cluster.store("after the copy.bin", late.clone()).await;

    cluster.stop_central().await;
    cluster.move_central("moved");
    let new = cluster.central_data();
    let output = closeby([OsStr::new("restore"), "--data".as_ref(), new.as_ref(), copy.as_ref()]);
    assert!(output.status.success(), "{output:?}");
    let again = closeby([OsStr::new("restore"), "--data".as_ref(), new.as_ref(), copy.as_ref()]);
    assert_eq!(again.status.code(), Some(1), "a ledger is never replaced");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists"), "{again:?}");
    cluster.start_central().await;
    cluster.wait_for_nodes(3).await;

    assert_eq!(cluster.download(object["url"].as_str().unwrap()).await, kept);
    let (status, object) = cluster.upload("again.bin", kept).await;
    assert_eq!((status, &object["status"]), (StatusCode::OK, &"duplicate".into()));
    // The ledger does not know it, two nodes do: given again it is recorded, and where a node has its
    // blob already, that one counts.
    let object = cluster.store("after the copy.bin", late.clone()).await;
    assert!(cluster.holders(object["sha1"].as_str().unwrap(), &late).len() >= 2);
    assert_eq!(cluster.download(object["url"].as_str().unwrap()).await, late);
    cluster.stop().await;
}
