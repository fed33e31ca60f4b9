//! A central for tests of a node: it takes joins and signed calls, and does as it is told.

#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use url::Url;

use crate::domain::{ClusterId, KeyId, NodeId, Timestamp};
use crate::tickets::{self, JoinSecret, SigningRoot};
use crate::wire::cluster::{
    ChallengeAnswer, ChallengeRequest, ConfirmRequest, Heartbeat, HeartbeatAnswer, JoinAnswer, JoinRequest,
    OutcomeAnswer, OutcomeRequest,
};
use crate::wire::{KEY_HEADER, NODE_HEADER, PROTOCOL, SIGNATURE_HEADER};

/// What the fake central does and has seen.
pub struct Script {
    pub cluster: ClusterId,
    pub key_id: KeyId,
    pub secret: JoinSecret,
    pub ledger_time: Timestamp,
    pub epoch: u64,
    pub outcome: OutcomeAnswer,
    /// Whether it ignores what it does not know, as every central since 0.2, or refuses it.
    pub reads_more: bool,
    /// Refuses beats, without a signature.
    pub refuses_beats: bool,
    /// What answers to beats say of newer keys.
    pub newer_key: Option<KeyId>,
    pub former_key_lives_ms: Option<u64>,
    /// Answers joins with a key that is lost on the way.
    pub loses_joins: bool,
    /// Signs its answers wrongly.
    pub forges: bool,
    /// Has no answer to confirmations.
    pub refuses_confirms: bool,
    pub joins: Vec<JoinRequest>,
    pub beats: Vec<Heartbeat>,
    pub outcomes: Vec<OutcomeRequest>,
    pub confirms: Vec<ConfirmRequest>,
}

/// A central on a port of its own.
pub struct FakeCentral {
    pub url: Url,
    pub root: SigningRoot,
    script: Arc<Mutex<Script>>,
    handle: ServerHandle,
}

impl Drop for FakeCentral {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

pub fn join_secret() -> JoinSecret {
    "a secret of thirty-two characters".parse().unwrap()
}

type State = web::Data<(SigningRoot, Arc<Mutex<Script>>)>;

impl FakeCentral {
    pub fn start() -> Self {
        let root: SigningRoot = "r".repeat(32).parse().unwrap();
        let script = Arc::new(Mutex::new(Script {
            cluster: ClusterId::random(),
            key_id: KeyId(1),
            secret: join_secret(),
            ledger_time: Timestamp::from_millis(1_800_000_000_000),
            epoch: 3,
            outcome: OutcomeAnswer::Keep,
            reads_more: false,
            refuses_beats: false,
            newer_key: None,
            former_key_lives_ms: None,
            loses_joins: false,
            forges: false,
            refuses_confirms: false,
            joins: vec![],
            beats: vec![],
            outcomes: vec![],
            confirms: vec![],
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let state: State = web::Data::new((root.clone(), Arc::clone(&script)));
        let server = HttpServer::new(move || {
            App::new().app_data(state.clone()).route("/cluster/v1/{call}", web::post().to(answer))
        })
        .workers(1)
        .disable_signals()
        // Longer than any client here keeps a connection.
        .keep_alive(Duration::from_secs(75))
        .client_request_timeout(Duration::from_mins(1))
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, root, script, handle }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

async fn answer(
    state: State,
    call: web::Path<String>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let (root, script) = &**state;
    let mut script = script.lock().unwrap();
    match call.as_str() {
        "challenge" => {
            let asked: ChallengeRequest = serde_json::from_slice(&body).unwrap();
            let millis = script.ledger_time.as_millis();
            HttpResponse::Ok().json(ChallengeAnswer {
                protocol: PROTOCOL,
                cluster: script.cluster,
                central_nonce: root.join_nonce(asked.node, &asked.node_nonce, millis),
            })
        }
        "join" => join(root, &mut script, &body),
        call => signed(root, &mut script, call, &request, &body),
    }
}

fn join(root: &SigningRoot, script: &mut Script, body: &[u8]) -> HttpResponse {
    let asked: JoinRequest = serde_json::from_slice(body).unwrap();
    let (node, ours, theirs) = (asked.node, asked.node_nonce.clone(), asked.central_nonce.clone());
    let is_known = script.beats.iter().any(|beat| beat.node == node);
    let proves_key = asked.key_id.zip(asked.key_proof.as_ref()).is_some_and(|(id, proof)| {
        root.node_key(node, id).is_join_proof(script.cluster, node, &ours, &theirs, proof)
    });
    let proves = script.secret.is_proof(script.cluster, node, &ours, &theirs, &asked.proof);
    script.joins.push(asked);
    if !proves || (is_known && !proves_key) {
        return HttpResponse::Forbidden().finish();
    }
    if script.loses_joins {
        return HttpResponse::Ok().body("{");
    }
    let key = root.node_key(node, script.key_id);
    HttpResponse::Ok().json(JoinAnswer {
        protocol: PROTOCOL,
        cluster: script.cluster,
        key_id: script.key_id,
        sealed_key: tickets::seal_key(&script.secret, script.cluster, node, &ours, &theirs, &key).unwrap(),
    })
}

/// Whether a beat has no field but those that a central of 0.1 knows.
fn is_of_0_1(beat: &[u8]) -> bool {
    let known: Value = serde_json::from_str(include_str!("../../tests/wire/v1/heartbeat.json")).unwrap();
    let beat: Value = serde_json::from_slice(beat).unwrap();
    beat.as_object().unwrap().keys().all(|field| known.get(field).is_some())
}

fn signed(
    root: &SigningRoot,
    script: &mut Script,
    call: &str,
    request: &HttpRequest,
    body: &[u8],
) -> HttpResponse {
    let header = |name| request.headers().get(name).unwrap().to_str().unwrap();
    let node: NodeId = header(NODE_HEADER).parse().unwrap();
    let id = KeyId(header(KEY_HEADER).parse().unwrap());
    let (key, signature) = (root.node_key(node, id), header(SIGNATURE_HEADER));
    let is_taken = id == script.key_id || (script.newer_key == Some(script.key_id) && id.0 < script.key_id.0);
    if !is_taken || !tickets::verify_call(&key, call, node, body, signature) {
        return HttpResponse::Forbidden().finish();
    }
    let answer = match call {
        "heartbeat" => {
            if script.refuses_beats || (!script.reads_more && !is_of_0_1(body)) {
                return HttpResponse::BadRequest().finish();
            }
            script.beats.push(serde_json::from_slice(body).unwrap());
            let (ledger_time, epoch) = (script.ledger_time, script.epoch);
            serde_json::to_vec(&HeartbeatAnswer {
                protocol: PROTOCOL,
                ledger_time,
                epoch,
                counted: true,
                reads_more: script.reads_more,
                newer_key: script.newer_key,
                former_key_lives_ms: script.former_key_lives_ms,
            })
            .unwrap()
        }
        "outcome" => {
            script.outcomes.push(serde_json::from_slice(body).unwrap());
            serde_json::to_vec(&script.outcome).unwrap()
        }
        "confirm" if script.refuses_confirms => return HttpResponse::ServiceUnavailable().finish(),
        "confirm" => {
            script.confirms.push(serde_json::from_slice(body).unwrap());
            vec![]
        }
        _ => return HttpResponse::NotFound().finish(),
    };
    let mut signature = tickets::sign_answer(&key, call, signature, &answer);
    if script.forges {
        signature = tickets::sign_answer(&key, call, "another call's", &answer);
    }
    HttpResponse::Ok().insert_header((SIGNATURE_HEADER, signature)).body(answer)
}
