//! The programs in `examples/` do what they say.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::program::{self, Program};

/// No program here needs so long.
const LONG: Duration = Duration::from_secs(60);

fn example(name: &str) -> Command {
    program::example(Path::new(env!("CARGO_MANIFEST_DIR")), name)
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("an example starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn an_example_without_its_arguments_says_what_it_wants() {
    for name in ["word_count", "crawler", "prefork_server", "named_queue"] {
        let (code, out, err) = run(&mut example(name));
        assert_eq!((code, &*out), (Some(2), ""), "{err}");
        assert!(err.starts_with(&format!("usage: {name} ")), "{err}");
    }
}

#[test]
fn words_are_counted_over_all_files() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let files = ["one", "two", "three"].map(|name| folder.path().join(name));
    for file in &files {
        fs::write(file, "Fork, join; fork! été").expect("it can be written");
    }
    let (code, out, err) = run(example("word_count").args(&files));
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    assert_eq!(out, "      6 fork\n      3 join\n      3 été\n");
}

#[test]
fn a_file_that_cannot_be_read_costs_its_own_count_and_the_exit_code() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let file = folder.path().join("one");
    fs::write(&file, "fork").expect("it can be written");
    let (code, out, err) = run(example("word_count").arg("/no/such/file").arg(&file));
    assert_eq!((code, &*out), (Some(1), "      1 fork\n"), "{err}");
    assert!(
        err.contains("cannot read /no/such/file: No such file"),
        "{err}"
    );
}

/// A site of ten pages, each of which links to the next two and to another site.
fn site() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = page(client);
        }
    });
    Ok(address)
}

fn page(mut client: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(&client).lines().map_while(io::Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let path = request.split(['/', ' ']).nth(2);
    let number: usize = path.and_then(|path| path.parse().ok()).unwrap_or(0);
    let links = [1, 2].map(|step| (number + step) % 10);
    let links = links.map(|to| format!("<a href=\"/{to}\">{to}</a>"));
    let page = format!("{}<a href=\"http://elsewhere/\">more</a>", links.concat());
    client.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{page}").as_bytes())
}

#[test]
fn a_crawler_fetches_each_page_once() -> io::Result<()> {
    let (code, out, err) = run(example("crawler").arg(site()?));
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    let pages = (0..10).map(|page| format!("/{page}: 2 links"));
    let mut pages: Vec<String> = pages.chain(["/: 2 links".to_string()]).collect();
    pages.sort_unstable();
    assert_eq!(lines, pages);
    Ok(())
}

#[test]
fn a_crawler_names_the_page_that_it_cannot_fetch() -> io::Result<()> {
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (code, out, err) = run(example("crawler").arg(address.to_string()));
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains(&format!("cannot fetch {address}/: Connection refused")),
        "{out}"
    );
    Ok(())
}

fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LONG))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn a_server_process_that_crashes_or_is_killed_is_replaced() -> io::Result<()> {
    let deadline = Instant::now() + LONG;
    let mut command = example("prefork_server");
    let server = Program::start(command.arg("127.0.0.1:0").stderr(Stdio::null()))?;
    let line = server.until("listening on ", deadline)?;
    let address = line.trim_end().trim_start_matches("listening on ");
    let worker = |answer: String| -> Option<i32> {
        answer.rsplit_once("process ")?.1.trim_end().parse().ok()
    };
    let first = worker(get(address, "/")?).expect("it says which process it is");
    assert!(server.kill_process(first));
    server.until("process ", deadline)?;
    // The one that crashes answers nothing, or its end resets the connection.
    assert_eq!(get(address, "/crash").unwrap_or_default(), "");
    let said = server.until("process ", deadline)?;
    assert!(said.ends_with(" takes its place\n"), "{said}");
    let last = worker(get(address, "/")?).expect("it is served again");
    assert_ne!(first, last);
    Ok(())
}
