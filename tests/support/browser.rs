//! A real Chromium, driven over WebDriver (W3C): just what the tests of the pages need.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::poll;
use super::wire::Wire;

/// The key of an element's reference in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with a profile of its own, and the driver that it hangs on.
pub struct Browser {
    driver: Child,
    session: String,
    http: reqwest::Client,
    _profile: TempDir,
}

impl Browser {
    /// A browser in which pages run scripts, or not.
    pub async fn start(scripts: bool) -> Self {
        Self::with(scripts, Vec::new()).await
    }

    /// A browser that reaches central through that proxy and calls it by its own address.
    pub async fn through(wire: &Wire) -> Self {
        let rule = format!("--host-resolver-rules=MAP {} {}", wire.central(), wire.address());
        Self::with(true, vec![rule]).await
    }

    /// A browser that collects all garbage whenever its small space for new objects is full: often.
    pub async fn collecting() -> Self {
        Self::with(true, vec!["--js-flags=--gc-global --max-semi-space-size=1".to_owned()]).await
    }

    async fn with(scripts: bool, mut arguments: Vec<String>) -> Self {
        let profile = TempDir::new().unwrap();
        let said = profile.path().join("driver");
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(File::create(&said).unwrap())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver runs: install chromium and chromium-driver, as scripts/test does");
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let base = poll("the driver", || async {
            let said = fs::read_to_string(&said).ok()?;
            let port = said.split_once("started successfully on port ")?.1.split_once('.')?.0;
            let base = format!("http://127.0.0.1:{port}");
            let status: Value = http.get(format!("{base}/status")).send().await.ok()?.json().await.ok()?;
            (status["value"]["ready"] == true).then_some(base)
        })
        .await;
        arguments.push(format!("--user-data-dir={}", profile.path().join("user").display()));
        arguments.extend(
            [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--window-size=1200,1400",
            ]
            .map(str::to_owned),
        );
        let preferences = if scripts {
            json!({})
        } else {
            json!({"profile.managed_default_content_settings.javascript": 2})
        };
        let wish = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
        }}});
        let answer: Value =
            http.post(format!("{base}/session")).json(&wish).send().await.unwrap().json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {answer}"));
        Self { driver, session: format!("{base}/session/{id}"), http, _profile: profile }
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.session)).json(&body).send().await.unwrap();
        let is_good = answer.status().is_success();
        let mut value: Value = answer.json().await.unwrap();
        assert!(is_good, "{path} {body}: {value}");
        value["value"].take()
    }

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.call("/url", json!({ "url": url })).await;
    }

    /// Where the page is.
    pub async fn address(&self) -> String {
        let answer = self.http.get(format!("{}/url", self.session)).send().await.unwrap();
        let value: Value = answer.json().await.unwrap();
        value["value"].as_str().unwrap().to_owned()
    }

    /// Makes the page so wide, in CSS pixels.
    pub async fn resize(&self, width: u32) {
        let metrics = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        let command = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.call("/goog/cdp/execute", command).await;
    }

    /// Runs a script in the page; its `return` is the answer.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.call("/execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// Runs the script until it returns something true, for the tests' deadline at most.
    pub async fn wait(&self, what: &str, script: &str) -> Value {
        poll(what, || async {
            let value = self.run(script, json!([])).await;
            let is_there = !matches!(&value, Value::Null | Value::Bool(false)) && value != json!("");
            is_there.then_some(value)
        })
        .await
    }

    /// Loads the page anew, whatever it is at.
    pub async fn reload(&self) {
        self.call("/refresh", json!({})).await;
    }

    /// Opens another window beside this one and goes on in it.
    pub async fn open_window(&self) -> String {
        let made = self.call("/window/new", json!({"type": "window"})).await;
        let handle = made["handle"].as_str().unwrap().to_owned();
        self.switch_to(&handle).await;
        handle
    }

    /// The window that is driven now.
    pub async fn window(&self) -> String {
        let answer = self.http.get(format!("{}/window", self.session)).send().await.unwrap();
        let value: Value = answer.json().await.unwrap();
        value["value"].as_str().unwrap().to_owned()
    }

    /// Drives that window from now on.
    pub async fn switch_to(&self, handle: &str) {
        self.call("/window", json!({ "handle": handle })).await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|stroke| json!({"type": stroke, "value": key.to_string()}))
        });
        let strokes: Vec<Value> = strokes.collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.call("/actions", json!({"actions": [keyboard]})).await;
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await
    }

    /// Lets the page send so many bytes a second at most.
    pub async fn throttle(&self, bytes_per_second: u64) {
        self.network(false, json!(bytes_per_second)).await;
    }

    /// Takes the network away from the page, or gives it back.
    pub async fn offline(&self, is_offline: bool) {
        self.network(is_offline, json!(-1)).await;
    }

    async fn network(&self, is_offline: bool, upload: Value) {
        // Without the limit the driver would be told every body, and the page waits for that.
        self.devtools("Network.enable", json!({"maxPostDataSize": 0})).await;
        let conditions = json!({"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload});
        self.devtools("Network.emulateNetworkConditions", conditions).await;
    }

    /// The memory that the processes of this browser's pages hold, in bytes, by their ids: now, and at most
    /// since they began.
    pub fn memory(&self) -> BTreeMap<u64, (u64, u64)> {
        let number = |status: &str, field: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let mut parents = BTreeMap::new();
        let mut pages = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else {
                continue;
            };
            // A process may end meanwhile.
            let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
            parents.insert(id, number(&status, "PPid").unwrap_or(0));
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains("--type=renderer") {
                pages.push((id, status));
            }
        }
        let driver = u64::from(self.driver.id());
        let is_ours =
            |id: u64| std::iter::successors(Some(id), |id| parents.get(id).copied()).any(|id| id == driver);
        let ours = pages.into_iter().filter(|(id, _)| is_ours(*id));
        let size = |status: &str, field| number(status, field).unwrap_or(0) << 10;
        ours.map(|(id, status)| (id, (size(&status, "VmRSS"), size(&status, "VmHWM")))).collect()
    }

    /// Lets the page take so many bytes a second at most; any number of them where there is none.
    pub async fn throttle_downloads(&self, bytes_per_second: Option<u64>) {
        let most = bytes_per_second.map_or(json!(-1), |most| json!(most));
        self.cdp("Network.enable", json!({"maxPostDataSize": 0})).await;
        let conditions =
            json!({"offline": false, "latency": 0, "downloadThroughput": most, "uploadThroughput": -1});
        self.cdp("Network.emulateNetworkConditions", conditions).await;
    }

    /// Has downloads land in this folder, without a question.
    pub async fn download_to(&self, folder: &Path) {
        let wish = json!({"behavior": "allow", "downloadPath": folder.to_str().unwrap()});
        self.cdp("Browser.setDownloadBehavior", wish).await;
    }

    /// Runs a script in every page that is opened from now on, before its own.
    pub async fn before_pages(&self, script: &str) {
        self.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    async fn cdp(&self, command: &str, parameters: Value) {
        self.call("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await;
    }

    /// The text of the first element, with its hidden parts.
    pub async fn text(&self, selector: &str) -> String {
        let text =
            self.run("return document.querySelector(arguments[0])?.textContent", json!([selector])).await;
        text.as_str().unwrap_or_else(|| panic!("{selector} is not in the page")).trim().to_owned()
    }

    async fn find(&self, selector: &str) -> String {
        let found = self.call("/element", json!({"using": "css selector", "value": selector})).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks as a person would: scrolled to, and not through something else.
    pub async fn click(&self, selector: &str) {
        let element = self.find(selector).await;
        self.call(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into a field.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.call(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Chooses files in a file field.
    pub async fn choose(&self, selector: &str, files: &[&Path]) {
        let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
        self.type_into(selector, &paths.join("\n")).await;
    }

    /// What the page complained of since it was last asked: blocked by a policy, or an error nobody caught.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", json!({"type": "browser"})).await;
        let messages = log.as_array().unwrap().iter().filter_map(|entry| entry["message"].as_str());
        messages
            .filter(|message| {
                ["Content Security Policy", "Content-Security-Policy", "Uncaught", "TrustedScript"]
                    .iter()
                    .any(|sign| message.contains(sign))
            })
            .map(str::to_owned)
            .collect()
    }

    /// Closes the browser and its driver, as every test must at its end.
    pub async fn stop(self) {
        let _ = self.http.delete(&self.session).send().await;
    }
}

impl Drop for Browser {
    /// A test that failed leaves no driver behind, and no browser.
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.driver), Signal::KILL);
        let _ = self.driver.wait();
    }
}
