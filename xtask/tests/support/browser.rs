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

const BARRIERS: &str = "
return axe.run(document, { resultTypes: ['violations'] }).then((found) => {
  if (found.passes.length < 10) throw new Error('axe-core has looked at nothing');
  return found.violations.map((rule) =>
    rule.id + ': ' + rule.nodes.map((node) => node.html + ' ' + node.failureSummary).join('; '));
});";

/// Languages, themes and widths of a window: each with each of the others, in as few looks as that takes.
pub(crate) const SETTINGS: [(&str, &str, u32); 4] = [
    ("en", "light", 1280),
    ("en", "dark", 390),
    ("zh", "dark", 1280),
    ("zh", "light", 390),
];

/// The script of axe-core, from the package of PyPI that brings it along; or none, which only a machine
/// without it may have.
pub(crate) fn axe() -> Option<String> {
    let place = "import importlib.util as u, pathlib; package = u.find_spec('axe_playwright_python'); \
                 print(pathlib.Path(package.submodule_search_locations[0]) / 'axe.min.js')";
    let asked = Command::new("python3").args(["-c", place]).output();
    let found = asked.ok().filter(|output| output.status.success());
    let Some(found) = found else {
        let how = "pip install --no-deps axe-playwright-python";
        assert!(
            std::env::var_os("CI").is_none(),
            "there is no axe-core: {how}"
        );
        eprintln!("skipped: there is no axe-core ({how})");
        return None;
    };
    let file = String::from_utf8_lossy(&found.stdout);
    Some(std::fs::read_to_string(file.trim()).expect("the package has the script"))
}

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
        // On a busy machine the driver has been seen to return in the midst of a page.
        let loaded = "document.readyState === 'complete' ? arguments[0]() \
                      : addEventListener('load', () => arguments[0]())";
        self.post("execute/async", &json!({ "script": loaded, "args": [] }));
    }

    /// Runs a script in the page, and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What axe-core, whose script this is, finds wrong with the page for those who cannot see it well or
    /// have no mouse: each rule with the elements that break it.
    pub(crate) fn barriers(&self, axe: &str) -> Vec<String> {
        let found = self.run(&format!("{axe}\n{BARRIERS}"));
        let found = found.as_array().expect("it is a list").iter();
        found
            .map(|rule| rule.as_str().unwrap_or_default().to_string())
            .collect()
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
        "timeouts": { "script": 110_000 },
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
