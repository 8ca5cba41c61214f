//! Fetches all pages of a site in four processes, which take paths from one queue and put what they
//! found into another: `cargo run -p multiprocess --example crawler -- 127.0.0.1:8000`. A site for it:
//! `python3 -m http.server 8000`, in a folder with HTML files.

use std::io::{self, Write};
use std::net::TcpStream;
use std::{collections::BTreeSet, env, process, time::Duration};

use multiprocess::{Error, Queue, Result, process::scope};

/// A path, and the paths that its page links to.
type Page = (String, Result<Vec<String>>);

fn main() -> Result<()> {
    let Some(site) = env::args().nth(1) else {
        eprintln!("usage: crawler HOST:PORT");
        process::exit(2);
    };
    // An error ends the workers, which else would wait for paths for ever.
    scope(|scope| {
        let (paths, pages, mut done) = (Queue::new()?, Queue::new()?, 0);
        let start = |_| scope.spawn_with(work, (site.clone(), paths.clone(), pages.clone()));
        let workers: Vec<_> = (0..4).map(start).collect::<Result<_>>()?;
        let mut seen = BTreeSet::from(["/".to_string()]);
        paths.put(&"/".to_string())?;
        while done < seen.len() {
            // Longer than a fetch may take: time is up only if a worker died with a page in hand.
            let (path, links) = pages.get_timeout(Duration::from_secs(30))?;
            done += 1;
            match &links {
                Ok(links) => println!("{path}: {} links", links.len()),
                Err(error) => println!("{path}: {error}"),
            }
            let links = links.unwrap_or_default().into_iter();
            let mut links = links.filter(|link| seen.insert(link.clone()));
            links.try_for_each(|link| paths.put(&link))?;
        }
        paths.close(); // The loops of the workers end.
        workers.into_iter().try_for_each(|worker| worker.join()?)
    })
}

fn work((site, paths, pages): (String, Queue<String>, Queue<Page>)) -> Result<()> {
    paths.iter().try_for_each(|path| {
        let path = path?;
        let links = fetch(&site, &path).map_err(|e| Error::os(format!("fetch {site}{path}"), e));
        pages.put(&(path, links))
    })
}

fn fetch(site: &str, path: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(site)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let page = io::read_to_string(&stream)?;
    let links = page.split("href=\"/").skip(1);
    let path = |rest: &str| Some(format!("/{}", rest.split_once('"')?.0));
    Ok(links.filter_map(path).collect())
}
