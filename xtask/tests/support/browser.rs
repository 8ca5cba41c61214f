//! A headless Chromium, driven over WebDriver: chromedriver takes JSON over HTTP.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::program::Program;
use serde_json::{Value, json};

/// A browser with a profile of its own, gone when it is dropped.
pub(crate) struct Browser {
    session: String,
    /// It is dropped before the folder that its processes write to.
    _driver: Program,
    profile: tempfile::TempDir,
}

/// What a page looks like from within.
pub(crate) const LOOK: &str = include_str!("look.js");

impl Browser {
    /// One with a window of 1280 pixels, in light colours; or none, which only a machine without the tools
    /// may have.
    pub(crate) fn here() -> Option<Browser> {
        match Browser::start() {
            Ok(browser) => {
                browser.device(1280, "light");
                Some(browser)
            }
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "{why}");
                eprintln!("skipped: {why} (Debian: apt install chromium chromium-driver)");
                None
            }
        }
    }

    /// The console is empty, and nothing but the page was asked for.
    pub(crate) fn stayed_at_home(&self) {
        let nothing = Vec::<String>::new();
        assert_eq!(self.log(), nothing, "the console stays empty");
        for request in self.requests() {
            let own = request.starts_with("file://") || request.starts_with("data:");
            assert!(own, "the page asked for {request}");
        }
    }

    /// Starts one; an error says that there is no driver on this machine.
    ///
    /// A driver that is there and does not work is no reason to go on without it: that panics.
    fn start() -> Result<Browser, String> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null());
        let driver =
            Program::start(command.stderr(Stdio::null())).map_err(|error| error.to_string())?;
        let profile = tempfile::tempdir().expect("a folder for the browser");
        // Before it has a port, it says that it starts on port 0.
        let deadline = Instant::now() + Duration::from_secs(30);
        let said = driver.until("ChromeDriver was started successfully", deadline);
        let said = said.unwrap_or_else(|why| panic!("{why}"));
        let (_, port) = said.rsplit_once("on port ").expect("it names its port");
        let port = port.trim_end().trim_end_matches('.');
        let mut browser = Browser {
            session: format!("http://127.0.0.1:{port}/session"),
            profile,
            _driver: driver,
        };
        let opened = post(&browser.session, &capabilities(browser.profile.path()));
        let opened = opened.unwrap_or_else(|why| panic!("chromedriver opens no browser: {why}"));
        let id = opened["sessionId"].as_str().expect("a session has a name");
        browser.session = format!("{}/{id}", browser.session);
        // The browser's own first page is left, and what that asked for is none of ours.
        browser.post("url", &json!({ "url": "about:blank" }));
        browser.entries("performance");
        Ok(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        post(&format!("{}/{path}", self.session), body)
            .unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// Sends a command of the DevTools protocol, such as a key that is pressed.
    pub(crate) fn devtools(&self, command: &str, params: Value) -> Value {
        self.post(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": params }),
        )
    }

    /// Sets the width of the window in CSS pixels, and the theme that the user prefers.
    pub(crate) fn device(&self, width: u32, theme: &str) {
        let phone = width < 600;
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": phone }),
        );
        let prefers = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": prefers }));
    }

    /// Opens a file, and waits until it is loaded.
    pub(crate) fn open(&self, file: &Path) {
        self.post(
            "url",
            &json!({ "url": format!("file://{}", file.display()) }),
        );
    }

    /// Runs a script in the page, and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Writes the whole page as a picture.
    pub(crate) fn screenshot(&self, file: &Path) {
        let shot = self.devtools(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true }),
        );
        let data = shot["data"].as_str().expect("it is base64");
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data);
        std::fs::write(file, bytes.expect("it is base64")).expect("it can be written");
    }

    fn entries(&self, log: &str) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": log }));
        let entries = entries.as_array().expect("it is a list");
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_string();
        entries.iter().map(text).collect()
    }

    /// What was said on the console, errors and all.
    fn log(&self) -> Vec<String> {
        self.entries("browser")
    }

    /// The addresses that were asked for, since this was asked last.
    fn requests(&self) -> Vec<String> {
        let address = |entry: String| {
            let entry: Value = serde_json::from_str(&entry).ok()?;
            let message = &entry["message"];
            let asked = message["method"] == "Network.requestWillBeSent";
            let url = message["params"]["request"]["url"].as_str()?;
            asked.then(|| url.to_string())
        };
        let found: Vec<String> = self
            .entries("performance")
            .into_iter()
            .filter_map(address)
            .collect();
        assert!(
            !found.is_empty(),
            "the page itself was asked for, and noted"
        );
        found
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
    }
}

fn capabilities(profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &profile,
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
    }}})
}

/// Sends a command, and gives its value or its error.
fn post(url: &str, body: &Value) -> Result<Value, String> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .new_agent();
    let sent = agent
        .post(url)
        .content_type("application/json")
        .send(body.to_string());
    let mut answer = sent.map_err(|error| error.to_string())?;
    let text = answer
        .body_mut()
        .with_config()
        .limit(200 << 20)
        .read_to_string();
    let text = text.map_err(|error| error.to_string())?;
    let mut answer: Value =
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    match answer["value"]["error"].as_str() {
        Some(_) => Err(answer["value"]["message"].to_string()),
        None => Ok(answer["value"].take()),
    }
}
