//! What servers log: one id for one request, on whichever server, and nothing that opens anything.

use reqwest::{StatusCode, header};
use serde_json::Value;

use crate::support::tus::{Tus, metadata};
use crate::support::{Cluster, Options, content, location, poll};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER: &str = "00-11111111111111111111111111111111-00f067aa0ba902b7-01";

async fn talkative() -> Cluster {
    let options = Options {
        places: vec!["toronto", "amsterdam"],
        killable: true,
        killable_nodes: true,
        logs: true,
        ..Options::default()
    };
    Cluster::with(options).await
}

fn lines(text: &str) -> Vec<Value> {
    // The last one may be half written.
    let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// The routes of the requests with this id that a server answered.
fn answered(cluster: &Cluster, server: &str, id: &str) -> Vec<String> {
    let is_it = |line: &&Value| line["message"] == "answered" && line["request_id"] == id;
    let route = |line: &Value| {
        let (method, route) = (line["method"].as_str().unwrap(), line["route"].as_str().unwrap());
        format!("{method} {route} {}", line["status"])
    };
    lines(&cluster.logged(server)).iter().filter(is_it).map(route).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_one_id_on_central_and_both_nodes() {
    let cluster = talkative().await;
    let answer = cluster
        .post("/api/v1/files?name=one.bin")
        .header("traceparent", PARENT)
        .body(content(1, 100_000))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["x-request-id"], ID);
    for (server, wanted) in [
        ("central", vec!["POST /api/v1/files 201"]),
        ("toronto", vec!["PUT /n/v1/sessions/{upload} 200", "POST /n/v1/sessions/{upload}/finish 204"]),
        ("amsterdam", vec!["PUT /n/v1/sessions/{upload} 200", "POST /n/v1/sessions/{upload}/finish 204"]),
    ] {
        // The last line is written when the answer is under way.
        poll("the request's lines", || async {
            (answered(&cluster, server, ID).len() == wanted.len()).then_some(())
        })
        .await;
        assert_eq!(answered(&cluster, server, ID), wanted, "{server}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_taken_from_those_alone_who_are_trusted() {
    let cluster = Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await;
    let object = cluster.store("two.bin", content(2, 1000)).await;
    let link = location(&cluster.redirect(object["url"].as_str().unwrap()).await);
    // Somebody with a link is no server of the cluster, whatever he says.
    let from_node = cluster.http.get(&link).header("traceparent", OTHER).send().await.unwrap();
    assert_eq!(from_node.status(), StatusCode::OK);
    let id = from_node.headers()["x-request-id"].to_str().unwrap();
    assert!(id.len() == 32 && !OTHER.contains(id), "{id}");
    let node = link.split("/b/").next().unwrap();
    let forged = cluster.http.get(format!("{node}/n/v1/inventory")).header("traceparent", OTHER);
    let forged = forged.header("closeby-ticket", "1.1.AAAA").send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    assert!(!OTHER.contains(forged.headers()["x-request-id"].to_str().unwrap()));
    // What is no id is none, and two are none either.
    for values in [vec!["00-nonsense"], vec![PARENT, OTHER]] {
        let mut request = cluster.get("/healthz");
        for value in values {
            request = request.header("traceparent", value);
        }
        let id = request.send().await.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(!PARENT.contains(&id) && !OTHER.contains(&id), "{id}");
    }
    // A problem says it, as a document and as a page.
    let missing = cluster.get("/d/nothing").header("traceparent", PARENT).send().await.unwrap();
    assert_eq!(missing.json::<Value>().await.unwrap()["request_id"], ID);
    let page = cluster.get("/nothing").header("traceparent", PARENT).header(header::ACCEPT, "text/html");
    assert!(page.send().await.unwrap().text().await.unwrap().contains(ID));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_logged_opens_anything() {
    let cluster = talkative().await;
    let object = cluster.store("three.bin", content(3, 5000)).await;
    let link = location(&cluster.redirect(object["url"].as_str().unwrap()).await);
    let asked = cluster.http.get(&link).header(header::AUTHORIZATION, "Bearer secret-of-a-person");
    assert_eq!(asked.send().await.unwrap().status(), StatusCode::OK);
    let signed = link.split_once('?').unwrap().1;
    let altered = format!("{}?{}", link.split_once('?').unwrap().0, signed.replace('=', "=x"));
    assert_eq!(cluster.http.get(&altered).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let bytes = content(4, 9_000_000);
    let begun = Tus::creation(&cluster, bytes.len(), &metadata(&[("filename", "four.bin")]));
    let begun = begun.header(header::AUTHORIZATION, "Bearer secret-of-a-person").send().await.unwrap();
    let tus = Tus::made(&cluster, begun).await;
    tus.send(0, &bytes[..5_000_000]).await;
    assert_eq!(tus.part(7, b"wrong").send().await.unwrap().status(), StatusCode::CONFLICT);
    tus.send(5_000_000, &bytes[5_000_000..]).await;
    let upload = tus.url.rsplit('/').next().unwrap();
    let signature = signed.rsplit_once("&s=").unwrap().1;
    assert!(signature.len() >= 32, "{signed}");
    let secrets = [signature, upload, "secret-of-a-person"];
    let links = answered_by_any(&cluster, "GET /b/{rest:.*} 403").await;
    assert!(links >= 1);
    for server in ["central", "toronto", "amsterdam"] {
        let logged = cluster.logged(server);
        assert!(lines(&logged).len() > 3, "{logged}");
        for secret in secrets {
            let line = logged.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{server} logged {secret}");
        }
    }
    cluster.stop().await;
}

/// How many requests of any id ended like this on the nodes; waits for the first.
async fn answered_by_any(cluster: &Cluster, wanted: &str) -> usize {
    poll("the line", || async {
        let count = ["toronto", "amsterdam"]
            .into_iter()
            .flat_map(|server| lines(&cluster.logged(server)))
            .filter(|line| line["message"] == "answered")
            .filter(|line| {
                let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                format!("{} {} {}", text("method"), text("route"), line["status"]) == wanted
            })
            .count();
        (count > 0).then_some(count)
    })
    .await
}
